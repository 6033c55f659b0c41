//! The versions of Docker's API that are spoken.

use error::{Error, Result};

/// The newest, which clients are told.
pub(super) const MAX: &str = "1.51";
/// The oldest.
pub(super) const MIN: &str = "1.24";

/// `/v1.50/plugins` → `/plugins`, and whether there was a version. One that is not spoken is
/// `InvalidArgument` in Docker's words.
pub(super) fn strip(path: &str) -> Result<(&str, bool)> {
    let Some((version, at)) = prefix(path) else { return Ok((path, false)) };
    if number(version) > number(MAX) {
        return Err(Error::invalid_argument(format!(
            "client version {version} is too new. Maximum supported API version is {MAX}"
        )));
    }
    if number(version) < number(MIN) {
        return Err(Error::invalid_argument(format!(
            "client version {version} is too old. Minimum supported API version is {MIN}, please \
             upgrade your client to a newer version"
        )));
    }
    Ok((&path[at..], true))
}

/// The version that a path begins with, and where the rest begins.
fn prefix(path: &str) -> Option<(&str, usize)> {
    let (version, _) = path.strip_prefix("/v")?.split_once('/')?;
    let is_version = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    (!version.is_empty() && version.bytes().all(is_version)).then(|| (version, version.len() + 2))
}

/// Numbers compare as versions do: 1.9 is older than 1.24.
fn number(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_off_and_its_absence_is_fine() {
        assert_eq!(strip("/v1.50/plugins").unwrap(), ("/plugins", true));
        assert_eq!(strip("/plugins").unwrap(), ("/plugins", false));
        assert_eq!(strip("/volumes/v1.2/x").unwrap(), ("/volumes/v1.2/x", false));
        assert_eq!(strip("/version").unwrap(), ("/version", false));
    }

    #[test]
    fn versions_out_of_range_are_refused_in_dockers_words() {
        let new = strip("/v1.60/info").expect_err("new").to_string();
        assert_eq!(new, "client version 1.60 is too new. Maximum supported API version is 1.51");
        let old = strip("/v1.9/info").expect_err("old").to_string();
        assert!(old.contains("1.9 is too old. Minimum supported API version is 1.24"), "{old}");
        assert!(strip("/v99999999999999999999999.1/info").is_err());
    }
}
