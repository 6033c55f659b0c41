//! Names of disks at an instance: AWS wants one for each attachment. A name that was used a moment
//! ago may still be taken, and some are taken though nobody says so.

use super::locked;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

/// How often a name must be refused before it is left for the last.
const REFUSALS: u32 = 1;

/// What was learned about names.
#[derive(Default)]
pub(super) struct Devices(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// When each was used last, by a counter.
    used: HashMap<String, u64>,
    count: u64,
    refused: HashMap<String, u32>,
}

impl Devices {
    /// The name to use next at an instance that uses `taken`: never one that was used lately as long
    /// as there is another. `None`: all are taken.
    pub(super) fn choose(&self, taken: &HashSet<&str>) -> Option<String> {
        let mut known = locked(&self.0);
        let free = names().filter(|name| !taken.contains(name.as_str()));
        let rank = |name: &String| {
            let refused = known.refused.get(name).copied().unwrap_or(0);
            (refused >= REFUSALS, known.used.get(name).copied().unwrap_or(0))
        };
        // The first of the best: names are in AWS's order of recommendation.
        let chosen = free.min_by_key(rank)?;
        known.count += 1;
        let now = known.count;
        known.used.insert(chosen.clone(), now);
        Some(chosen)
    }

    /// AWS does not take this name.
    pub(super) fn refused(&self, name: &str) {
        *locked(&self.0).refused.entry(name.to_owned()).or_default() += 1;
    }
}

/// The names that AWS recommends for disks, and then those that it takes besides.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html>
fn names() -> impl Iterator<Item = String> {
    let two = |first: char| ('a'..='z').map(move |second| format!("/dev/xvd{first}{second}"));
    let recommended = ['b', 'c'].into_iter().flat_map(two);
    let more = ['d', 'a'].into_iter().flat_map(two).filter(|name| name.as_str() < "/dev/xvddy");
    recommended.chain(more).chain(('f'..='p').map(|letter| format!("/dev/sd{letter}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_used_is_the_last_to_be_used_again() {
        let devices = Devices::default();
        let count = names().count();
        let mut seen = HashSet::new();
        for _ in 0..count {
            assert!(seen.insert(devices.choose(&HashSet::new()).unwrap()));
        }
        assert_eq!(devices.choose(&HashSet::new()).as_deref(), Some("/dev/xvdba"));
        assert!(count > 100, "{count}");
    }

    #[test]
    fn a_name_that_is_taken_or_was_refused_is_avoided() {
        let devices = Devices::default();
        let taken = HashSet::from(["/dev/xvdba"]);
        assert_eq!(devices.choose(&taken).as_deref(), Some("/dev/xvdbb"));
        devices.refused("/dev/xvdbc");
        assert_eq!(devices.choose(&taken).as_deref(), Some("/dev/xvdbd"));
        let all: Vec<_> = names().filter(|name| name != "/dev/xvdbc").collect();
        let all = all.iter().map(String::as_str).collect();
        assert_eq!(devices.choose(&all).as_deref(), Some("/dev/xvdbc"), "better than none");
        let all: Vec<_> = names().collect();
        assert_eq!(devices.choose(&all.iter().map(String::as_str).collect()), None);
    }
}
