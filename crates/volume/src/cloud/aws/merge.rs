//! Many askers, few calls: while one call is under way, those who ask meanwhile wait, and the next
//! call asks for all of them. Nobody waits for a timer.

use error::{Error, Result};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

type Fetched<V> = Pin<Box<dyn Future<Output = Result<HashMap<String, V>>> + Send>>;
type Fetch<V> = dyn Fn(Vec<String>) -> Fetched<V> + Send + Sync;

/// Asks for values by key, many at a time.
pub(super) struct Merge<V>(Arc<Inner<V>>);

struct Inner<V> {
    fetch: Box<Fetch<V>>,
    /// How many keys a call may have.
    most: usize,
    state: Mutex<State<V>>,
}

struct State<V> {
    waiting: Vec<(String, oneshot::Sender<Result<Option<V>>>)>,
    is_asking: bool,
}

impl<V: Clone + Send + 'static> Merge<V> {
    /// Asks by `fetch`, at most `most` keys at once.
    pub(super) fn new(
        most: usize,
        fetch: impl Fn(Vec<String>) -> Fetched<V> + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::new(State { waiting: Vec::new(), is_asking: false });
        Self(Arc::new(Inner { fetch: Box::new(fetch), most, state }))
    }

    /// The value of `key` as it is after this call; `None` if there is none.
    pub(super) async fn get(&self, key: &str) -> Result<Option<V>> {
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting.push((key.to_owned(), answer));
            !std::mem::replace(&mut state.is_asking, true)
        };
        if begins {
            let asking = Asking(Arc::clone(&self.0));
            // Not part of this caller: the others wait for it too, and it may be given up.
            tokio::spawn(async move { asking.0.ask().await });
        }
        answered.await.unwrap_or_else(|_| Err(Error::internal("a look-up ended without an answer")))
    }
}

impl<V: Clone + Send + 'static> Inner<V> {
    async fn ask(&self) {
        loop {
            let asked = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let count = state.waiting.len().min(self.most);
                if count == 0 {
                    state.is_asking = false;
                    return;
                }
                state.waiting.drain(..count).collect::<Vec<_>>()
            };
            let mut keys: Vec<_> = asked.iter().map(|(key, _)| key.clone()).collect();
            keys.sort();
            keys.dedup();
            let fetched = (self.fetch)(keys).await;
            for (key, answer) in asked {
                // Whoever has given up needs none.
                let _ = answer.send(match &fetched {
                    Ok(values) => Ok(values.get(&key).cloned()),
                    Err(error) => Err(same(error)),
                });
            }
        }
    }
}

/// Whoever asks for the others. If that ends before its time, they hear of it, and the next one to
/// come begins anew.
struct Asking<V>(Arc<Inner<V>>);

impl<V> Drop for Asking<V> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.clear();
        state.is_asking = false;
    }
}

/// The same error once more.
pub fn same(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.chain());
    error.context().iter().fold(copy, |copy, (key, value)| copy.with(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_meanwhile_share_the_next_call() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let merge = Arc::new(Merge::new(200, move |keys: Vec<String>| {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let known = keys.into_iter().filter(|key| key != "9");
                Ok(known.map(|key| (key.clone(), key.len())).collect())
            })
        }));
        let asked: Vec<_> = (0..100)
            .map(|n| {
                let merge = Arc::clone(&merge);
                tokio::spawn(async move { merge.get(&n.to_string()).await })
            })
            .collect();
        for (n, asked) in asked.into_iter().enumerate() {
            let value = asked.await.unwrap().unwrap();
            assert_eq!(value, (n != 9).then(|| n.to_string().len()));
        }
        assert!(calls.load(Ordering::Relaxed) <= 3, "{calls:?}");
    }

    #[tokio::test]
    async fn a_look_up_that_panics_does_not_stop_the_next_one() {
        let first = AtomicUsize::new(0);
        let merge: Merge<u8> = Merge::new(200, move |keys: Vec<String>| {
            let count = first.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                assert!(count > 0, "the first one panics");
                Ok(keys.into_iter().map(|key| (key, 1)).collect())
            })
        });
        assert_eq!(merge.get("a").await.expect_err("panicked").kind(), error::Kind::Internal);
        assert_eq!(merge.get("a").await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn a_failure_is_everybodys() {
        let merge: Merge<u8> = Merge::new(1, |_| {
            Box::pin(async { Err(Error::unavailable("down").with("code", "X")) })
        });
        let error = merge.get("a").await.expect_err("down");
        assert_eq!(error.context(), [("code", "X".to_owned())]);
    }
}
