//! Calls under way, one at a time per key: an identical call joins the one that runs, another one
//! waits for its end. The work goes on when whoever asked for it is gone.

use crate::id::PluginId;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What calls are about: a plugin's volume and a mount ID.
pub(crate) type Key = (PluginId, String, String);

/// `None` when the work panicked.
type Running<T> = Shared<BoxFuture<'static, Option<T>>>;
type Table<T> = Arc<Mutex<HashMap<Key, (String, Running<T>)>>>;

/// The calls under way. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Calls<T: Clone>(Table<T>);

impl<T: Clone> Default for Calls<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Calls<T> {
    /// Runs `work`, or joins the call of the same `method` and `key` that runs already.
    pub(crate) async fn run(
        &self,
        key: Key,
        method: &str,
        work: BoxFuture<'static, T>,
    ) -> Option<T> {
        let mut work = Some(work);
        loop {
            let (is_mine, call) = self.running(&key, method, &mut work)?;
            let result = call.await;
            if is_mine {
                return result;
            }
        }
    }

    /// The call that runs for `key`, started with `work` if there is none, and whether it is one of
    /// `method`.
    fn running(
        &self,
        key: &Key,
        method: &str,
        work: &mut Option<BoxFuture<'static, T>>,
    ) -> Option<(bool, Running<T>)> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((running, call)) = table.get(key) {
            return Some((running == method, call.clone()));
        }
        let work = work.take()?;
        let entry = Entry { table: Arc::clone(&self.0), key: key.clone() };
        let task = tokio::spawn(async move {
            let _entry = entry;
            work.await
        });
        let call = task.map(Result::ok).boxed().shared();
        table.insert(key.clone(), (method.to_owned(), call.clone()));
        Some((true, call))
    }
}

/// Takes the call off the table when it ends, also by a panic.
struct Entry<T: Clone> {
    table: Table<T>,
    key: Key,
}

impl<T: Clone> Drop for Entry<T> {
    fn drop(&mut self) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
