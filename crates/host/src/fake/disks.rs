//! [`Disks`] of the machine in memory.

use super::{Fake, World};
use crate::{Attach, Content, Disks, Format, Fstype, Outcome, Superblock};
use error::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

impl Disks for Fake {
    fn wait_for(
        &self,
        candidates: &[PathBuf],
        serial: Option<&str>,
        _timeout: Duration,
    ) -> Result<PathBuf> {
        let world = self.look("wait_for")?;
        let fits = |path: &&PathBuf| {
            world
                .disks
                .get(*path)
                .is_some_and(|disk| serial.is_none() || disk.serial.as_deref() == serial)
        };
        candidates.iter().find(fits).cloned().ok_or_else(|| {
            Error::deadline_exceeded(format!("no block device appeared among {candidates:?}"))
        })
    }

    fn size(&self, device: &Path) -> Result<u64> {
        Ok(self.look("size")?.disk(device)?.size)
    }

    fn probe(&self, device: &Path) -> Result<Content> {
        Ok(self.look("probe")?.disk(device)?.content.clone())
    }

    fn superblock(&self, device: &Path, fstype: Fstype) -> Result<Option<Superblock>> {
        Ok(match &self.look("superblock")?.disk(device)?.content {
            Content::Filesystem(found) if found.fstype == fstype => Some(found.clone()),
            _ => None,
        })
    }

    fn is_held(&self, device: &Path) -> Result<bool> {
        Ok(self.look("is_held")?.is_held(device))
    }

    fn format(&self, device: &Path, format: &Format) -> Result<()> {
        let mut world = self.act("format", &format!("{} {}", device.display(), format.fstype))?;
        let held = world.is_held(device);
        let disk = world.disk(device)?;
        if held || disk.content != Content::Blank {
            return Err(Error::failed_precondition(format!(
                "device {} holds {}; refusing to format",
                device.display(),
                disk.content
            )));
        }
        if disk.size < format.fstype.minimum_size() {
            return Err(Error::out_of_range(format!("{} is too small", device.display())));
        }
        let (fstype, uuid, bytes) = (format.fstype, format.uuid, disk.size);
        disk.content = Content::Filesystem(Superblock { fstype, uuid, bytes, needs_check: false });
        Ok(())
    }

    fn rehearse(&self, format: &Format, _size: u64) -> Result<()> {
        drop(self.look("rehearse")?);
        crate::filesystem::check_options(format.fstype, &format.options)
    }

    fn check(&self, device: &Path, fstype: Fstype) -> Result<()> {
        let mut world = self.act("check", &format!("{} {fstype}", device.display()))?;
        world.superblock(device, fstype.name())?.needs_check = false;
        Ok(())
    }

    fn set_uuid(&self, device: &Path, fstype: Fstype, uuid: Uuid) -> Result<Outcome> {
        let mut world = self.act("set_uuid", &format!("{} {uuid}", device.display()))?;
        let held = world.is_held(device);
        let superblock = world.superblock(device, fstype.name())?;
        if superblock.uuid == uuid {
            return Ok(Outcome::AlreadyDone(()));
        }
        if held {
            return Err(Error::failed_precondition(format!("{} is mounted", device.display())));
        }
        superblock.uuid = uuid;
        Ok(Outcome::Done(()))
    }

    fn grow(&self, device: &Path, fstype: Fstype, mounted_at: Option<&Path>) -> Result<()> {
        let mut world = self.act("grow", &format!("{} {fstype}", device.display()))?;
        if !can_grow(&world, fstype, mounted_at.is_some()) {
            return Err(Error::failed_precondition(format!("{fstype} can't be grown this way")));
        }
        let size = world.disk(device)?.size;
        world.superblock(device, fstype.name())?.bytes = size;
        Ok(())
    }

    fn can_grow(&self, fstype: Fstype, mounted: bool) -> bool {
        can_grow(&self.world(), fstype, mounted)
    }

    fn find_image(&self, image: &Path) -> Result<Option<PathBuf>> {
        Ok(self.look("find_image")?.loop_of(image))
    }

    fn attach_image(&self, image: &Path, attach: Attach) -> Result<Outcome<PathBuf>> {
        let mut world = self.act("attach_image", &image.display().to_string())?;
        world.disk(image)?;
        let Some(device) = world.loop_of(image) else {
            let device = PathBuf::from(format!("/dev/loop{}", world.number()));
            world.loops.insert(device.clone(), (image.to_owned(), attach));
            return Ok(Outcome::Done(device));
        };
        match world.loops.get_mut(&device) {
            Some((_, now)) if now.read_only && !attach.read_only => {
                let image = image.display();
                Err(Error::failed_precondition(format!("{image} is attached read-only")))
            }
            now => {
                if let Some((_, now)) = now {
                    now.keep = attach.keep;
                }
                Ok(Outcome::AlreadyDone(device))
            }
        }
    }

    fn detach_image(&self, image: &Path) -> Result<Outcome> {
        let mut world = self.act("detach_image", &image.display().to_string())?;
        let Some(device) = world.loop_of(image) else { return Ok(Outcome::AlreadyDone(())) };
        if world.is_held(&device) {
            let image = image.display();
            return Err(Error::failed_precondition(format!("{image} is mounted")));
        }
        world.loops.remove(&device);
        Ok(Outcome::Done(()))
    }

    fn resize_image(&self, image: &Path, bytes: u64) -> Result<()> {
        let mut world = self.act("resize_image", &format!("{} {bytes}", image.display()))?;
        let disk = world.disk(image)?;
        if bytes < disk.size {
            return Err(Error::out_of_range(format!("{} would lose data", image.display())));
        }
        disk.size = bytes;
        // Whoever looks at a real file sees what a real machine would have done.
        match std::fs::OpenOptions::new().write(true).open(image) {
            Ok(file) => crate::file::set_length(&file, image, bytes),
            Err(_) => Ok(()),
        }
    }
}

fn can_grow(world: &World, fstype: Fstype, mounted: bool) -> bool {
    match fstype {
        Fstype::Ext4 => !(mounted && world.no_growing),
        Fstype::Xfs | Fstype::Btrfs => mounted,
    }
}
