//! Token buckets, as EC2 throttles its API
//! (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>). Pure: time is an
//! argument.

use crate::config::{Bucket, Limits};
use std::collections::BTreeMap;

/// The buckets, and how full they are.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    filled: BTreeMap<String, Filled>,
}

#[derive(Debug, Clone, Copy)]
struct Filled {
    tokens: f64,
    /// When that was, in milliseconds.
    at: u64,
}

impl Throttle {
    /// Takes a token for a call; `false` when there is none.
    pub(crate) fn take(&mut self, action: &str, limits: &Limits, now: u64) -> bool {
        let Some((name, bucket)) = bucket_of(action, limits) else { return true };
        let full = Filled { tokens: bucket.capacity, at: now };
        let filled = self.filled.entry(name).or_insert(full);
        let passed = u32::try_from(now.saturating_sub(filled.at)).unwrap_or(u32::MAX);
        let refilled = filled.tokens + f64::from(passed) / 1000.0 * bucket.refill;
        *filled = Filled { tokens: refilled.min(bucket.capacity), at: now };
        if filled.tokens < 1.0 {
            return false;
        }
        filled.tokens -= 1.0;
        true
    }
}

/// The bucket that a call takes from, and its name.
fn bucket_of(action: &str, limits: &Limits) -> Option<(String, Bucket)> {
    if let Some(own) = limits.actions.get(action) {
        return Some((action.to_owned(), *own));
    }
    match is_read(action) {
        true => limits.reads.map(|bucket| ("reads".to_owned(), bucket)),
        false => limits.writes.map(|bucket| ("writes".to_owned(), bucket)),
    }
}

/// Whether the action changes nothing.
pub(crate) fn is_read(action: &str) -> bool {
    action.starts_with("Describe") || action.starts_with("Get")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let bucket = Bucket { capacity: 2.0, refill: 1.0 };
        let limits = Limits { writes: Some(bucket), ..Limits::default() };
        let mut throttle = Throttle::default();
        let mut take = |now| throttle.take("CreateVolume", &limits, now);
        assert_eq!([take(0), take(0), take(0)], [true, true, false]);
        assert_eq!([take(999), take(1001), take(1001)], [false, true, false]);
        assert!(throttle.take("DescribeVolumes", &limits, 0));
    }

    #[test]
    fn an_action_of_its_own_counts_nowhere_else() {
        let bucket = Bucket { capacity: 1.0, refill: 0.0 };
        let actions = BTreeMap::from([("AttachVolume".to_owned(), bucket)]);
        let limits = Limits { writes: Some(bucket), actions, ..Limits::default() };
        let mut throttle = Throttle::default();
        assert!(throttle.take("AttachVolume", &limits, 0));
        assert!(!throttle.take("AttachVolume", &limits, 9999));
        assert!(throttle.take("DetachVolume", &limits, 0));
    }
}
