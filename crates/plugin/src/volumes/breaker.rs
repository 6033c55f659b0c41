//! A plugin that hangs is not asked for everybody's volumes again and again: after a few calls in a
//! row that it left unanswered it is passed over for some seconds. Only for questions that go to all
//! plugins; what is meant for one plugin is always asked.

use error::{Error, Kind, Result};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Unanswered calls in a row after which a plugin is passed over.
const PATIENCE: u32 = 3;
/// For how long.
const PAUSE: Duration = Duration::from_secs(15);

/// The plugins that left calls unanswered lately, by name.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<HashMap<String, Silence>>);

#[derive(Debug)]
struct Silence {
    calls: u32,
    since: Instant,
}

impl Breaker {
    /// Asks, unless the plugin is passed over now (`Unavailable`).
    pub(super) async fn guard<T>(
        &self,
        plugin: &str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.check(plugin, Instant::now())?;
        let result = call.await;
        let is_silent = result.as_ref().is_err_and(|error| error.kind() == Kind::DeadlineExceeded);
        self.note(plugin, is_silent, Instant::now());
        result
    }

    fn check(&self, plugin: &str, now: Instant) -> Result<()> {
        let plugins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match plugins.get(plugin) {
            Some(silence) if silence.calls >= PATIENCE && now < silence.since + PAUSE => {
                Err(Error::unavailable(format!(
                    "it left the last {} calls unanswered and is not asked for {PAUSE:?}; look at \
                     its log",
                    silence.calls
                )))
            }
            _ => Ok(()),
        }
    }

    fn note(&self, plugin: &str, is_silent: bool, now: Instant) {
        let mut plugins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_silent {
            let calls = plugins.get(plugin).map_or(0, |silence| silence.calls) + 1;
            plugins.insert(plugin.to_owned(), Silence { calls, since: now });
        } else {
            plugins.remove(plugin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_passed_over_after_three_silences_and_asked_again_later() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..PATIENCE {
            breaker.check("a", now).unwrap();
            breaker.note("a", true, now);
        }
        assert_eq!(breaker.check("a", now).unwrap_err().kind(), Kind::Unavailable);
        breaker.check("b", now).unwrap();
        breaker.check("a", now + PAUSE).unwrap();
        breaker.note("a", true, now + PAUSE);
        assert!(breaker.check("a", now + PAUSE).is_err(), "one more silence is enough then");
    }

    #[test]
    fn an_answer_makes_up_for_all_silences() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for is_silent in [true, true, false, true, true] {
            breaker.note("a", is_silent, now);
        }
        breaker.check("a", now).unwrap();
    }
}
