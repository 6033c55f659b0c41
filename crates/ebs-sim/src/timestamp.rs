//! Moments as AWS writes and reads them. Pure.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `2026-01-02T03:04:05.678Z`.
pub(crate) fn iso(milliseconds: u64) -> String {
    at(milliseconds).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// `2026-01-02T03:04:05Z`.
pub(crate) fn seconds(milliseconds: u64) -> String {
    at(milliseconds).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `Fri, 02 Jan 2026 03:04:05 GMT`.
pub(crate) fn http(milliseconds: u64) -> String {
    at(milliseconds).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads `20260102T030405Z` (`x-amz-date`); milliseconds since 1970.
pub(crate) fn parse_basic(text: &str) -> Option<u64> {
    let moment = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let moment = moment.to_zoned(TimeZone::UTC).ok()?.timestamp();
    u64::try_from(moment.as_millisecond()).ok()
}

/// `20260102T030405Z`.
#[cfg(test)]
pub(crate) fn basic(milliseconds: u64) -> String {
    at(milliseconds).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The clock of this machine; milliseconds since 1970.
pub(crate) fn wall() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

fn at(milliseconds: u64) -> Timestamp {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_aws_does() {
        let moment = parse_basic("20260102T030405Z").unwrap();
        assert_eq!(basic(moment), "20260102T030405Z");
        assert_eq!(iso(moment + 7), "2026-01-02T03:04:05.007Z");
        assert_eq!(seconds(moment + 7), "2026-01-02T03:04:05Z");
        assert_eq!(http(moment + 7), "Fri, 02 Jan 2026 03:04:05 GMT");
        assert_eq!(parse_basic("2026-01-02"), None);
    }
}
