//! A door for fuzz/, which the feature `fuzzing` opens: tags and what they say of a volume, without
//! an account.

use super::record;
use super::settings::Settings;
use crate::cloud::aws;
use crate::name::VolumeName;
use crate::volume::{Create, Filesystem, Origin, Parameters, Snapshot, Volume};
use error::Result;
use std::collections::BTreeMap;

/// What tags say of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What it was made with.
    pub parameters: Parameters,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it is a copy of.
    pub origin: Option<Origin>,
    /// What file system it has.
    pub filesystem: Option<Filesystem>,
}

/// What these tags say; `None` when they are no record.
pub fn read(tags: &BTreeMap<String, String>) -> Result<Option<Said>> {
    let Some(said) = record::said(|key| tags.get(key).map(String::as_str))? else {
        return Ok(None);
    };
    let record::Said { parameters, labels, origin } = said;
    let filesystem =
        tags.get(record::FILESYSTEM).map(|text| record::filesystem(text, "vol-1")).transpose()?;
    Ok(Some(Said { parameters, labels, origin, filesystem }))
}

/// The tags that say this of the volume `name`.
pub fn write(name: &VolumeName, said: &Said) -> Result<BTreeMap<String, String>> {
    let Said { parameters, labels, origin, filesystem } = said.clone();
    let request =
        Create { name: name.clone(), asked: parameters.clone(), parameters, labels, origin };
    let settings = Settings::parse(&BTreeMap::new())?;
    record::tags(&settings, &request, &request.parameters, filesystem.as_ref())
}

/// The volume that AWS shows.
pub fn volume(raw: &aws::Volume) -> Result<Volume> {
    record::volume(&Settings::parse(&BTreeMap::new())?, raw)
}

/// The snapshot that AWS shows.
pub fn snapshot(raw: &aws::Snapshot) -> Result<Option<Snapshot>> {
    record::snapshot(raw)
}
