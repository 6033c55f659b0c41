//! How a disk is made: blank, or as a copy.

use super::{Disk, Kept, State};
use error::{Error, Result};
use host::fake::Fake;
use host::{Content, Fstype};
use jiff::Timestamp;
use std::collections::BTreeMap;
use uuid::Uuid;
use volume::{Create, Filesystem, Origin, Parameters, Size, Snapshot, Volume, VolumeId};

/// What a copy is made of.
struct Original {
    content: Content,
    size: Size,
    filesystem: Option<Filesystem>,
    parameters: Parameters,
}

impl State {
    /// What the origin holds.
    fn origin(&self, origin: &Origin, fake: &Fake) -> Result<Original> {
        match origin {
            Origin::Volume(name) => {
                let missing = || Error::not_found(format!("there is no volume {name}"));
                let disk = self.disks.get(name).ok_or_else(missing)?;
                let Volume { size, filesystem, parameters, .. } = disk.volume.clone();
                let (content, size) = (disk.content(fake)?, size.unwrap_or_default());
                Ok(Original { content, size, filesystem, parameters })
            }
            Origin::Snapshot(name) => {
                let missing = || Error::not_found(format!("there is no snapshot {name}"));
                let Kept { snapshot, content, .. } =
                    self.snapshots.get(name).ok_or_else(missing)?.clone();
                let Snapshot { size, filesystem, parameters, .. } = snapshot;
                Ok(Original { content, size, filesystem, parameters })
            }
        }
    }

    pub(super) fn build(&mut self, request: &Create, fake: &Fake) -> Result<Disk> {
        let original = match &request.origin {
            Some(origin) => self.origin(origin, fake)?,
            None => Original {
                content: Content::Blank,
                size: Size(0),
                filesystem: None,
                parameters: request.parameters.clone(),
            },
        };
        let mut parameters = request.asked.or(&original.parameters);
        let size = request.parameters.size.unwrap_or(original.size);
        if size < original.size {
            let have = original.size;
            return Err(Error::out_of_range(format!("{size} is smaller than the {have} copied")));
        }
        let filesystem = own_filesystem(&original, request);
        self.made += 1;
        parameters.size = Some(size);
        parameters.fs_type = Some(filesystem.fstype);
        let volume = Volume {
            id: VolumeId::new(format!("disk-{}", self.made)),
            name: request.name.clone(),
            size: Some(size),
            created: Timestamp::now(),
            filesystem: Some(filesystem),
            parameters,
            labels: request.labels.clone(),
            origin: request.origin.clone(),
            details: BTreeMap::new(),
            attached: Vec::new(),
            fault: None,
        };
        Ok(Disk { volume, content: original.content, attached: None, kept: false })
    }
}

/// The file system that a volume made of `original` has, or will have.
fn own_filesystem(original: &Original, request: &Create) -> Filesystem {
    let asked = request.parameters.fs_type.unwrap_or(Fstype::Ext4);
    let copied = original.filesystem.as_ref();
    Filesystem {
        fstype: copied.map_or(asked, |filesystem| filesystem.fstype),
        uuid: Uuid::new_v4(),
        inherited: match &original.content {
            Content::Filesystem(found) => Some(found.uuid),
            Content::Blank | Content::Foreign(_) => None,
        },
        fresh: false,
        covers: copied.and_then(|filesystem| filesystem.covers),
        unrecorded: false,
    }
}
