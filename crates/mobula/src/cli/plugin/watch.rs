//! What a pull or push reports while it runs: a bar per layer on a terminal, lines elsewhere.

use crate::cli::terminal::emit_line;
use crate::engine_client::Answer;
use error::{Error, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::io::IsTerminal;

const BAR: &str = "{prefix}: {msg:18} [{wide_bar}] {bytes}/{total_bytes}";
const WORD: &str = "{prefix}: {msg}";

/// One object of Docker's progress stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Message {
    status: String,
    id: String,
    progress_detail: Option<Detail>,
    aux: Option<Value>,
    error: Option<String>,
    error_detail: Option<ErrorDetail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: u64,
    total: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    message: String,
}

impl Message {
    /// What it says went wrong.
    fn failure(&self) -> Option<Error> {
        let detail = self.error_detail.as_ref().map(|detail| detail.message.as_str());
        let text = detail.filter(|text| !text.is_empty()).or(self.error.as_deref())?;
        Some(Error::internal(text))
    }

    /// The line for it; none for bytes that go on.
    fn line(&self) -> Option<String> {
        let moves = self.progress_detail.as_ref().is_some_and(|detail| detail.total > 0);
        if self.status.is_empty() || moves {
            return None;
        }
        Some(match self.id.as_str() {
            "" => self.status.clone(),
            id => format!("{id}: {}", self.status),
        })
    }
}

/// Shows the stream until its end. An error within it is a failure, and so is a stream that breaks
/// off. What a push said in the end, if anything.
pub(super) async fn watch(mut answer: Answer) -> Result<Option<Value>> {
    let mut display = Display::new(std::io::stderr().is_terminal());
    let mut aux = None;
    while let Some(message) = answer.object::<Message>().await? {
        if let Some(failure) = message.failure() {
            return Err(failure);
        }
        display.show(&message)?;
        aux = message.aux.or(aux);
    }
    Ok(aux)
}

enum Display {
    Lines { last: HashMap<String, String> },
    Bars { all: MultiProgress, by_id: HashMap<String, ProgressBar> },
}

impl Display {
    fn new(is_watched: bool) -> Self {
        if is_watched {
            return Self::Bars { all: MultiProgress::new(), by_id: HashMap::new() };
        }
        Self::Lines { last: HashMap::new() }
    }

    fn show(&mut self, message: &Message) -> Result<()> {
        match self {
            Self::Lines { last } => {
                let Some(line) = message.line() else { return Ok(()) };
                // The same word again and again tells nothing.
                if last.insert(message.id.clone(), line.clone()).as_ref() == Some(&line) {
                    return Ok(());
                }
                emit_line(&line)
            }
            Self::Bars { all, by_id } => {
                draw(all, by_id, message);
                Ok(())
            }
        }
    }
}

impl Drop for Display {
    /// What was last said of each layer stays to be read, after a failure most of all.
    fn drop(&mut self) {
        if let Self::Bars { by_id, .. } = self {
            by_id.values().for_each(ProgressBar::abandon);
        }
    }
}

fn draw(all: &MultiProgress, by_id: &mut HashMap<String, ProgressBar>, message: &Message) {
    let Some(detail) = message.progress_detail.as_ref().filter(|_| !message.id.is_empty()) else {
        if let Some(line) = message.line() {
            // The terminal is for the eye only.
            let _ = all.println(line);
        }
        return;
    };
    let bar = by_id.entry(message.id.clone()).or_insert_with(|| {
        all.add(ProgressBar::new(0).with_prefix(message.id.clone()).with_style(style(WORD)))
    });
    bar.set_message(message.status.clone());
    if detail.total > 0 {
        bar.set_style(style(BAR));
        bar.set_length(detail.total);
        bar.set_position(detail.current);
    } else {
        bar.set_style(style(WORD));
        bar.tick();
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn lines_are_dockers() {
        for (json, line) in [
            (r#"{"status":"Pulling from a/b","id":"v1"}"#, Some("v1: Pulling from a/b")),
            (r#"{"status":"Digest: sha256:00"}"#, Some("Digest: sha256:00")),
            (r#"{"status":"Waiting","progressDetail":{},"id":"bd8e"}"#, Some("bd8e: Waiting")),
            (
                r#"{"status":"Downloading","progressDetail":{"current":1,"total":9},"id":"bd8e"}"#,
                None,
            ),
            (r#"{"progressDetail":{},"aux":{"Tag":"latest"}}"#, None),
        ] {
            assert_eq!(message(json).line().as_deref(), line, "{json}");
        }
    }

    #[test]
    fn errors_within_the_stream_are_errors() {
        let error = message(r#"{"errorDetail":{"message":"no"},"error":"no"}"#).failure().unwrap();
        assert_eq!(error.message(), "no");
        assert_eq!(message(r#"{"error":"old"}"#).failure().unwrap().message(), "old");
        assert!(message(r#"{"status":"error"}"#).failure().is_none());
    }

    #[test]
    fn the_bars_templates_are_valid() {
        for template in [BAR, WORD] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
