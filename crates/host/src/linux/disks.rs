//! [`Disks`](crate::Disks) over loop devices, libblkid and the file systems' own tools.

use super::Linux;
use crate::{Attach, Content, Disks, Format, Fstype, Outcome, Superblock, device, filesystem};
use error::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

impl Disks for Linux {
    fn wait_for(
        &self,
        candidates: &[PathBuf],
        serial: Option<&str>,
        timeout: Duration,
    ) -> Result<PathBuf> {
        device::wait_for(candidates, serial, timeout)
    }

    fn size(&self, device: &Path) -> Result<u64> {
        device::size(device)
    }

    fn probe(&self, device: &Path) -> Result<Content> {
        self.reach(device, filesystem::probe)
    }

    fn superblock(&self, device: &Path, fstype: Fstype) -> Result<Option<Superblock>> {
        self.reach(device, |device| filesystem::superblock(device, fstype))
    }

    fn is_held(&self, device: &Path) -> Result<bool> {
        self.reach(device, device::is_held)
    }

    fn format(&self, device: &Path, format: &Format) -> Result<()> {
        self.reach(device, |device| filesystem::format(device, format))
    }

    fn rehearse(&self, format: &Format, size: u64) -> Result<()> {
        filesystem::rehearse(format, size)
    }

    fn check(&self, device: &Path, fstype: Fstype) -> Result<()> {
        self.on_block_device(device, |device| filesystem::check(device, fstype))
    }

    fn set_uuid(&self, device: &Path, fstype: Fstype, uuid: Uuid) -> Result<Outcome> {
        self.on_block_device(device, |device| filesystem::set_uuid(device, fstype, uuid))
    }

    fn grow(&self, device: &Path, fstype: Fstype, mounted_at: Option<&Path>) -> Result<()> {
        self.on_block_device(device, |device| filesystem::grow(device, fstype, mounted_at))
    }

    fn can_grow(&self, fstype: Fstype, mounted: bool) -> bool {
        filesystem::can_grow(fstype, mounted)
    }

    fn find_image(&self, image: &Path) -> Result<Option<PathBuf>> {
        self.images.find(image)
    }

    fn attach_image(&self, image: &Path, attach: Attach) -> Result<Outcome<PathBuf>> {
        self.images.attach(image, attach)
    }

    fn detach_image(&self, image: &Path) -> Result<Outcome> {
        self.images.detach(image)
    }

    fn resize_image(&self, image: &Path, bytes: u64) -> Result<()> {
        self.images.resize(image, bytes)
    }
}

impl Linux {
    /// Runs `work` where to read what `device` holds: an attached image is read through its loop
    /// device, which may hold writes that have not reached the file.
    fn reach<T>(&self, device: &Path, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let attached = if device.is_file() { self.images.open(device)? } else { None };
        work(attached.as_ref().map_or(device, |attached| attached.path.as_path()))
    }

    /// Runs `work` on the block device, or on the loop device of an image: attached for this if need
    /// be, and then detached again whatever came of it.
    fn on_block_device<T>(
        &self,
        device: &Path,
        work: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<T> {
        if !device.is_file() {
            return work(device);
        }
        if let Some(attached) = self.images.open(device)? {
            return work(&attached.path);
        }
        let attached = self.images.attach(device, Attach::default())?;
        let worked = self.reach(device, work);
        if attached.is_done() {
            let detached = self.images.detach(device);
            return worked.and_then(|value| detached.map(|_| value));
        }
        worked
    }
}
