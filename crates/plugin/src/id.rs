//! A plugin's identity: random, given once, kept over upgrades and renames.

use crate::digest::hex;
use error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginId(String);

impl PluginId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        let halves = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        Self(halves.iter().map(|half| hex(half.as_bytes())).collect())
    }

    /// Reads a whole identity.
    pub fn parse(text: &str) -> Result<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_hex) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid_argument(format!("{text:?} is no plugin ID (64 hexadecimal digits)")))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PluginId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<PluginId> for String {
    fn from(id: PluginId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_distinct_and_read_back() {
        let (one, other) = (PluginId::random(), PluginId::random());
        assert_ne!(one, other);
        assert_eq!(PluginId::parse(one.as_str()).unwrap(), one);
        assert!(PluginId::parse("abc").is_err());
    }
}
