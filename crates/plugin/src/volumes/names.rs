//! One operation at a time per volume name; other names are never waited for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OwnedMutexGuard;

/// The names that somebody works on.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Names {
    /// Waits until nobody else works on `name`.
    pub(super) async fn lock(&self, name: &str) -> OwnedMutexGuard<()> {
        self.gate(name).lock_owned().await
    }

    fn gate(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(name).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::default();
        gates.insert(name.to_owned(), Arc::downgrade(&gate));
        gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_name_is_worked_on_by_one_and_others_are_free() {
        let names = Names::default();
        let first = names.lock("a").await;
        assert!(names.lock("a").now_or_never().is_none());
        assert!(names.lock("b").now_or_never().is_some());
        drop(first);
        assert!(names.lock("a").now_or_never().is_some());
        drop(names.lock("c").await);
        assert_eq!(names.0.lock().unwrap().len(), 1, "what nobody works on is forgotten");
    }
}
