//! What the engine has asked: a count per method and the last requests, for tests to look at.

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

/// Requests remembered in full.
const KEPT: usize = 500;

/// The calls so far.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    counts: BTreeMap<String, u64>,
    requests: VecDeque<(String, String)>,
}

impl Calls {
    /// Counts and remembers a call.
    pub(crate) fn note(&self, method: &str, body: &str) {
        let Ok(mut noted) = self.0.lock() else { return };
        *noted.counts.entry(method.to_owned()).or_default() += 1;
        if noted.requests.len() == KEPT {
            noted.requests.pop_front();
        }
        noted.requests.push_back((method.to_owned(), body.to_owned()));
    }

    /// `{"counts": {METHOD: N}, "requests": [{"method", "body"}]}`.
    pub(crate) fn show(&self) -> Value {
        let Ok(noted) = self.0.lock() else { return Value::Null };
        let shown = |(method, body): &(String, String)| json!({ "method": method, "body": body });
        let requests: Vec<_> = noted.requests.iter().map(shown).collect();
        json!({ "counts": noted.counts, "requests": requests })
    }
}
