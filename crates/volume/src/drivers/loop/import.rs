//! A volume out of a disk image or a block device that another program left: REX-Ray's, or one made
//! by hand. What is there is copied, never formatted; the original is only read and stays.

use super::{BLOCK, IMAGE, Inner, StoredVolume, bare, told};
use crate::size::Size;
use crate::volume::{Create, Filesystem, Volume};
use error::{Error, Result};
use host::{Content, Outcome, failpoint, file, image};
use std::path::Path;
use uuid::Uuid;

/// The detail of a volume that says what it was made of.
const IMPORTED: &str = "imported";

impl Inner {
    /// Makes the volume; one that was made of the same original answers the request.
    pub(super) fn import(&self, request: &Create, from: &Path) -> Result<Outcome<Volume>> {
        if let Some(existing) = self.volumes.find(request.name.as_str())? {
            return already(&existing.0, request, from);
        }
        let stage = self.volumes.stage(request.name.as_str())?;
        let made = self.taken_over(request, from, &stage.join(IMAGE));
        made.map(Outcome::Done).inspect_err(|_| self.volumes.discard(request.name.as_str()))
    }

    fn taken_over(&self, request: &Create, from: &Path, image: &Path) -> Result<Volume> {
        let found = self.original(request, from)?;
        let copied = image::take_over(from, image)?;
        failpoint::hit("loop.imported");
        // What was copied, not what was looked at before: it may have changed in between.
        let now = content(self.host.probe(image)?, from)?;
        if (now.uuid, now.fstype) != (found.uuid, found.fstype) {
            return Err(Error::aborted(format!(
                "{} changed while it was copied; try again when nothing uses it",
                from.display()
            )));
        }
        let have = Size(file::length(image)?);
        let size = Size(have.0.next_multiple_of(BLOCK));
        if size > have {
            self.host.resize_image(image, size.0)?;
        }
        let mut parameters = request.parameters.clone();
        (parameters.size, parameters.fs_type) = (Some(size), Some(found.fstype));
        parameters.mkfs_options = None;
        let mut details = told(copied);
        details.insert(IMPORTED.to_owned(), from.display().to_string());
        let volume = Volume {
            size: Some(size),
            // A UUID of its own before its first mount: the original is still there.
            filesystem: Some(Filesystem {
                fstype: found.fstype,
                uuid: Uuid::new_v4(),
                inherited: Some(found.uuid),
                fresh: false,
                covers: Some(size.min(Size(found.bytes))),
                unrecorded: false,
            }),
            parameters,
            labels: request.labels.clone(),
            details,
            ..bare(request.name.clone())
        };
        self.volumes.publish(request.name.as_str(), StoredVolume(volume.clone()))?;
        Ok(volume)
    }

    /// The file system of an original that nobody uses, and that is what was asked for.
    fn original(&self, request: &Create, from: &Path) -> Result<host::Superblock> {
        if request.asked.size.is_some() {
            return Err(Error::invalid_argument(
                "what is imported has its size; leave size out, and expand the volume afterwards",
            ));
        }
        if !from.is_absolute() {
            return Err(Error::invalid_argument(format!(
                "{} is no absolute path; say where the image or device is",
                from.display()
            )));
        }
        let device = if from.is_file() { self.host.find_image(from)? } else { Some(from.into()) };
        if let Some(device) = device
            && self.host.is_held(&device)?
        {
            return Err(Error::failed_precondition(format!(
                "{} is in use ({}); unmount it first, in containers and on the host",
                from.display(),
                device.display()
            )));
        }
        let found = content(self.host.probe(from)?, from)?;
        match request.asked.fs_type.filter(|asked| *asked != found.fstype) {
            None => Ok(found),
            Some(asked) => Err(Error::invalid_argument(format!(
                "{} holds {}, not {asked}; leave fsType out",
                from.display(),
                found.fstype
            ))),
        }
    }
}

fn content(content: Content, from: &Path) -> Result<host::Superblock> {
    match content {
        Content::Filesystem(found) => Ok(found),
        other => Err(Error::failed_precondition(format!(
            "{} holds {other}, and no ext4, xfs or btrfs; it is left untouched",
            from.display()
        ))),
    }
}

fn already(existing: &Volume, request: &Create, from: &Path) -> Result<Outcome<Volume>> {
    existing.ensure_answers(request)?;
    let same = existing.details.get(IMPORTED).map(Path::new) == Some(from);
    if same {
        return Ok(Outcome::AlreadyDone(existing.clone()));
    }
    Err(Error::already_exists(format!(
        "volume {} exists already, and was not imported from {}; use another name",
        existing.name,
        from.display()
    )))
}
