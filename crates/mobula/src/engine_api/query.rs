//! What a request says besides its body: decoded paths, query parameters, Docker's booleans and
//! Docker's filters in both of their encodings.

use axum::http::Uri;
use error::{Error, Result};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The parameters after the question mark.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads them.
    pub(super) fn of(uri: &Uri) -> Result<Self> {
        axum::extract::Query::try_from_uri(uri)
            .map(|axum::extract::Query(pairs)| Self(pairs))
            .map_err(|why| Error::invalid_argument(format!("the query cannot be read: {why}")))
    }

    /// The value of a parameter; `None` also when it is empty.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter as Docker reads booleans: all but a few words are true.
    pub(super) fn flag(&self, name: &str) -> bool {
        let value = self.find(name).unwrap_or("").trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A point in time: RFC 3339, or seconds since 1970 with an optional fraction.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>> {
        let Some(text) = self.find(name) else { return Ok(None) };
        text.parse().ok().or_else(|| seconds(text)).map(Some).ok_or_else(|| {
            Error::invalid_argument(format!(
                "{name} \"{}\" is not a time; give seconds since 1970 or RFC 3339",
                text.escape_debug()
            ))
        })
    }

    /// The filters; a key that is not among `known` is refused.
    pub(super) fn filters(&self, known: &[&str]) -> Result<Filters> {
        let Some(text) = self.find("filters") else { return Ok(Filters::default()) };
        let filters: BTreeMap<String, Values> = serde_json::from_str(text)
            .map_err(|why| Error::invalid_argument(format!("invalid filters: {why}")))?;
        if let Some(key) = filters.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(Error::invalid_argument(format!("Invalid filter '{key}'")));
        }
        Ok(Filters(filters.into_iter().map(|(key, values)| (key, values.list())).collect()))
    }
}

/// `1136073600.000000001`
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(whole.parse().ok()?, nanoseconds).ok()
}

/// A filter's values: `{"v":true}` by newer clients, `["v"]` by older ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Set(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl Values {
    fn list(self) -> Vec<String> {
        match self {
            Self::Set(set) => set.into_iter().filter_map(|(key, on)| on.then_some(key)).collect(),
            Self::List(list) => list,
        }
    }
}

/// Filters: a key's values are alternatives, keys add up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// The values of `key`.
    pub(super) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// The one boolean of `key`; `None` when nothing is said.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.values(key) {
            [] => Ok(None),
            [one] if matches!(one.as_str(), "1" | "true") => Ok(Some(true)),
            [one] if matches!(one.as_str(), "0" | "false") => Ok(Some(false)),
            values => Err(Error::invalid_argument(format!(
                "Invalid filter '{key}=[{}]'",
                values.join(" ")
            ))),
        }
    }

    /// Whether `key` lets one of these pass: it has one of them among its values, or none at all.
    pub(super) fn passes(&self, key: &str, candidates: &[&str]) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|value| candidates.contains(&value.as_str()))
    }
}

/// Takes the percent signs out of a path; some clients put them into names.
pub(super) fn decode(path: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let coded = (first == b'%').then(|| after.get(..2)).flatten();
        let coded = coded.and_then(|digits| std::str::from_utf8(digits).ok());
        match coded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid_argument("the path is not valid UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        let uri = format!("/x?{}", text.replace('"', "%22").replace('{', "%7B"));
        Query::of(&uri.replace('}', "%7D").parse().unwrap()).unwrap()
    }

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decode("/plugins/a%2Fb%3Av1/json").unwrap(), "/plugins/a/b:v1/json");
        assert_eq!(decode("/a%252F%zz%2").unwrap(), "/a%2F%zz%2");
        assert!(decode("/%ff").is_err());
    }

    #[test]
    fn booleans_are_dockers() {
        for text in ["force=1", "force=True", "force=yes", "force=x"] {
            assert!(query(text).flag("force"), "{text}");
        }
        for text in ["", "force", "force=", "force=0", "force=False", "force=NO", "force=none"] {
            assert!(!query(text).flag("force"), "{text}");
        }
    }

    #[test]
    fn filters_come_in_two_encodings() {
        let set = query("filters=%7B%22enabled%22%3A%7B%22true%22%3Atrue%7D%7D");
        let list = query("filters=%7B%22enabled%22%3A%5B%22true%22%5D%7D");
        for query in [set, list] {
            let filters = query.filters(&["enabled"]).unwrap();
            assert_eq!(filters.flag("enabled").unwrap(), Some(true));
            let error = query.filters(&["name"]).expect_err("unknown").to_string();
            assert_eq!(error, "Invalid filter 'enabled'");
        }
        let maybe = query("filters={\"enabled\":[\"maybe\"]}").filters(&["enabled"]).unwrap();
        let error = maybe.flag("enabled").expect_err("no boolean").to_string();
        assert_eq!(error, "Invalid filter 'enabled=[maybe]'");
        assert!(query("filters=x").filters(&["enabled"]).is_err());
    }

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        let time = |text: &str| query(&format!("since={text}")).time("since");
        let expected: Timestamp = "2006-01-01T00:00:00.5Z".parse().unwrap();
        for text in ["1136073600.5", "1136073600.500000000", "2006-01-01T00:00:00.5Z"] {
            assert_eq!(time(text).unwrap(), Some(expected), "{text}");
        }
        assert_eq!(query("").time("since").unwrap(), None);
        for text in ["soon", "1.", "1.x", "99999999999999999999"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
