//! The machine in memory, except that disk images are real files with real file systems in them, so
//! that a driver may rename and copy them. Needs the mkfs tools and no privilege.

use error::Result;
use host::fake::Fake;
use host::linux::Linux;
use host::{
    Attach, Content, Disks, Format, Fstype, Mount, MountRequest, Mounts, Outcome, Usage, User, What,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// A machine in memory whose images are files.
#[derive(Default)]
pub struct Images {
    fake: Fake,
    files: Linux,
    /// The image of each loop device there was.
    loops: Mutex<BTreeMap<PathBuf, PathBuf>>,
}

impl Images {
    fn image(&self, device: &Path) -> PathBuf {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.get(device).cloned().unwrap_or_else(|| device.to_owned())
    }

    /// Tells the machine in memory what is really in the image.
    fn learn(&self, device: &Path) -> Result<()> {
        let image = self.image(device);
        if image.is_file() {
            let (bytes, content) = (host::file::length(&image)?, self.files.probe(&image)?);
            drop(self.fake.clone().with_device(image, bytes, content));
        }
        Ok(())
    }
}

impl Mounts for Images {
    fn table(&self) -> Result<Vec<Mount>> {
        self.fake.table()
    }

    fn at(&self, target: &Path) -> Result<Option<Mount>> {
        self.fake.at(target)
    }

    fn mount(&self, request: &MountRequest) -> Result<Mount> {
        if let What::Device { device, .. } = &request.what {
            self.learn(device)?;
        }
        self.fake.mount(request)
    }

    fn check_options(&self, fstype: Option<&str>, options: &[String]) -> Result<()> {
        self.fake.check_options(fstype, options)
    }

    fn unmount(&self, target: &Path) -> Result<Outcome> {
        self.fake.unmount(target)
    }

    fn ensure_shared(&self, dir: &Path) -> Result<Outcome> {
        self.fake.ensure_shared(dir)
    }

    fn other_users(&self, mount: &Mount) -> Result<Vec<User>> {
        self.fake.other_users(mount)
    }

    fn freeze(&self, target: &Path) -> Result<Box<dyn Send>> {
        self.fake.freeze(target)
    }

    fn thaw(&self, target: &Path) -> Result<Outcome> {
        self.fake.thaw(target)
    }

    fn shut_down(&self, target: &Path) -> Result<()> {
        self.fake.shut_down(target)
    }

    fn usage(&self, target: &Path) -> Result<Usage> {
        self.fake.usage(target)
    }
}

impl Disks for Images {
    fn wait_for(
        &self,
        candidates: &[PathBuf],
        serial: Option<&str>,
        timeout: Duration,
    ) -> Result<PathBuf> {
        let attached = candidates.iter().find(|path| self.image(path) != **path);
        attached.cloned().map_or_else(|| self.fake.wait_for(candidates, serial, timeout), Ok)
    }

    fn size(&self, device: &Path) -> Result<u64> {
        self.learn(device)?;
        self.fake.size(device)
    }

    fn probe(&self, device: &Path) -> Result<Content> {
        self.learn(device)?;
        self.fake.probe(device)
    }

    fn superblock(&self, device: &Path, fstype: Fstype) -> Result<Option<host::Superblock>> {
        self.learn(device)?;
        self.fake.superblock(device, fstype)
    }

    fn is_held(&self, device: &Path) -> Result<bool> {
        self.fake.is_held(device)
    }

    fn format(&self, device: &Path, format: &Format) -> Result<()> {
        self.files.format(&self.image(device), format)
    }

    fn rehearse(&self, format: &Format, size: u64) -> Result<()> {
        self.fake.rehearse(format, size)
    }

    fn check(&self, device: &Path, fstype: Fstype) -> Result<()> {
        self.fake.check(device, fstype)
    }

    fn set_uuid(&self, device: &Path, fstype: Fstype, uuid: Uuid) -> Result<Outcome> {
        self.fake.set_uuid(device, fstype, uuid)
    }

    fn grow(&self, device: &Path, fstype: Fstype, mounted_at: Option<&Path>) -> Result<()> {
        self.fake.grow(device, fstype, mounted_at)
    }

    fn can_grow(&self, fstype: Fstype, mounted: bool) -> bool {
        self.fake.can_grow(fstype, mounted)
    }

    fn find_image(&self, image: &Path) -> Result<Option<PathBuf>> {
        self.fake.find_image(image)
    }

    fn attach_image(&self, image: &Path, attach: Attach) -> Result<Outcome<PathBuf>> {
        self.learn(image)?;
        let device = self.fake.attach_image(image, attach)?;
        let path = device.clone().into_inner();
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.insert(path, image.to_owned());
        Ok(device)
    }

    fn detach_image(&self, image: &Path) -> Result<Outcome> {
        self.fake.detach_image(image)
    }

    fn resize_image(&self, image: &Path, bytes: u64) -> Result<()> {
        self.learn(image)?;
        self.fake.resize_image(image, bytes)
    }
}
