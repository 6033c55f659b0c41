//! Names and identifiers. A name comes from users and is checked once, here; it is data ever after.

use error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes: with a suffix it must still fit a file name (255).
pub const MAX_LENGTH: usize = 128;

/// The rule, as errors state it.
pub const RULE: &str = "a name has 1 to 128 characters of a-z A-Z 0-9 _ . @ + ~ -, \
                        the first of them a letter, a digit or _";

fn check(what: &str, name: &str) -> Result<()> {
    let first_is_fine = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let all_are_fine = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.@+~-".contains(c));
    if first_is_fine && all_are_fine && name.len() <= MAX_LENGTH {
        return Ok(());
    }
    let mut shown: String = name.escape_debug().take(40).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    Err(Error::invalid_argument(format!("{what} name \"{shown}\" is refused: {RULE}")))
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// The name of this spelling; breaking the rule → `InvalidArgument` that states it.
            pub fn parse(name: &str) -> Result<Self> {
                check($what, name).map(|()| Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self> {
                Self::parse(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(name: String) -> Result<Self> {
                Self::parse(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked_name!(
    /// What users call a volume; unique within a service.
    VolumeName,
    "volume"
);
checked_name!(
    /// What users call a snapshot; unique within a service.
    SnapshotName,
    "snapshot"
);
checked_name!(
    /// What the configuration calls a driver with its settings.
    ServiceName,
    "service"
);

macro_rules! opaque_id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(Box<str>);

        impl $type {
            /// The identifier of this spelling.
            pub fn new(id: impl Into<Box<str>>) -> Self {
                Self(id.into())
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

opaque_id!(
    /// What the back end calls a volume; opaque to everybody but its driver.
    VolumeId
);
opaque_id!(
    /// What the back end calls a machine.
    NodeId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        for name in ["a", "pgdata", "my_app-db.1", "vol@datastore", "_x", "0", &"x".repeat(128)] {
            assert_eq!(VolumeName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_leave_their_directory_are_refused_with_the_rule() {
        let long = "x".repeat(300);
        for name in [
            "", ".", "..", "a/b", "/", "a/../b", "-a", ".hidden", "a b", "a\nb", "a\0b", "ü",
            "%2e%2e", "a;b", "$(x)", "a\u{7f}", &long,
        ] {
            let error = VolumeName::parse(name).expect_err(name);
            assert!(error.message().contains(RULE), "{error}");
            assert!(error.message().len() < 300, "{error}");
        }
    }

    #[test]
    fn a_record_with_a_bad_name_is_refused() {
        assert!(serde_json::from_str::<VolumeName>("\"../x\"").is_err());
    }
}
