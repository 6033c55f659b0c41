//! Times on the command line: how long ago, or when.

use error::{Error, Result};
use jiff::{SignedDuration, Timestamp};

/// Reads `10m`, `2026-01-02T03:04:05Z`, or seconds since 1970.
pub(super) fn parse(text: &str, now: Timestamp) -> Result<Timestamp> {
    let wrong = || {
        Error::invalid_argument(format!(
            "\"{}\" is no time; give 10m, 2026-01-02T03:04:05Z or seconds since 1970",
            text.escape_debug()
        ))
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Some((seconds, nanoseconds)) = seconds(text) {
        return Timestamp::new(seconds, nanoseconds).map_err(|_| wrong());
    }
    let ago: SignedDuration = text.parse().map_err(|_| wrong())?;
    now.checked_sub(ago).map_err(|_| wrong())
}

/// `SECONDS` or `SECONDS.FRACTION`.
fn seconds(text: &str) -> Option<(i64, i32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Some((whole.parse().ok()?, nanoseconds))
}

/// As Docker's API takes it: `SECONDS.NANOSECONDS`.
pub(super) fn for_docker(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_time_is_understood() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for (text, expected) in [
            ("10m", "2026-01-02T02:54:05Z"),
            ("1h30m", "2026-01-02T01:34:05Z"),
            ("2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z"),
            ("1767323045", "2026-01-02T03:04:05Z"),
            ("1767323045.5", "2026-01-02T03:04:05.5Z"),
        ] {
            assert_eq!(parse(text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["", "soon", "10", "1.2.3", "2026-13-01T00:00:00Z"] {
            assert_eq!(parse(text, now).is_err(), text != "10", "{text}");
        }
    }

    #[test]
    fn docker_gets_seconds_and_nanoseconds() {
        let time: Timestamp = "2026-01-02T03:04:05.000000007Z".parse().unwrap();
        assert_eq!(for_docker(time), "1767323045.000000007");
    }
}
