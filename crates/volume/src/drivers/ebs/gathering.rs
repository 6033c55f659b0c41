//! Changes of one volume that are asked for at the same time, on their way into one call.
//!
//! ```text
//! expand ─┐
//! modify ─┼▶ join ─▶ a moment, and AWS's leave ─▶ end ─▶ ModifyVolume ─▶ each awaits what it wanted
//! modify ─┘                                      └ who comes now begins the next one
//! ```

use super::locked;
use crate::cloud::aws::Change;
use error::{Error, Result};
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::OnceCell;

/// What can still be joined, by volume.
#[derive(Default)]
pub(super) struct Gathering(Mutex<HashMap<String, Weak<Joint>>>);

/// A change of one volume that several may want.
pub(super) struct Joint {
    wanted: Mutex<Change>,
    /// What became of the call. Any of those who wait for it makes it.
    pub begun: OnceCell<Result<()>>,
}

impl Gathering {
    /// What will be changed of volume `id`, `change` included. Not both → `FailedPrecondition` or
    /// `OutOfRange`, and that which was there before goes on without it.
    pub(super) fn join(&self, id: &str, change: &Change) -> Result<Arc<Joint>> {
        let mut open = locked(&self.0);
        if let Some(joint) = open.get(id).and_then(Weak::upgrade) {
            let mut wanted = locked(&joint.wanted);
            *wanted = both(id, &wanted, change)?;
            drop(wanted);
            return Ok(joint);
        }
        // Of some, all who waited may have given up.
        open.retain(|_, joint| joint.strong_count() > 0);
        let joint = Joint { wanted: Mutex::new(change.clone()), begun: OnceCell::new() };
        let joint = Arc::new(joint);
        open.insert(id.to_owned(), Arc::downgrade(&joint));
        Ok(joint)
    }

    /// Nobody joins it any more: all that is to be changed.
    pub(super) fn end(&self, id: &str, joint: &Arc<Joint>) -> Change {
        let mut open = locked(&self.0);
        if open.get(id).is_some_and(|known| Weak::ptr_eq(known, &Arc::downgrade(joint))) {
            open.remove(id);
        }
        locked(&joint.wanted).clone()
    }
}

impl Joint {
    /// Whether somebody wants something besides `change`.
    pub(super) fn is_more_than(&self, change: &Change) -> bool {
        *locked(&self.wanted) != *change
    }
}

fn both(id: &str, one: &Change, other: &Change) -> Result<Change> {
    let all = Change {
        // Who asks for a size asks for so much or more.
        size: one.size.max(other.size),
        kind: same(id, "volumeType", one.kind.as_ref(), other.kind.as_ref())?,
        iops: same(id, "iops", one.iops.as_ref(), other.iops.as_ref())?,
        throughput: same(id, "throughput", one.throughput.as_ref(), other.throughput.as_ref())?,
    };
    all.check()?;
    Ok(all)
}

fn same<T: Clone + PartialEq + Display>(
    id: &str,
    what: &str,
    one: Option<&T>,
    other: Option<&T>,
) -> Result<Option<T>> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(Error::failed_precondition(format!(
            "volume {id} is just about to be changed to {what} {one}, as somebody else asks for, and \
             this asks for {what} {other}; AWS takes one change in 6 hours: agree on one"
        ))),
        (one, other) => Ok(one.or(other).cloned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;

    fn larger(gib: u64) -> Change {
        Change { size: Some(gib), ..Change::default() }
    }

    fn typed(kind: &str) -> Change {
        Change { kind: Some(kind.to_owned()), ..Change::default() }
    }

    #[test]
    fn what_is_wanted_at_the_same_time_is_one_change() {
        let gathering = Gathering::default();
        let first = gathering.join("vol-1", &larger(8)).unwrap();
        assert!(!first.is_more_than(&larger(8)));
        let faster = Change { iops: Some(4000), ..Change::default() };
        for change in [&faster, &larger(10), &larger(9), &typed("gp3"), &typed("gp3")] {
            assert!(Arc::ptr_eq(&first, &gathering.join("vol-1", change).unwrap()));
        }
        let other = gathering.join("vol-2", &larger(1)).unwrap();
        assert!(!Arc::ptr_eq(&first, &other) && first.is_more_than(&larger(8)));
        let all = Change { size: Some(10), kind: typed("gp3").kind, ..faster };
        assert_eq!(gathering.end("vol-1", &first), all);
        // It is on its way: this is the next one, and no end of the first ends it.
        let next = gathering.join("vol-1", &larger(20)).unwrap();
        assert_eq!(gathering.end("vol-1", &first), all);
        assert!(Arc::ptr_eq(&next, &gathering.join("vol-1", &larger(21)).unwrap()));
    }

    #[test]
    fn what_cannot_both_be_is_refused_naming_both() {
        let gathering = Gathering::default();
        let first = gathering.join("vol-1", &typed("io2")).unwrap();
        let error = gathering.join("vol-1", &typed("gp3")).err().expect("two types");
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(
            ["vol-1", "io2", "gp3"].iter().all(|word| error.message().contains(word)),
            "{error}"
        );
        let error = gathering.join("vol-1", &larger(1 << 20)).err().expect("too large");
        assert_eq!(error.kind(), Kind::OutOfRange);
        assert_eq!(gathering.end("vol-1", &first), typed("io2"));
    }

    #[test]
    fn what_everybody_gave_up_is_not_joined() {
        let gathering = Gathering::default();
        drop(gathering.join("vol-1", &typed("io2")).unwrap());
        let joint = gathering.join("vol-1", &typed("gp3")).unwrap();
        assert_eq!(gathering.end("vol-1", &joint), typed("gp3"));
    }
}
