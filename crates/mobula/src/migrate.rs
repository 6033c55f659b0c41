//! The way over from another program: its configuration is read, ours is made of it, and a report
//! says of every setting what became of it. Nothing here touches the machine.

pub mod rexray;

use serde::Serialize;

/// What stands in place of a value that is nobody's business.
pub const HIDDEN: &str = "********";

/// What became of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is in the new configuration.
    Mapped,
    /// What it was for is done without a setting.
    NotNeeded,
    /// Nothing here does what it did.
    NoEquivalent,
    /// It belongs to a part that this version does not have.
    NotThereYet,
    /// Another place said otherwise, and won.
    Overridden,
    /// The other program did not know it either.
    Unknown,
}

impl Fate {
    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::NotNeeded => "not needed",
            Self::NoEquivalent => "no equivalent",
            Self::NotThereYet => "not there yet",
            Self::Overridden => "overridden",
            Self::Unknown => "unknown",
        }
    }
}

/// A key of ours with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Became {
    /// `services.db.volume.fsType`.
    pub key: String,
    /// Its value; hidden when it is a secret.
    pub value: String,
}

/// What became of one setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The setting, as the other program spells it.
    pub key: String,
    /// Its value; hidden when it is a secret or could be one.
    pub was: String,
    /// Where it was said: `rexray.yml:12`, `EBS_REGION`, `default`.
    pub from: String,
    /// What became of it.
    pub fate: Fate,
    /// Under which keys of ours it lives on.
    pub became: Vec<Became>,
    /// What changes in behaviour; empty when nothing does.
    pub change: String,
    /// Whoever migrates must know this.
    pub attention: bool,
}

impl Row {
    /// What became of it, in one cell.
    #[must_use]
    pub fn outcome(&self) -> String {
        if self.became.is_empty() {
            return self.fate.describe().to_owned();
        }
        let keys = self.became.iter().map(|became| format!("{}={}", became.key, became.value));
        let keys = keys.collect::<Vec<_>>().join(", ");
        match self.fate {
            Fate::Mapped => keys,
            other => format!("{}: {keys}", other.describe()),
        }
    }
}
