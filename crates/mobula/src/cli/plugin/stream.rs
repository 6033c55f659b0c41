//! The verbs that go on and on: logs and events.

use super::list::filters_json;
use super::time;
use crate::cli::output::{Format, Output};
use crate::cli::terminal::emit_line;
use crate::engine_client::{EngineClient, Request, named, query};
use clap::Args;
use error::{Error, IoContext, Result};
use jiff::Timestamp;
use plugin::events::Event;
use plugin::logs::Line;
use std::collections::BTreeMap;
use std::io::Write;

/// Show what a plugin wrote to its output.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Name or ID.
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// Go on with what it writes from now on.
    #[arg(short, long)]
    follow: bool,

    /// Only the last lines, or all.
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "all", value_parser = tail)]
    tail: Tail,

    /// Only lines not older than this: 10m, or 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Show when each line came.
    #[arg(short, long)]
    timestamps: bool,
}

/// How many lines; `None`: all.
#[derive(Debug, Clone, Copy)]
struct Tail(Option<usize>);

fn tail(text: &str) -> std::result::Result<Tail, String> {
    if text == "all" {
        return Ok(Tail(None));
    }
    text.parse().map(|count| Tail(Some(count))).map_err(|_| "give a number, or all".to_owned())
}

impl Logs {
    /// Shows the lines, each on the stream that it was written to.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        let mut pairs = Vec::new();
        let count = self.tail.0.map(|count| count.to_string());
        if let Some(count) = &count {
            pairs.push(("tail", count.as_str()));
        }
        let since = self.since.as_deref().map(|text| time::parse(text, Timestamp::now()));
        let since = since.transpose()?.map(|time| time.to_string());
        if let Some(since) = &since {
            pairs.push(("since", since));
        }
        if self.follow {
            pairs.push(("follow", "1"));
        }
        let path = query(&named("/mobula/plugins", &self.plugin, "/logs")?, &pairs);
        let mut answer = engine.send(Request::get(path)).await?;
        while let Some(line) = answer.object::<Line>().await? {
            let text = log_line(&line, self.timestamps);
            if line.stream == "stderr" {
                let mut stream = std::io::stderr().lock();
                writeln!(stream, "{text}").doing(|| "write to standard error")?;
            } else {
                emit_line(&text)?;
            }
        }
        Ok(())
    }
}

fn log_line(line: &Line, timestamps: bool) -> String {
    if timestamps { format!("{:.9} {}", line.time, line.line) } else { line.line.clone() }
}

/// Show what happens to plugins and their volumes, as it happens.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// From then on: 10m, or 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Until then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Such as event=enable or plugin=NAME (repeatable).
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,

    /// json, or a Go template such as '{{.Action}}'.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Events {
    /// What its flags say about the output.
    pub(super) fn output(&self) -> Output {
        Output::of(self.format.clone(), false)
    }

    /// Shows them.
    pub(super) async fn run(&self, engine: &EngineClient, output: &Output) -> Result<()> {
        let format = output.format()?;
        let filters = filters(&self.filter)?;
        let now = Timestamp::now();
        let at = |text: &Option<String>| {
            text.as_deref().map(|text| time::parse(text, now).map(time::for_docker)).transpose()
        };
        let (since, until) = (at(&self.since)?, at(&self.until)?);
        let mut pairs = vec![("filters", filters.as_str())];
        pairs.extend(since.as_deref().map(|since| ("since", since)));
        pairs.extend(until.as_deref().map(|until| ("until", until)));
        let mut answer = engine.send(Request::get(query("/events", &pairs))).await?;
        while let Some(event) = answer.object::<Event>().await? {
            emit_line(&event_line(&format, &event)?)?;
        }
        Ok(())
    }
}

/// A dockerd has events of containers, too, which nobody asked for here.
fn filters(texts: &[String]) -> Result<String> {
    let mut filters: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for text in texts {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.trim().is_empty())
        else {
            return Err(Error::invalid_argument(format!(
                "Invalid filter '{}'; write it as KEY=VALUE, such as event=enable",
                text.escape_debug()
            )));
        };
        filters.entry(key.trim()).or_default().push(value.trim().to_owned());
    }
    filters.entry("type").or_insert_with(|| vec!["plugin".to_owned(), "volume".to_owned()]);
    filters_json(&filters)
}

fn event_line(format: &Format, event: &Event) -> Result<String> {
    let unserialisable =
        |source| Error::internal("the event cannot be written as JSON").because(source);
    match format {
        Format::Table => Ok(plain(event)),
        Format::Json => serde_json::to_string(event).map_err(unserialisable),
        Format::Pretty => serde_json::to_string_pretty(event).map_err(unserialisable),
        Format::Template(template) => {
            template.render(&serde_json::to_value(event).map_err(unserialisable)?, &[])
        }
    }
}

/// `TIME TYPE ACTION ID (KEY=VALUE, …)`, as docker writes it.
fn plain(event: &Event) -> String {
    let (seconds, nanoseconds) = (event.time, event.nanoseconds.rem_euclid(1_000_000_000));
    let time = Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or_default());
    let time = time.map_or_else(|_| seconds.to_string(), |time| format!("{time:.9}"));
    let attributes = &event.actor.attributes;
    let attributes: Vec<_> =
        attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let actor = if attributes.is_empty() {
        event.actor.id.clone()
    } else {
        format!("{} ({})", event.actor.id, attributes.join(", "))
    };
    format!("{time} {} {} {actor}", event.kind, event.action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::template::Template;

    fn event() -> Event {
        serde_json::from_str(
            r#"{"Type":"plugin","Action":"enable","Actor":{"ID":"07","Attributes":{"name":"a:latest"}},
                "scope":"local","time":1767323045,"timeNano":1767323045000000007}"#,
        )
        .unwrap()
    }

    #[test]
    fn events_look_as_dockers() {
        let expected = "2026-01-02T03:04:05.000000007Z plugin enable 07 (name=a:latest)";
        assert_eq!(event_line(&Format::Table, &event()).unwrap(), expected);
        let template = Template::parse("{{.Type}} {{.Action}} {{.Actor.ID}}").unwrap();
        let line = event_line(&Format::Template(Box::new(template)), &event()).unwrap();
        assert_eq!(line, "plugin enable 07");
    }

    #[test]
    fn filters_become_dockers() {
        let texts = ["event=enable", "event=disable", "plugin=a"].map(str::to_owned);
        let expected =
            r#"{"event":["enable","disable"],"plugin":["a"],"type":["plugin","volume"]}"#;
        assert_eq!(filters(&texts).unwrap(), expected);
        assert_eq!(filters(&["type=volume".to_owned()]).unwrap(), r#"{"type":["volume"]}"#);
        assert!(filters(&["enable".to_owned()]).is_err());
    }

    #[test]
    fn lines_may_have_their_time() {
        let line: Line = serde_json::from_str(
            r#"{"time":"2026-01-02T03:04:05.5Z","stream":"stdout","line":"up"}"#,
        )
        .unwrap();
        assert_eq!(log_line(&line, false), "up");
        assert_eq!(log_line(&line, true), "2026-01-02T03:04:05.500000000Z up");
    }
}
