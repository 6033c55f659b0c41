//! `GET /events`: what happened, and what happens while the client listens.

use super::Call;
use super::answer::{Answer, line};
use super::query::Filters;
use super::stream::{self, PIECES};
use bytes::Bytes;
use error::Result;
use jiff::Timestamp;
use plugin::events::Event;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// Docker's filters; those of things that there are none of here let nothing pass.
const FILTERS: [&str; 14] = [
    "type",
    "event",
    "scope",
    "label",
    "plugin",
    "volume",
    "container",
    "image",
    "network",
    "daemon",
    "service",
    "node",
    "secret",
    "config",
];

/// What a client wants to hear of.
struct Wanted {
    filters: Filters,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// Answers at once, so that the client knows that it misses nothing from now on.
pub(super) fn follow(call: &Call) -> Answer {
    let wanted = Wanted {
        filters: call.query.filters(&FILTERS)?,
        since: call.query.time("since")?,
        until: call.query.time("until")?,
    };
    let (sender, pieces) = mpsc::channel(PIECES);
    let api = Arc::clone(&call.api);
    // Subscribed before the answer begins.
    let (past, live) = api.engine.events().subscribe();
    tokio::spawn(async move {
        tokio::select! {
            () = tell(&wanted, past, live, &sender) => {}
            () = super::stream_ends(&api, &sender) => {}
        }
    });
    Ok(stream::at_once(pieces, "application/json"))
}

async fn tell(
    wanted: &Wanted,
    past: Vec<Event>,
    mut live: tokio::sync::broadcast::Receiver<Event>,
    sender: &mpsc::Sender<Result<Bytes>>,
) {
    if wanted.since.is_some() || wanted.until.is_some() {
        for event in past.iter().filter(|event| wanted.has(event)) {
            send(event, sender).await;
        }
    }
    let end = wanted.end();
    tokio::pin!(end);
    loop {
        let event = tokio::select! {
            event = live.recv() => event,
            () = &mut end => return,
        };
        match event {
            Ok(event) if wanted.has(&event) => send(&event, sender).await,
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "a slow client misses events"),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn send(event: &Event, sender: &mpsc::Sender<Result<Bytes>>) {
    if let Some(text) = line(event) {
        let _ = sender.send(Ok(text.into())).await;
    }
}

impl Wanted {
    fn has(&self, event: &Event) -> bool {
        let at = i128::from(event.nanoseconds);
        self.since.is_none_or(|since| at >= since.as_nanosecond())
            && self.until.is_none_or(|until| at <= until.as_nanosecond())
            && passes(&self.filters, event)
    }

    /// Waits until nothing more can be wanted.
    async fn end(&self) {
        let Some(until) = self.until else { return std::future::pending().await };
        let left = Timestamp::now().duration_until(until);
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    }
}

fn passes(filters: &Filters, event: &Event) -> bool {
    let name = event.actor.attributes.get("name").map_or("", String::as_str);
    let labels = event
        .actor
        .attributes
        .iter()
        .flat_map(|(key, value)| [key.clone(), format!("{key}={value}")]);
    let labels: Vec<String> = labels.collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let named = |kind: &str| {
        let is_it = event.kind == kind;
        // Names go with or without their usual tag.
        let short = name.strip_suffix(":latest").unwrap_or(name);
        let candidates = [event.actor.id.as_str(), name, short];
        filters.passes(kind, if is_it { &candidates } else { &[] })
    };
    filters.passes("type", &[&event.kind])
        && filters.passes("event", &[&event.action])
        && filters.passes("scope", &[&event.scope])
        && filters.passes("label", &labels)
        && FILTERS[4..].iter().all(|kind| named(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_api::query::Query;
    use plugin::events::Events;

    fn event(kind: &str, action: &str, id: &str, name: &str) -> Event {
        let events = Events::default();
        events.publish(kind, action, id, &[("name", name)]);
        events.subscribe().0.remove(0)
    }

    fn filters(text: &str) -> Filters {
        let uri = format!("/events?filters={}", text.replace('"', "%22"));
        Query::of(&uri.parse().unwrap()).unwrap().filters(&FILTERS).unwrap()
    }

    #[test]
    fn filters_add_up_and_values_are_alternatives() {
        let enable = event("plugin", "enable", "abc", "me/p:latest");
        for text in [
            "",
            r#"{"type":["plugin"]}"#,
            r#"{"type":["plugin"],"event":["disable","enable"]}"#,
            r#"{"plugin":["me/p"]}"#,
            r#"{"plugin":{"me/p:latest":true}}"#,
            r#"{"plugin":["abc"],"scope":["local"]}"#,
        ] {
            assert!(passes(&filters(text), &enable), "{text}");
        }
        for text in [
            r#"{"type":["volume"]}"#,
            r#"{"type":["plugin"],"event":["disable"]}"#,
            r#"{"plugin":["other"]}"#,
            r#"{"volume":["abc"]}"#,
            r#"{"container":["abc"]}"#,
        ] {
            assert!(!passes(&filters(text), &enable), "{text}");
        }
    }

    #[test]
    fn times_bound_what_is_told() {
        let it = event("volume", "create", "v", "v");
        let at = Timestamp::from_nanosecond(it.nanoseconds.into()).unwrap();
        let later = Timestamp::from_second(it.time + 10).unwrap();
        let wanted = |since, until| Wanted { filters: Filters::default(), since, until };
        assert!(wanted(None, None).has(&it) && wanted(Some(at), Some(at)).has(&it));
        assert!(!wanted(Some(later), None).has(&it));
        assert!(!wanted(None, Timestamp::from_second(0).ok()).has(&it));
    }
}
