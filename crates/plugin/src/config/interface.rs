//! What a plugin implements, as in `docker.volumedriver/1.0`.

use serde::{Serialize, Serializer};
use std::fmt;

/// `<prefix>.<capability>/<version>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct InterfaceType {
    /// Who defined it: `docker`.
    pub prefix: String,
    /// What it is: `volumedriver`.
    pub capability: String,
    /// Of which version: `1.0`.
    pub version: String,
}

impl InterfaceType {
    /// Splits at the first slash and at the last dot before it. Every text means something:
    /// dockerd accepts unknown types.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (head, version) = text.split_once('/').unwrap_or((text, ""));
        let (prefix, capability) = head.rsplit_once('.').unwrap_or(("", head));
        Self {
            prefix: prefix.to_owned(),
            capability: capability.to_owned(),
            version: version.to_owned(),
        }
    }

    /// Whether it is Docker's `capability`, of any version.
    #[must_use]
    pub fn is(&self, capability: &str) -> bool {
        self.prefix == "docker" && self.capability.eq_ignore_ascii_case(capability)
    }
}

impl fmt::Display for InterfaceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}", self.prefix, self.capability, self.version)
    }
}

impl Serialize for InterfaceType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_split_at_the_last_dot_before_the_first_slash() {
        let cases = [
            ("docker.volumedriver/1.0", ["docker", "volumedriver", "1.0"]),
            ("a.b.c/1.0/x.y", ["a.b", "c", "1.0/x.y"]),
            ("docker.volumedriver", ["docker", "volumedriver", ""]),
            ("plain", ["", "plain", ""]),
            ("", ["", "", ""]),
        ];
        for (text, [prefix, capability, version]) in cases {
            let parsed = InterfaceType::parse(text);
            assert_eq!(
                [&*parsed.prefix, &*parsed.capability, &*parsed.version],
                [prefix, capability, version]
            );
            assert_eq!(InterfaceType::parse(&parsed.to_string()), parsed, "{text}");
        }
    }

    #[test]
    fn only_dockers_capabilities_count_in_any_case() {
        assert!(InterfaceType::parse("docker.VolumeDriver/2.0").is("volumedriver"));
        assert!(!InterfaceType::parse("acme.volumedriver/1.0").is("volumedriver"));
        assert!(!InterfaceType::parse("docker.authz/1.0").is("volumedriver"));
    }
}
