//! What a runtime complains about: errors that libcontainer logs in any of its processes, or the
//! log file of a program. The causes that its errors leave out.

use error::{Error, IoContext, Result};
use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// How many complaints become part of an error: the first ones, since what complains first is the
/// cause of the rest.
const KEPT: usize = 3;

/// From now on, errors that are logged in this process and in its forks go to the file `path`.
pub(super) fn record(path: &Path) -> Result<()> {
    let file = File::options().append(true).create(true).mode(0o600).open(path);
    let file = file.doing(|| format!("open {}", path.display()))?;
    // Only helpers call this, once, and nothing else is logged there.
    let _ = tracing::subscriber::set_global_default(Recorder(file));
    Ok(())
}

/// The error with the beginning of the log `path` in its message.
pub(super) fn add(error: Error, path: &Path) -> Error {
    let log = host::file::read_optional(path).ok().flatten().unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let mut lines: Vec<_> = log.lines().map(readable).filter(|line| !line.is_empty()).collect();
    lines.dedup();
    lines.truncate(KEPT);
    if lines.is_empty() {
        return error;
    }
    Error::new(error.kind(), format!("{}: {}", error.chain(), lines.join("; ")))
}

/// runc's log is JSON, with more than the message.
fn readable(line: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let message = json.as_ref().and_then(|json| json["msg"].as_str()).unwrap_or(line);
    message.trim().to_owned()
}

struct Recorder(File);

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.is_event()
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Fields(String::new());
        event.record(&mut line);
        line.0.push('\n');
        // One call, so that lines of several processes don't mix.
        let _ = (&self.0).write_all(line.0.as_bytes());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let gap = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_recorded_and_the_first_ones_are_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let recorder = Recorder(File::create(&path).unwrap());
        tracing::subscriber::with_default(recorder, || {
            tracing::error!(path = "/x", "first");
            tracing::warn!("not an error");
            (0..4).for_each(|number| tracing::error!("then {number}"));
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("first path=\"/x\"\n"), "{text}");
        let error = add(Error::internal("no container"), &path);
        assert_eq!(error.message(), "no container: first path=\"/x\"; then 0; then 1");
    }

    #[test]
    fn of_a_json_log_only_the_messages_are_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "{\"level\":\"error\",\"msg\":\"no such file\"}\n").unwrap();
        let error = add(Error::internal("runc create failed"), &path);
        assert_eq!(error.message(), "runc create failed: no such file");
    }
}
