//! [`Mounts`] of the machine in memory.

use super::Fake;
use crate::{Mount, MountRequest, Mounts, Outcome, Usage, User, What};
use error::{Error, Result};
use std::path::{Path, PathBuf};

impl Mounts for Fake {
    fn table(&self) -> Result<Vec<Mount>> {
        Ok(self.look("table")?.table.clone())
    }

    fn at(&self, target: &Path) -> Result<Option<Mount>> {
        Ok(self.look("at")?.at(target).cloned())
    }

    fn mount(&self, request: &MountRequest) -> Result<Mount> {
        let what = match &request.what {
            What::Device { device, .. } => device.display().to_string(),
            What::Directory(directory) => directory.display().to_string(),
            What::Network { source, .. } => source.clone(),
        };
        let mut world = self.act("mount", &format!("{what} {}", request.target.display()))?;
        if let Some(mount) = world.at(&request.target) {
            return Err(Error::failed_precondition(format!(
                "{} is already mounted at {}; unmount it first",
                mount.source,
                request.target.display()
            )));
        }
        let (fstype, source, device, root) = world.origin(&request.what)?;
        let (id, flag) = (world.number(), if request.read_only { "ro" } else { "rw" });
        let options: Vec<_> =
            [flag].into_iter().chain(request.options.iter().map(String::as_str)).collect();
        let mount = Mount {
            id,
            parent: 1,
            device,
            root: request.subpath.as_ref().map_or(root.clone(), |part| root.join(part)),
            target: request.target.clone(),
            fstype,
            source,
            options: options.join(","),
            super_options: flag.to_owned(),
            shared: None,
            master: None,
            unbindable: false,
        };
        world.table.push(mount.clone());
        Ok(mount)
    }

    fn check_options(&self, _fstype: Option<&str>, _options: &[String]) -> Result<()> {
        self.look("check_options").map(drop)
    }

    fn unmount(&self, target: &Path) -> Result<Outcome> {
        let mut world = self.act("unmount", &target.display().to_string())?;
        let Some(at) = world.table.iter().rposition(|mount| mount.target == target) else {
            return Ok(Outcome::AlreadyDone(()));
        };
        let below = |mount: &Mount| mount.target != target && mount.target.starts_with(target);
        if world.table.iter().any(below) {
            let target = target.display();
            return Err(Error::failed_precondition(format!(
                "{target} is in use by a mount below it"
            )));
        }
        world.table.remove(at);
        Ok(Outcome::Done(()))
    }

    fn ensure_shared(&self, dir: &Path) -> Result<Outcome> {
        let mut world = self.act("ensure_shared", &dir.display().to_string())?;
        if world.at(dir).is_some_and(|mount| mount.shared.is_some()) {
            return Ok(Outcome::AlreadyDone(()));
        }
        let (id, group) = (world.number(), world.number());
        let (fstype, source, device, root) = world.directory(dir);
        world.table.push(Mount {
            id,
            parent: 1,
            device,
            root,
            target: dir.to_owned(),
            fstype,
            source,
            options: "rw".to_owned(),
            super_options: "rw".to_owned(),
            shared: Some(group),
            master: None,
            unbindable: false,
        });
        Ok(Outcome::Done(()))
    }

    fn other_users(&self, mount: &Mount) -> Result<Vec<User>> {
        let world = self.look("other_users")?;
        let elsewhere = world.table.iter().filter(|other| {
            other.device == mount.device
                && other.root.starts_with(&mount.root)
                && other.target != mount.target
        });
        let own = elsewhere.map(|other| User {
            pid: 1,
            command: "self".to_owned(),
            target: other.target.clone(),
        });
        let known = |source: &str| source == mount.source || Path::new(source) == mount.root;
        let scripted = world.users.iter().filter(|(source, _)| known(source));
        Ok(own.chain(scripted.map(|(_, user)| user.clone())).collect())
    }

    fn freeze(&self, target: &Path) -> Result<Box<dyn Send>> {
        let mut world = self.act("freeze", &target.display().to_string())?;
        if world.at(target).is_none() || !world.frozen.insert(target.to_owned()) {
            return Err(Error::failed_precondition(format!(
                "{} is not mounted or frozen already",
                target.display()
            )));
        }
        Ok(Box::new(Frozen(self.clone(), target.to_owned())))
    }

    fn thaw(&self, target: &Path) -> Result<Outcome> {
        let mut world = self.act("thaw", &target.display().to_string())?;
        Ok(match world.frozen.remove(target) {
            true => Outcome::Done(()),
            false => Outcome::AlreadyDone(()),
        })
    }

    fn shut_down(&self, target: &Path) -> Result<()> {
        drop(self.act("shut_down", &target.display().to_string())?);
        Ok(())
    }

    fn usage(&self, target: &Path) -> Result<Usage> {
        let mut world = self.look("usage")?;
        let source = world.at(target).map(|mount| mount.source.clone()).ok_or_else(|| {
            Error::failed_precondition(format!("nothing is mounted at {}", target.display()))
        })?;
        let total = world.disk(Path::new(&source)).map_or(1 << 30, |disk| disk.size);
        Ok(Usage { total, available: total / 2 })
    }
}

/// Thaws when dropped.
struct Frozen(Fake, PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.world().frozen.remove(&self.1);
    }
}
