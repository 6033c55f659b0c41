//! The nouns: a volume, what was asked for when it was created, its file system, its snapshots.

use crate::name::{NodeId, SnapshotName, VolumeId, VolumeName};
use crate::size::Size;
use error::{Error, Result};
use host::{Fstype, Ownership};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A volume as its back end knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The back end's identifier.
    pub id: VolumeId,
    /// The users' name.
    pub name: VolumeName,
    /// Present size in bytes; `None` where the back end enforces none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// When it was created.
    pub created: Timestamp,
    /// The file system on its device; `None` for volumes that are not block devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
    /// What it was created with, defaults applied.
    #[serde(default)]
    pub parameters: Parameters,
    /// Free words for people and programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What the driver has to say to people (`copied: reflink`); not interpreted by anybody.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// The machines that its back end has it attached to, where it tells; never on record.
    #[serde(skip)]
    pub attached: Vec<NodeId>,
    /// What is wrong with it, and the way out; never on record. Of a volume whose record cannot be
    /// used nothing else is known but its name, and it is only shown: see
    /// [`ensure_sound`](Self::ensure_sound).
    #[serde(skip)]
    pub fault: Option<String>,
}

/// The file system that a volume's device has or will have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// Type.
    pub fstype: Fstype,
    /// The UUID that it shall have; a device that shows another one is not this volume.
    pub uuid: Uuid,
    /// The UUID that came with a copied image; replaced by `uuid` before the first mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited: Option<Uuid>,
    /// Nobody has mounted it since it was made; ext4 only, whose mkfs leaves a `lost+found`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// The device size that the file system was last made or grown for; `None`: not made yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<Size>,
    /// Nobody recorded what is on the device: it was made by another program. The file system that
    /// it shows at the first mount is the volume's; only a blank device gets the one above.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unrecorded: bool,
}

impl Filesystem {
    /// What is to be recorded once it is mounted and covers `size` bytes of the device.
    #[must_use]
    pub fn covering(&self, size: Size) -> Self {
        let covers = Some(size);
        Self { inherited: None, fresh: false, unrecorded: false, covers, ..self.clone() }
    }

    /// Whether it can be grown to `size`; otherwise `OutOfRange` says to which size it can.
    pub fn ensure_grows_to(&self, size: Size) -> Result<()> {
        let (fstype, smallest) = (self.fstype, Size(self.fstype.smallest_growth()));
        if size >= smallest {
            return Ok(());
        }
        Err(Error::out_of_range(format!(
            "a {fstype} file system cannot be grown to {size}; give {smallest} or more"
        )))
    }
}

/// What a volume is made with. `None` means: not said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameters {
    /// Capacity in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// File system type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_type: Option<Fstype>,
    /// Further arguments for mkfs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mkfs_options: Option<Vec<String>>,
    /// Mount options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_options: Option<Vec<String>>,
    /// Owner of the root directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group of the root directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Permission bits of the root directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// The directory of the file system that users see (REX-Ray: `data`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    /// Mounted read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// The driver's own options, by their exact name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver: BTreeMap<String, String>,
}

impl Parameters {
    /// These parameters, with `defaults` where nothing is said.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        let mut driver = defaults.driver.clone();
        driver.extend(self.driver.clone());
        Self {
            size: self.size.or(defaults.size),
            fs_type: self.fs_type.or(defaults.fs_type),
            mkfs_options: self.mkfs_options.clone().or_else(|| defaults.mkfs_options.clone()),
            mount_options: self.mount_options.clone().or_else(|| defaults.mount_options.clone()),
            uid: self.uid.or(defaults.uid),
            gid: self.gid.or(defaults.gid),
            mode: self.mode.or(defaults.mode),
            sub_path: self.sub_path.clone().or_else(|| defaults.sub_path.clone()),
            read_only: self.read_only.or(defaults.read_only),
            driver,
        }
    }

    /// Whether the volume is mounted read-only, in whichever way that was said.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let is_option = self.mount_options.iter().flatten().any(|option| option == "ro");
        self.read_only.unwrap_or(false) || is_option
    }

    /// Owner and mode of the root directory.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        Ownership { uid: self.uid, gid: self.gid, mode: self.mode }
    }

    /// What is said here and is otherwise in `existing`: `size is 64MiB, not 128MiB`.
    #[must_use]
    pub fn differences(&self, existing: &Self) -> Vec<String> {
        let (asked, have) = (self.spelled(), existing.spelled());
        asked
            .into_iter()
            .filter_map(|(name, asked)| match have.get(&name) {
                Some(have) if *have == asked => None,
                Some(have) => Some(format!("{name} is {have}, not {asked}")),
                None => Some(format!("{name} is not set, asked was {asked}")),
            })
            .collect()
    }

    /// Every parameter that is said, by its option name, spelled as options are.
    #[must_use]
    pub fn spelled(&self) -> BTreeMap<String, String> {
        let common = [
            ("size", self.size.map(|size| size.to_string())),
            ("fsType", self.fs_type.map(|fstype| fstype.to_string())),
            ("mkfsOptions", self.mkfs_options.as_ref().map(|options| options.join(" "))),
            ("mountOptions", self.mount_options.as_ref().map(|options| options.join(","))),
            ("uid", self.uid.map(|uid| uid.to_string())),
            ("gid", self.gid.map(|gid| gid.to_string())),
            ("mode", self.mode.map(|mode| format!("{mode:04o}"))),
            ("subPath", self.sub_path.clone()),
            ("readOnly", self.read_only.map(|read_only| read_only.to_string())),
        ];
        let common = common.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
        common.chain(self.driver.clone()).collect()
    }
}

/// What a volume is a copy of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A snapshot of the same service.
    Snapshot(SnapshotName),
    /// Another volume of the same service.
    Volume(VolumeName),
}

/// A request for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// The name it shall have.
    pub name: VolumeName,
    /// What the user said: this must match when the volume already exists.
    pub asked: Parameters,
    /// What it shall have: `asked` with the service's and the driver's defaults.
    pub parameters: Parameters,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What to copy.
    pub origin: Option<Origin>,
}

impl Volume {
    /// A volume of which nothing is known but what it is called.
    #[must_use]
    pub fn bare(id: VolumeId, name: VolumeName) -> Self {
        Self {
            id,
            name,
            size: None,
            created: Timestamp::UNIX_EPOCH,
            filesystem: None,
            parameters: Parameters::default(),
            labels: BTreeMap::new(),
            origin: None,
            details: BTreeMap::new(),
            attached: Vec::new(),
            fault: None,
        }
    }

    /// A volume that is there, and of which nothing else can be told for this reason.
    #[must_use]
    pub fn unusable(id: VolumeId, name: VolumeName, why: &Error) -> Self {
        Self { fault: Some(why.chain()), ..Self::bare(id, name) }
    }

    /// An error, `FailedPrecondition`, where something is wrong with the volume: what is not known
    /// of it must not be guessed, least of all what is on its device.
    pub fn ensure_sound(&self) -> Result<()> {
        match &self.fault {
            None => Ok(()),
            Some(fault) => {
                Err(Error::failed_precondition(format!("volume {} is faulty: {fault}", self.name)))
            }
        }
    }

    /// Whether a request for a volume of this name is answered by this one; otherwise
    /// `AlreadyExists` says what differs.
    pub fn ensure_answers(&self, request: &Create) -> Result<()> {
        let mut differences = request.asked.differences(&self.parameters);
        if request.origin.is_some() && request.origin != self.origin {
            differences.push("it has another origin".to_owned());
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::already_exists(format!(
            "volume {} exists with other options ({}); use another name, or remove it first",
            self.name,
            differences.join("; ")
        )))
    }
}

/// A snapshot: what a volume held at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The users' name.
    pub name: SnapshotName,
    /// The volume it was taken of; it may be gone by now.
    pub volume: VolumeName,
    /// Size of that volume then, in bytes.
    pub size: Size,
    /// When it was taken.
    pub created: Timestamp,
    /// The file system in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
    /// The parameters of that volume then.
    #[serde(default)]
    pub parameters: Parameters,
    /// What the driver has to say to people (`copied: reflink`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(parameters: Parameters) -> Volume {
        Volume {
            id: VolumeId::new("a"),
            name: VolumeName::parse("a").unwrap(),
            size: parameters.size,
            created: Timestamp::UNIX_EPOCH,
            filesystem: None,
            parameters,
            labels: BTreeMap::new(),
            origin: None,
            details: BTreeMap::new(),
            attached: Vec::new(),
            fault: None,
        }
    }

    fn request(asked: Parameters) -> Create {
        Create {
            name: VolumeName::parse("a").unwrap(),
            parameters: asked.clone(),
            asked,
            labels: BTreeMap::new(),
            origin: None,
        }
    }

    #[test]
    fn a_volume_answers_a_request_that_says_less() {
        let have = Parameters { size: Some(Size::mib(64)), uid: Some(5), ..Parameters::default() };
        assert!(volume(have.clone()).ensure_answers(&request(Parameters::default())).is_ok());
        assert!(volume(have.clone()).ensure_answers(&request(have)).is_ok());
    }

    #[test]
    fn a_conflict_says_what_differs() {
        let have = Parameters { size: Some(Size::mib(64)), ..Parameters::default() };
        let asked =
            Parameters { size: Some(Size::mib(128)), mode: Some(0o750), ..Parameters::default() };
        let error = volume(have).ensure_answers(&request(asked)).expect_err("conflict");
        assert_eq!(error.kind(), error::Kind::AlreadyExists);
        assert!(error.message().contains("size is 64MiB, not 128MiB"), "{error}");
        assert!(error.message().contains("mode is not set, asked was 0750"), "{error}");
    }

    #[test]
    fn what_is_said_wins_over_defaults() {
        let said = Parameters { uid: Some(1), ..Parameters::default() };
        let defaults = Parameters { uid: Some(2), gid: Some(3), ..Parameters::default() };
        let both = said.or(&defaults);
        assert_eq!((both.uid, both.gid), (Some(1), Some(3)));
    }
}
