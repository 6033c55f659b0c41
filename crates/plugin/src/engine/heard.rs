//! What was heard of legacy plugins: what they implement, asked once, and who did not answer.
//!
//! ```text
//!              named: waited for a while
//! unknown ────────────────────────────────▶ answered ── its address changed ──▶ unknown
//!    │   all are listed: asked at once         ▲
//!    └──────▶ silent ─── asked again ──────────┘
//! ```
//!
//! A silent one that is named is not waited for again for a moment; one that made a list wait is
//! left out of lists for some times as long as that.

use super::locked;
use crate::discovery::Legacy;
use crate::rpc::{Address, Client};
use error::{Error, Kind, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long one that is named may take to be there, and then to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long one that is named is not waited for after it was in vain.
const IMPATIENCE: Duration = Duration::from_secs(10);
/// How long a list waits for an answer.
const GLANCE: Duration = Duration::from_secs(2);
/// How many times as long as a list was kept waiting the plugin is left out of lists.
const PENANCE: u32 = 5;

/// Legacy plugins that were asked, and names of which nothing was found, by name.
#[derive(Debug, Default)]
pub(super) struct Heard {
    plugins: Mutex<BTreeMap<String, (Address, Said)>>,
    missed: Mutex<HashMap<String, Instant>>,
}

#[derive(Debug, Clone)]
enum Said {
    Implements(Vec<String>),
    Nothing(Silence),
}

/// No answer.
#[derive(Debug, Clone)]
struct Silence {
    kind: Kind,
    words: String,
    /// From when on lists ask again.
    listed: Instant,
    /// From when on one that is named is waited for again.
    awaited: Instant,
}

impl Heard {
    /// What a plugin implements, as far as it was asked.
    pub(super) fn implements(&self, legacy: &Legacy) -> Option<Vec<String>> {
        match self.said(legacy)? {
            Said::Implements(types) => Some(types),
            Said::Nothing(_) => None,
        }
    }

    /// What a plugin implements that somebody named. `Unavailable` or `DeadlineExceeded` if it does
    /// not answer.
    pub(super) async fn ask(&self, legacy: &Legacy) -> Result<Vec<String>> {
        let patience = match self.said(legacy) {
            Some(Said::Implements(types)) => return Ok(types),
            Some(Said::Nothing(silence)) if Instant::now() < silence.awaited => Duration::ZERO,
            _ => PATIENCE,
        };
        let answer = client(legacy).activate(PATIENCE, patience).await;
        let now = Instant::now();
        self.note(legacy, answer, now, now + IMPATIENCE)
    }

    /// What a plugin implements that is one of many: nobody waits for one that is not there.
    pub(super) async fn glance(&self, legacy: &Legacy) -> Result<Vec<String>> {
        let begin = Instant::now();
        let awaited = match self.said(legacy) {
            Some(Said::Implements(types)) => return Ok(types),
            Some(Said::Nothing(silence)) if begin < silence.listed => return Err(silence.error()),
            Some(Said::Nothing(silence)) => silence.awaited,
            None => begin,
        };
        let answer = client(legacy).activate(GLANCE, Duration::ZERO).await;
        self.note(legacy, answer, Instant::now() + begin.elapsed() * PENANCE, awaited)
    }

    fn said(&self, legacy: &Legacy) -> Option<Said> {
        let plugins = locked(&self.plugins);
        let (address, said) = plugins.get(&legacy.name)?;
        (*address == legacy.address).then(|| said.clone())
    }

    /// Remembers an answer. That there was none is told once.
    fn note(
        &self,
        legacy: &Legacy,
        answer: Result<Vec<String>>,
        listed: Instant,
        awaited: Instant,
    ) -> Result<Vec<String>> {
        let was_silent = matches!(self.said(legacy), Some(Said::Nothing(_)));
        let (said, answer) = match answer {
            Ok(types) => (Said::Implements(types.clone()), Ok(types)),
            Err(error) => {
                let (kind, words) = (error.kind(), words(legacy, &error));
                if !was_silent {
                    tracing::warn!("{words}");
                }
                let silence = Silence { kind, words, listed, awaited };
                (Said::Nothing(silence.clone()), Err(silence.error()))
            }
        };
        locked(&self.plugins).insert(legacy.name.clone(), (legacy.address.clone(), said));
        answer
    }

    /// Forgets silent ones whose files are gone.
    pub(super) fn retain(&self, found: &[Legacy]) {
        let is_found = |name: &String| found.iter().any(|legacy| legacy.name == *name);
        locked(&self.plugins)
            .retain(|name, (_, said)| matches!(said, Said::Implements(_)) || is_found(name));
    }

    /// Whether a name of which nothing was found is worth waiting for.
    pub(super) fn is_missed_anew(&self, name: &str) -> bool {
        let since = locked(&self.missed).get(name).map(Instant::elapsed);
        since.is_none_or(|since| since > IMPATIENCE)
    }

    /// Remembers that a name was waited for in vain.
    pub(super) fn miss(&self, name: &str) {
        let mut missed = locked(&self.missed);
        missed.retain(|_, since| since.elapsed() <= IMPATIENCE);
        missed.insert(name.to_owned(), Instant::now());
    }
}

impl Silence {
    fn error(&self) -> Error {
        Error::new(self.kind, self.words.clone())
    }
}

fn client(legacy: &Legacy) -> Client {
    Client { address: legacy.address.clone() }
}

fn words(legacy: &Legacy, error: &Error) -> String {
    format!(
        "legacy plugin {} does not answer: {}; start it, or remove {}",
        legacy.name,
        error.chain(),
        legacy.file.display()
    )
}

#[cfg(test)]
mod tests;
