//! What happened to plugins and their volumes, in Docker's shape.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many past events are kept for `since`.
const KEPT: usize = 1024;

/// One event (Docker's `GET /events`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `plugin` or `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `enable`, `disable`, `pull`, `create`, `remove`, `upgrade`, `restart`, `die` …
    #[serde(rename = "Action")]
    pub action: String,
    /// To whom.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`.
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub nanoseconds: i64,
}

/// To whom something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Plugin ID or volume name.
    #[serde(rename = "ID")]
    pub id: String,
    /// `name` and so on.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// The events of an engine: the latest, and those to come.
#[derive(Debug)]
pub struct Events {
    past: Mutex<VecDeque<Event>>,
    sender: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { past: Mutex::default(), sender: broadcast::channel(KEPT).0 }
    }
}

impl Events {
    /// Something happened.
    pub fn publish(&self, kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) {
        let now = Timestamp::now();
        let event = Event {
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor {
                id: id.to_owned(),
                attributes: attributes
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            },
            scope: "local".to_owned(),
            time: now.as_second(),
            nanoseconds: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        };
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Nobody listening is no failure.
        let _ = self.sender.send(event);
    }

    /// The latest events, oldest first, and a receiver of all that come after them.
    pub fn subscribe(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        (past.iter().cloned().collect(), self.sender.subscribe())
    }
}
