//! A driver that fails: at the n-th call of an operation, as the test wrote it down, or now and
//! then, as a seed has it.

use crate::hooked::{Hook, Hooked};
use async_trait::async_trait;
use error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use volume::Driver;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and nothing was done.
    Refuse(Kind),
    /// It is done, and the answer is lost: the caller sees an error of this kind.
    Lose(Kind),
    /// It takes this much longer.
    Delay(Duration),
    /// It stands still until [`Failing::release`].
    Hang,
}

/// The script of a failing driver; clones are the same script.
#[derive(Clone)]
pub struct Failing(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    released: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<&'static str, usize>,
    /// Faults by operation and the number of the call, 1 for the first.
    script: Vec<(String, usize, Fault)>,
    /// The fault that a call met before it ran, for what comes after it.
    lose: BTreeMap<&'static str, Vec<Kind>>,
    dice: Option<Dice>,
}

struct Dice {
    state: u64,
    one_in: u64,
}

impl Dice {
    /// SplitMix64: a sequence that depends on the seed alone.
    fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fault(&mut self) -> Option<Fault> {
        let rolled = self.roll();
        let kind = if rolled & (1 << 32) == 0 { Kind::Unavailable } else { Kind::Internal };
        rolled.is_multiple_of(self.one_in).then_some(match rolled >> 62 {
            0 => Fault::Lose(kind),
            _ => Fault::Refuse(kind),
        })
    }
}

impl Default for Failing {
    fn default() -> Self {
        let released = watch::Sender::new(false);
        Self(Arc::new(Inner { state: Mutex::default(), released }))
    }
}

impl Failing {
    /// `driver`, failing as this script says.
    #[must_use]
    pub fn around(&self, driver: Arc<dyn Driver>) -> Arc<dyn Driver> {
        Arc::new(Hooked::new(driver, self.clone()))
    }

    /// The `nth` call of `operation` from now on, 1 for the next, meets `fault`.
    pub fn at(&self, operation: &str, nth: usize, fault: Fault) {
        let mut state = self.state();
        let passed = state.calls.get(operation).copied().unwrap_or(0);
        state.script.push((operation.to_owned(), passed + nth, fault));
    }

    /// The next call of `operation` meets `fault`.
    pub fn next(&self, operation: &str, fault: Fault) {
        self.at(operation, 1, fault);
    }

    /// From now on one call in `one_in` fails, which ones `seed` decides.
    pub fn seed(&self, seed: u64, one_in: u64) {
        self.state().dice = Some(Dice { state: seed, one_in });
    }

    /// From now on nothing fails, and what stood still goes on.
    pub fn release(&self) {
        let mut state = self.state();
        state.script.clear();
        state.lose.clear();
        state.dice = None;
        self.0.released.send_replace(true);
    }

    /// How often `operation` was called.
    #[must_use]
    pub fn calls(&self, operation: &str) -> usize {
        self.state().calls.get(operation).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, operation: &'static str) -> Option<Fault> {
        let mut state = self.state();
        let number = state.calls.entry(operation).or_default();
        *number += 1;
        let number = *number;
        let is_meant =
            |(name, nth, _): &(String, usize, Fault)| name == operation && *nth == number;
        match state.script.iter().position(is_meant) {
            Some(at) => Some(state.script.remove(at).2),
            None => state.dice.as_mut().and_then(Dice::fault),
        }
    }
}

#[async_trait]
impl Hook for Failing {
    async fn before(&self, operation: &'static str) -> Result<()> {
        match self.fault(operation) {
            None => {}
            Some(Fault::Refuse(kind)) => {
                return Err(Error::new(kind, format!("{operation} failed, as it was told to")));
            }
            Some(Fault::Lose(kind)) => {
                self.state().lose.entry(operation).or_default().push(kind);
            }
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Hang) => {
                self.0.released.send_replace(false);
                let mut released = self.0.released.subscribe();
                let _ = released.wait_for(|released| *released).await;
            }
        }
        Ok(())
    }

    async fn after(&self, operation: &'static str) -> Result<()> {
        let lost = self.state().lose.get_mut(operation).and_then(Vec::pop);
        lost.map_or(Ok(()), |kind| {
            Err(Error::new(kind, format!("the answer to {operation} was lost, as it was told to")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_nth_call_fails_and_no_other() {
        let failing = Failing::default();
        failing.at("get", 2, Fault::Refuse(Kind::Unavailable));
        let mut met = Vec::new();
        for _ in 0..3 {
            met.push(failing.before("get").await.is_err());
        }
        assert_eq!(met, [false, true, false]);
        assert_eq!(failing.calls("get"), 3);
    }

    #[tokio::test]
    async fn a_lost_answer_is_an_error_after_the_work() {
        let failing = Failing::default();
        failing.next("create", Fault::Lose(Kind::Unavailable));
        assert!(failing.before("create").await.is_ok());
        assert!(failing.after("create").await.is_err());
        assert!(failing.after("create").await.is_ok());
    }

    #[tokio::test]
    async fn the_same_seed_fails_the_same_calls() {
        let sequence = |seed| {
            let failing = Failing::default();
            failing.seed(seed, 4);
            (0..64).map(|_| failing.fault("get")).collect::<Vec<_>>()
        };
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
        assert!(sequence(7).iter().any(Option::is_some));
        assert!(sequence(7).iter().any(Option::is_none));
    }
}
