//! A machine in memory, for tests of plans and orchestration: the rules of the contracts without
//! their data. Directories need not exist; of files, only an image's length is ever changed.
//!
//! Every call that changes something is logged (`format /dev/vdb ext4`), also when it fails; any
//! call can be told to fail, and those that are logged to hang. Clones are the same machine.

mod disks;
mod mounts;

use crate::{Attach, Content, Mount, Superblock, User, What};
use error::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

/// A machine that exists only in memory.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    /// Block devices and images, by path.
    disks: BTreeMap<PathBuf, Disk>,
    /// Loop devices: the image of each, and how it is attached.
    loops: BTreeMap<PathBuf, (PathBuf, Attach)>,
    table: Vec<Mount>,
    /// Uses by others, and the source of what they use.
    users: Vec<(String, User)>,
    frozen: BTreeSet<PathBuf>,
    failures: Vec<(String, Kind, String)>,
    hangs: Vec<(String, mpsc::Receiver<()>)>,
    calls: Vec<String>,
    next: u64,
    no_growing: bool,
}

struct Disk {
    size: u64,
    content: Content,
    serial: Option<String>,
    held: bool,
}

impl Fake {
    /// Adds a block device (or an image) of `size` bytes.
    #[must_use]
    pub fn with_device(self, path: impl Into<PathBuf>, size: u64, content: Content) -> Self {
        let disk = Disk { size, content, serial: None, held: false };
        self.world().disks.insert(path.into(), disk);
        self
    }

    /// Gives a device that was added its serial.
    #[must_use]
    pub fn with_serial(self, path: impl AsRef<Path>, serial: &str) -> Self {
        if let Some(disk) = self.world().disks.get_mut(path.as_ref()) {
            disk.serial = Some(serial.to_owned());
        }
        self
    }

    /// Takes away a device or an image, as if it had been pulled out.
    pub fn remove_device(&self, path: impl AsRef<Path>) {
        self.world().disks.remove(path.as_ref());
    }

    /// Lets somebody in another mount namespace hold the device, or lets go of it.
    pub fn hold(&self, device: impl AsRef<Path>, held: bool) {
        if let Some(disk) = self.world().disks.get_mut(device.as_ref()) {
            disk.held = held;
        }
    }

    /// Lets process `pid` use what is mounted from `source` (a device, a directory) at `target`.
    pub fn other_user(&self, source: &str, pid: i32, target: impl Into<PathBuf>) {
        let user = User { pid, command: "other".to_owned(), target: target.into() };
        self.world().users.push((source.to_owned(), user));
    }

    /// Forgets the users of `source`.
    pub fn no_other_user(&self, source: &str) {
        self.world().users.retain(|(used, _)| used != source);
    }

    /// Makes this machine one that can't grow a mounted ext4.
    pub fn without_online_growing(&self) {
        self.world().no_growing = true;
    }

    /// Lets the next call of the method `call` fail, without any effect.
    pub fn fail_next(&self, call: &str, kind: Kind, message: &str) {
        self.world().failures.push((call.to_owned(), kind, message.to_owned()));
    }

    /// Lets the next call of the method `call`, one that is logged, hang until what is answered is
    /// dropped.
    #[must_use]
    pub fn hang_next(&self, call: &str) -> mpsc::Sender<()> {
        let (hangs, released) = mpsc::channel();
        self.world().hangs.push((call.to_owned(), released));
        hangs
    }

    /// Forgets the failures that no call has met yet.
    pub fn fail_no_more(&self) {
        self.world().failures.clear();
    }

    /// The calls that wanted to change something, in order: method and arguments.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.world().calls.clone()
    }

    /// As [`calls`](Self::calls), and begins a new log.
    #[must_use]
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.world().calls)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world, unless this call is to fail.
    fn look(&self, call: &str) -> Result<MutexGuard<'_, World>> {
        let mut world = self.world();
        match world.failures.iter().position(|(name, ..)| name == call) {
            None => Ok(world),
            Some(at) => {
                let (_, kind, message) = world.failures.remove(at);
                Err(Error::new(kind, message))
            }
        }
    }

    /// As [`look`](Self::look), and logs the call.
    fn act(&self, call: &str, arguments: &str) -> Result<MutexGuard<'_, World>> {
        let hangs = {
            let mut world = self.world();
            world.calls.push(format!("{call} {arguments}"));
            let at = world.hangs.iter().position(|(name, _)| name == call);
            at.map(|at| world.hangs.remove(at))
        };
        if let Some((_, released)) = hangs {
            let _ = released.recv();
        }
        self.look(call)
    }
}

impl World {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The path of the disk that `device` is: of the image, for its loop device.
    fn disk_path<'a>(&'a self, device: &'a Path) -> &'a Path {
        self.loops.get(device).map_or(device, |(image, _)| image)
    }

    fn disk(&mut self, device: &Path) -> Result<&mut Disk> {
        let path = self.disk_path(device).to_owned();
        // An image is known from its first use on.
        if !path.starts_with("/dev") && !self.disks.contains_key(&path) {
            let size = std::fs::metadata(&path).map_or(0, |found| found.len());
            let blank = Disk { size, content: Content::Blank, serial: None, held: false };
            self.disks.insert(path.clone(), blank);
        }
        self.disks
            .get_mut(&path)
            .ok_or_else(|| Error::not_found(format!("device {} does not exist", device.display())))
    }

    fn loop_of(&self, image: &Path) -> Option<PathBuf> {
        let mut loops = self.loops.iter();
        loops.find(|(_, (attached, _))| attached == image).map(|(device, _)| device.clone())
    }

    fn at(&self, target: &Path) -> Option<&Mount> {
        self.table.iter().rev().find(|mount| mount.target == target)
    }

    fn is_held(&self, device: &Path) -> bool {
        let disk = self.disk_path(device);
        self.disks.get(disk).is_some_and(|disk| disk.held)
            || self.table.iter().any(|mount| self.disk_path(Path::new(&mount.source)) == disk)
    }

    fn superblock(&mut self, device: &Path, fstype: &str) -> Result<&mut Superblock> {
        let content = &mut self.disk(device)?.content;
        let held = content.to_string();
        match content {
            Content::Filesystem(found) if found.fstype.name() == fstype => Ok(found),
            _ => Err(Error::failed_precondition(format!(
                "{} holds {held} instead of {fstype}",
                device.display()
            ))),
        }
    }

    /// Type, source, file system and directory in it of what shall be mounted.
    fn origin(&mut self, what: &What) -> Result<(String, String, String, PathBuf)> {
        match what {
            What::Device { device, fstype } => {
                self.superblock(device, fstype)?;
                let source = device.display().to_string();
                Ok((fstype.clone(), source.clone(), self.device_of(&source), "/".into()))
            }
            What::Network { fstype, source } => {
                Ok((fstype.clone(), source.clone(), self.device_of(source), "/".into()))
            }
            What::Directory(directory) => Ok(self.directory(directory)),
        }
    }

    fn directory(&self, directory: &Path) -> (String, String, String, PathBuf) {
        let below = self.table.iter().filter(|mount| directory.starts_with(&mount.target));
        match below.max_by_key(|mount| mount.target.as_os_str().len()) {
            None => ("ext4".into(), "/dev/root".into(), "8:1".into(), directory.to_owned()),
            Some(mount) => {
                let rest = directory.strip_prefix(&mount.target).unwrap_or(Path::new(""));
                let root = mount.root.join(rest).components().collect();
                (mount.fstype.clone(), mount.source.clone(), mount.device.clone(), root)
            }
        }
    }

    /// One number per file system: mounted twice, it is the same one.
    fn device_of(&mut self, source: &str) -> String {
        let known = self.table.iter().find(|mount| mount.source == source && source != "tmpfs");
        match known {
            Some(mount) => mount.device.clone(),
            None => format!("0:{}", self.number() + 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disks, Format, Fstype, MountRequest, Mounts, Outcome, Ownership};
    use uuid::Uuid;

    fn format() -> Format {
        Format { fstype: Fstype::Ext4, uuid: Uuid::nil(), options: Vec::new() }
    }

    fn request(device: &Path, target: &str) -> MountRequest {
        MountRequest {
            what: What::Device { device: device.to_owned(), fstype: "ext4".to_owned() },
            target: target.into(),
            options: Vec::new(),
            read_only: false,
            subpath: None,
            ownership: Ownership::default(),
            drop_empty: Vec::new(),
        }
    }

    #[test]
    fn an_image_is_attached_once_formatted_and_mounted() {
        let fake = Fake::default();
        let image = Path::new("/images/a");
        fake.resize_image(image, 1 << 30).expect("resized");
        let device = fake.attach_image(image, Attach::default()).expect("attached").into_inner();
        let again = fake.attach_image(image, Attach::default()).expect("attached");
        assert_eq!(again, Outcome::AlreadyDone(device.clone()));
        fake.format(&device, &format()).expect("formatted");
        assert_eq!(fake.probe(image).expect("known"), fake.probe(&device).expect("known"));
        let error = fake.format(image, &format()).expect_err("not blank");
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        fake.mount(&request(&device, "/mnt")).expect("mounted");
        assert!(fake.is_held(image).expect("known"));
        fake.detach_image(image).expect_err("mounted");
        assert!(fake.unmount(Path::new("/mnt")).expect("unmounted").is_done());
        assert!(!fake.unmount(Path::new("/mnt")).expect("unmounted").is_done());
        assert!(fake.detach_image(image).expect("detached").is_done());
        assert_eq!(
            fake.calls()[..2],
            ["resize_image /images/a 1073741824", "attach_image /images/a"]
        );
    }

    #[test]
    fn a_scripted_failure_happens_once_and_changes_nothing() {
        let fake = Fake::default().with_device("/dev/vdb", 1 << 30, Content::Blank);
        fake.fail_next("format", Kind::Unavailable, "later");
        let error = fake.format(Path::new("/dev/vdb"), &format()).expect_err("scripted");
        assert_eq!((error.kind(), error.message()), (Kind::Unavailable, "later"));
        assert_eq!(fake.probe(Path::new("/dev/vdb")).expect("known"), Content::Blank);
        fake.format(Path::new("/dev/vdb"), &format()).expect("formatted");
        assert_eq!(fake.take_calls(), ["format /dev/vdb ext4", "format /dev/vdb ext4"]);
        assert!(fake.calls().is_empty());
    }

    #[test]
    fn a_missing_device_can_not_be_mounted() {
        let error = Fake::default().mount(&request(Path::new("/dev/vdz"), "/mnt"));
        assert_eq!(error.expect_err("missing").kind(), Kind::NotFound);
    }

    #[test]
    fn a_bind_mount_of_a_volume_is_another_use_of_it() {
        let fake = Fake::default().with_device("/dev/vdb", 1 << 30, Content::Blank);
        fake.format(Path::new("/dev/vdb"), &format()).expect("formatted");
        let mount = fake.mount(&request(Path::new("/dev/vdb"), "/mnt")).expect("mounted");
        let mut bind = request(Path::new(""), "/bound");
        bind.what = What::Directory("/mnt/sub".into());
        assert_eq!(fake.mount(&bind).expect("bound").root, Path::new("/sub"));
        fake.other_user("/dev/vdb", 42, "/elsewhere");
        let users = fake.other_users(&mount).expect("known");
        let targets: Vec<_> = users.iter().map(|user| user.target.display().to_string()).collect();
        assert_eq!(targets, ["/bound", "/elsewhere"]);
    }
}
