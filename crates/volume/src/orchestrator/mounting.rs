//! Mounting and unmounting: the consumers of a volume, and the way from a driver's source to a
//! verified mount and back.

use super::{Orchestrator, refuse_if_used};
use crate::driver::{Attach, Driver, Source, blocking};
use crate::ledger::{Consumer, Entry, Shown, State};
use crate::name::VolumeName;
use crate::plan::{self, Observed, Resolved, Step, Wanted};
use crate::size::Size;
use crate::volume::{Parameters, Volume};
use error::{Error, Kind, Result};
use host::{Content, Host, Mount, Outcome, failpoint};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a device may take to appear after the back end said that it is attached.
const DEVICE: Duration = Duration::from_secs(60);

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detached {
    /// Unmounted, detached, struck from the ledger.
    Gone,
    /// Unmounted, but somebody else still holds it: detached as soon as they let go.
    Held,
}

/// A volume brought up.
struct Up {
    shown: Mount,
    device: Option<PathBuf>,
}

impl Orchestrator {
    /// Mounts the volume for `consumer` and answers where: a verified mount point, never a bare
    /// directory. The same consumer again changes nothing.
    pub async fn mount(&self, name: &VolumeName, consumer: Consumer) -> Result<PathBuf> {
        self.mount_while(name, consumer, || true).await
    }

    /// As [`mount`](Self::mount), for a caller that may give up meanwhile. Then the work is done all
    /// the same, so that its next call finds it done; but nobody has the ID, so that it lapses if
    /// that call never comes.
    pub async fn mount_while(
        &self,
        name: &VolumeName,
        mut consumer: Consumer,
        is_wanted: impl Fn() -> bool,
    ) -> Result<PathBuf> {
        let _lock = self.driver.lock(name.as_str()).await;
        let target = self.target(name);
        let entry = self.ledger.find(name);
        if let Some(lost) = self.lost(name) {
            return Err(Error::failed_precondition(format!(
                "volume {name} cannot be used: {lost}"
            )));
        }
        self.forget_loss(name);
        if let Some(entry) = entry.as_ref().filter(|entry| entry.state == State::Mounted)
            && self.shows(&target, entry).await?
        {
            consumer.lapse_unless(is_wanted());
            let mut changed = Entry::clone(entry);
            changed.add(consumer);
            if changed.consumers != entry.consumers {
                self.ledger.put(changed)?;
            }
            return Ok(target);
        }
        let volume = self.require_here(name).await?;
        let entry = entry.map_or_else(|| self.new_entry(&volume), |entry| Entry::clone(&entry));
        let consumer = || {
            consumer.lapse_unless(is_wanted());
            consumer
        };
        self.mount_anew(&volume, entry, Some(consumer)).await?;
        Ok(target)
    }

    /// The volume, moved to where this machine reaches it if its driver is told to do that.
    async fn require_here(&self, name: &VolumeName) -> Result<Volume> {
        let volume = self.require(name).await?;
        Ok(self.driver.relocate(&volume).await?.unwrap_or(volume))
    }

    pub(super) fn new_entry(&self, volume: &Volume) -> Entry {
        Entry {
            boot: self.ledger.boot().to_owned(),
            name: volume.name.clone(),
            id: volume.id.clone(),
            state: State::Preparing,
            shown: None,
            consumers: Vec::new(),
            kept: false,
            device: None,
            loss: None,
        }
    }

    pub(super) async fn mount_anew(
        &self,
        volume: &Volume,
        mut entry: Entry,
        consumer: Option<impl FnOnce() -> Consumer>,
    ) -> Result<()> {
        entry.state = State::Preparing;
        if entry.device.is_some() {
            // Attached anew, the device may have another name: what is mounted from here on is
            // known by the volume's own device, not by what was shown before.
            entry.shown = None;
        }
        self.ledger.put(entry.clone())?;
        failpoint::hit("mount.preparing");
        match self.bring_up(volume, entry.kept).await {
            Ok(up) => {
                failpoint::hit("mount.mounted");
                entry.state = State::Mounted;
                entry.shown = Some(Shown::from(&up.shown));
                entry.device = up.device;
                if let Some(consumer) = consumer {
                    entry.add(consumer());
                }
                let (volume, at) = (entry.name.clone(), self.target(&entry.name));
                self.ledger.put(entry)?;
                self.count_mounted();
                tracing::info!(service = %self.service, %volume, at = %at.display(), "mounted");
                Ok(())
            }
            Err(error) => {
                // The user hears why it could not be mounted; what cleaning up met is logged.
                if let Err(left) = self.release(entry, false).await {
                    tracing::warn!(volume = %volume.name, error = %left, "clean-up is not done; it is tried again");
                }
                Err(error)
            }
        }
    }

    /// Whether the kernel still shows at `target` what the ledger says.
    pub(super) async fn shows(&self, target: &Path, entry: &Entry) -> Result<bool> {
        let host = Arc::clone(&self.host);
        let path = target.to_owned();
        let Some(mounted) = blocking(move || host.at(&path)).await? else { return Ok(false) };
        if entry.shown.as_ref() == Some(&Shown::from(&mounted)) {
            return Ok(true);
        }
        Err(Error::failed_precondition(format!(
            "{} shows {} {}, which is not volume {}; unmount it first",
            target.display(),
            mounted.fstype,
            mounted.source,
            entry.name
        )))
    }

    /// Attaches, prepares and mounts: the steps of the plan, one after the other.
    async fn bring_up(&self, volume: &Volume, keep: bool) -> Result<Up> {
        // What is not known of it must not be guessed, least of all what is on its device.
        volume.ensure_sound()?;
        let node = self.driver.node().await?;
        let attach = Attach { node, read_only: false, keep };
        let source = self.driver.attach(&volume.id, &attach).await?.into_inner();
        failpoint::hit("mount.attached");
        let (host, target) = (Arc::clone(&self.host), self.target(&volume.name));
        let volume = self.as_configured(volume);
        let wanted = volume.clone();
        let root = self.mounts.parent().unwrap_or(&self.mounts).to_owned();
        let (up, filesystem) = blocking(move || {
            // Where mounts do not propagate, a container would get a bare directory.
            if host.at(&root)?.is_none_or(|mount| mount.shared.is_none()) {
                host.ensure_shared(&root)?;
            }
            let observed = observe(&*host, &wanted, source, &target)?;
            let wanted = plan::adopted(&wanted, &observed.source);
            let mounted = observed.mounted.clone();
            let mounted = mounted.map(|mount| by_path(&*host, &observed.source, mount));
            let seen = Observed { mounted: mounted.transpose()?, ..observed.clone() };
            let steps = plan::mount(&Wanted { volume: &wanted, target: &target }, &seen)?;
            let (up, covers) = run_all(&*host, observed, &target, steps)?;
            let filesystem = wanted.filesystem.zip(covers);
            Ok((up, filesystem.map(|(filesystem, covers)| filesystem.covering(covers))))
        })
        .await?;
        if let Some(filesystem) = filesystem {
            failpoint::hit("mount.step");
            match is_unrecorded(&volume) {
                false => self.driver.record_filesystem(&volume.id, &filesystem).await?,
                true => {
                    let adopted = Volume { filesystem: Some(filesystem), ..volume };
                    self.driver.adopt(&adopted).await?;
                }
            }
        }
        Ok(up)
    }

    /// A volume that another program made has no parameters of its own: until it is on record, it is
    /// mounted as the configuration says, which is told what that program did.
    fn as_configured(&self, volume: &Volume) -> Volume {
        let mut volume = volume.clone();
        if is_unrecorded(&volume) && volume.origin.is_none() {
            let defaults =
                Parameters { size: None, driver: BTreeMap::new(), ..self.defaults.clone() };
            volume.parameters = volume.parameters.or(&defaults);
            if let (Some(filesystem), Some(fstype)) =
                (&mut volume.filesystem, volume.parameters.fs_type)
            {
                filesystem.fstype = fstype;
            }
        }
        volume
    }

    /// Takes back the mount ID `id`. An unknown one changes nothing; the last one unmounts.
    pub async fn unmount(&self, name: &VolumeName, id: &str) -> Result<Outcome> {
        let _lock = self.driver.lock(name.as_str()).await;
        let Some(entry) = self.ledger.find(name).filter(|entry| entry.has(id)) else {
            return Ok(Outcome::AlreadyDone(()));
        };
        let mut entry = Entry::clone(&entry);
        entry.consumers.retain(|consumer| consumer.id != id);
        if entry.consumers.is_empty() {
            self.release(entry, false).await?;
        } else {
            self.ledger.put(entry)?;
        }
        Ok(Outcome::Done(()))
    }

    /// Takes back every mount ID, if nobody else but these callers uses it: for people.
    pub async fn unmount_all(&self, name: &VolumeName) -> Result<Outcome> {
        let _lock = self.driver.lock(name.as_str()).await;
        match self.ledger.find(name) {
            Some(entry) if entry.state != State::Attached => {
                let users = self.users(&entry).await?;
                if !users.is_empty() {
                    return Err(in_use(name, &users));
                }
                self.release(Entry::clone(&entry), false).await.map(|_| Outcome::Done(()))
            }
            _ => Ok(Outcome::AlreadyDone(())),
        }
    }

    /// Attaches a volume to this machine until [`detach`](Self::detach), mounted or not, and
    /// answers its device; `None` where the driver has nothing to attach.
    pub async fn attach(&self, name: &VolumeName) -> Result<Outcome<Option<PathBuf>>> {
        let _lock = self.driver.lock(name.as_str()).await;
        let volume = self.require_here(name).await?;
        let existing = self.ledger.find(name);
        let mut entry =
            existing.clone().map_or_else(|| self.new_entry(&volume), |entry| Entry::clone(&entry));
        let was_kept = entry.kept;
        entry.kept = true;
        self.ledger.put(entry.clone())?;
        failpoint::hit("attach.recorded");
        let device = match self.attach_device(&volume).await {
            Ok(Some(device)) => device,
            Ok(None) => {
                self.unrecord(name, existing)?;
                return Ok(Outcome::AlreadyDone(None));
            }
            Err(error) => {
                let undone = match existing {
                    Some(_) => self.unrecord(name, existing),
                    // It may be attached all the same: the answer was lost, or no device came.
                    None => self.release(entry, true).await.map(drop),
                };
                if let Err(left) = undone {
                    tracing::warn!(volume = %name, error = %left, "clean-up is not done; it is tried again");
                }
                return Err(error);
            }
        };
        if entry.state != State::Mounted {
            entry.state = State::Attached;
        }
        entry.device = Some(device.clone());
        self.ledger.put(entry)?;
        let answer = Some(device);
        Ok(if was_kept { Outcome::AlreadyDone(answer) } else { Outcome::Done(answer) })
    }

    /// Attaches a volume for good; `None` where the driver has nothing to attach.
    async fn attach_device(&self, volume: &Volume) -> Result<Option<PathBuf>> {
        let node = self.driver.node().await?;
        let attach = Attach { node, read_only: false, keep: true };
        let source = self.driver.attach(&volume.id, &attach).await?.into_inner();
        let Source::Device { candidates, serial } = source else { return Ok(None) };
        let host = Arc::clone(&self.host);
        blocking(move || host.wait_for(&candidates, serial.as_deref(), DEVICE)).await.map(Some)
    }

    /// Puts the ledger's entry back as it was.
    fn unrecord(&self, name: &VolumeName, before: Option<Arc<Entry>>) -> Result<()> {
        match before {
            Some(entry) => self.ledger.put(Entry::clone(&entry)),
            None => self.ledger.strike(name),
        }
    }

    /// Detaches a volume that nobody has mounted; also one that the back end has attached here though
    /// the ledger does not know it, which a reboot leaves.
    pub async fn detach(&self, name: &VolumeName) -> Result<Outcome> {
        let _lock = self.driver.lock(name.as_str()).await;
        let Some(entry) = self.ledger.find(name) else {
            let Some(volume) = self.driver.find(name).await? else {
                return Ok(Outcome::AlreadyDone(()));
            };
            let node = self.driver.node().await?;
            return self.driver.detach(&volume.id, &node).await;
        };
        refuse_if_used(&entry)?;
        match self.release(Entry::clone(&entry), true).await? {
            Detached::Gone => Ok(Outcome::Done(())),
            Detached::Held => Err(self.held(&entry).await),
        }
    }

    /// Unmounts and detaches a volume that is no longer wanted here; `let_go` also one that was
    /// attached by hand. Busy → an error, and it is tried again by the next sweep.
    pub(super) async fn release(&self, mut entry: Entry, let_go: bool) -> Result<Detached> {
        let users = match entry.device {
            // A block device: the kernel knows whether a file system is held, anywhere.
            Some(_) => Vec::new(),
            None => self.users(&entry).await?,
        };
        entry.consumers.clear();
        entry.kept = entry.kept && !let_go;
        entry.state = State::Releasing;
        match self.ledger.put(entry.clone()) {
            // Giving back must not need space: without this note a crash in between only means
            // that the next start finds the volume unmounted, and lets go of it then.
            Err(error) if error.kind() == Kind::ResourceExhausted => {
                tracing::warn!(volume = %entry.name, %error, "released without a note of it");
            }
            put => put?,
        }
        failpoint::hit("release.recorded");
        let unmounted = self.take_down(&entry).await;
        self.count_mounted();
        unmounted?;
        failpoint::hit("release.unmounted");
        if entry.kept {
            entry.state = State::Attached;
            entry.loss = None;
            self.forget_loss(&entry.name);
            self.ledger.put(entry)?;
            return Ok(Detached::Gone);
        }
        let node = self.driver.node().await?;
        match self.driver.detach(&entry.id, &node).await {
            Ok(_) if users.is_empty() => {
                failpoint::hit("release.detached");
                self.ledger.strike(&entry.name)?;
                self.forget_loss(&entry.name);
                tracing::info!(service = %self.service, volume = %entry.name, "unmounted");
                Ok(Detached::Gone)
            }
            Ok(_) => Ok(Detached::Held),
            Err(error) if error.kind() == Kind::FailedPrecondition => {
                tracing::info!(volume = %entry.name, reason = %error, "stays attached for now");
                Ok(Detached::Held)
            }
            Err(error) => Err(error),
        }
    }

    /// Unmounts the volume. What is mounted there by others is none of ours, and stays.
    async fn take_down(&self, entry: &Entry) -> Result<()> {
        let (host, target) = (Arc::clone(&self.host), self.target(&entry.name));
        let shown = entry.shown.clone();
        let doubtful = blocking(move || match host.at(&target)? {
            Some(mount) if shown != Some(Shown::from(&mount)) => Ok(Some(mount)),
            // Also when nothing is mounted: an empty mount point may be left.
            _ => host.unmount(&target).map(|_| None),
        });
        let Some(mount) = doubtful.await? else { return Ok(()) };
        let (source, target) = (mount.source.clone(), self.target(&entry.name));
        if !self.is_ours(entry, mount).await? {
            let at = target.display();
            tracing::warn!(volume = %entry.name, %source, %at, "left alone: not this volume");
            return Ok(());
        }
        let host = Arc::clone(&self.host);
        blocking(move || host.unmount(&target)).await.map(drop)
    }

    /// Whether `mount` is what was made for `entry`, or would have been, had it not been killed.
    pub(super) async fn is_ours(&self, entry: &Entry, mount: Mount) -> Result<bool> {
        if entry.shown.is_some() {
            // It was compared with what was recorded.
            return Ok(false);
        }
        let Some(volume) = self.driver.find(&entry.name).await? else { return Ok(false) };
        volume.ensure_sound()?;
        let node = self.driver.node().await?;
        let attach = Attach { node, read_only: false, keep: entry.kept };
        let source = self.driver.attach(&volume.id, &attach).await?.into_inner();
        let (host, target) = (Arc::clone(&self.host), self.target(&entry.name));
        blocking(move || {
            let observed = observe(&*host, &volume, source, &target)?;
            let volume = plan::adopted(&volume, &observed.source);
            let mount = by_path(&*host, &observed.source, mount)?;
            Ok(plan::is_volume(&volume, &observed.source, &mount))
        })
        .await
    }

    /// Who else uses what the ledger says is mounted.
    pub(super) async fn users(&self, entry: &Entry) -> Result<Vec<host::User>> {
        let Some(shown) = entry.shown.clone() else { return Ok(Vec::new()) };
        let (host, target) = (Arc::clone(&self.host), self.target(&entry.name));
        blocking(move || {
            let current = host.at(&target)?;
            host.other_users(&current.unwrap_or_else(|| remembered(shown, target))).map(Ok)?
        })
        .await
    }

    pub(super) async fn held(&self, entry: &Entry) -> Error {
        let users = self.users(entry).await.unwrap_or_default();
        if users.is_empty() {
            return Error::failed_precondition(format!(
                "volume {} is still held by a mount that no process shows; end what holds it and \
                 try again",
                entry.name
            ));
        }
        in_use(&entry.name, &users)
    }
}

fn is_unrecorded(volume: &Volume) -> bool {
    volume.filesystem.as_ref().is_some_and(|filesystem| filesystem.unrecorded)
}

fn in_use(name: &VolumeName, users: &[host::User]) -> Error {
    let shown = |user: &host::User| {
        format!("{} (pid {}) at {}", user.command, user.pid, user.target.display())
    };
    let names: Vec<_> = users.iter().take(5).map(shown).collect();
    Error::failed_precondition(format!(
        "volume {name} is still used by {}; stop it and try again",
        names.join(", ")
    ))
}

/// A mount that is no longer there, as far as it was recorded.
fn remembered(shown: Shown, target: PathBuf) -> Mount {
    Mount {
        id: 0,
        parent: 0,
        device: shown.device,
        root: shown.root,
        target,
        fstype: shown.fstype,
        source: shown.source,
        options: String::new(),
        super_options: String::new(),
        shared: None,
        master: None,
        unbindable: false,
    }
}

fn observe(host: &dyn Host, volume: &Volume, source: Source, target: &Path) -> Result<Observed> {
    let source = match source {
        Source::Device { candidates, serial } => {
            let path = host.wait_for(&candidates, serial.as_deref(), DEVICE)?;
            let content = content(host, volume, &path)?;
            Resolved::Device { size: Size(host.size(&path)?), path, content }
        }
        Source::Directory(path) => Resolved::Directory(path),
        Source::Network { fstype, source, options } => {
            Resolved::Network { fstype, source, options }
        }
    };
    let grown = volume.filesystem.as_ref().and_then(|filesystem| filesystem.covers);
    let is_held = match (&source, grown) {
        (Resolved::Device { path, size, .. }, Some(covers)) if covers < *size => {
            host.is_held(path)?
        }
        _ => false,
    };
    Ok(Observed { source, mounted: host.at(target)?, is_held })
}

/// The mount with its root as a path of this mount namespace, where it shows the source directory or
/// something below it. The kernel tells it from the root of the file system, which in a container
/// need not be the path at which that directory is seen.
fn by_path(host: &dyn Host, source: &Resolved, mut mount: Mount) -> Result<Mount> {
    let Resolved::Directory(path) = source else { return Ok(mount) };
    let table = host.table()?;
    // The last of those at one place is the one that is seen.
    let around = table.iter().filter(|known| path.starts_with(&known.target));
    let Some(around) = around.max_by_key(|known| known.target.components().count()) else {
        return Ok(mount);
    };
    let below = path.strip_prefix(&around.target).unwrap_or(path);
    if around.device == mount.device
        && let Ok(rest) = mount.root.strip_prefix(around.root.join(below))
    {
        mount.root = path.join(rest);
    }
    Ok(mount)
}

/// What is on the device. One that was formatted and shows the volume's own UUID is this volume:
/// then its superblock says all there is to know, and nothing else needs to be read.
fn content(host: &dyn Host, volume: &Volume, device: &Path) -> Result<Content> {
    let known = volume.filesystem.as_ref().filter(|filesystem| filesystem.covers.is_some());
    if let Some(filesystem) = known
        && let Some(found) = host.superblock(device, filesystem.fstype)?
        && found.uuid == filesystem.uuid
    {
        return Ok(Content::Filesystem(found));
    }
    host.probe(device)
}

/// Runs the steps on this machine; answers what is mounted then, and what the driver is to record.
fn run_all(
    host: &dyn Host,
    observed: Observed,
    target: &Path,
    steps: Vec<Step>,
) -> Result<(Up, Option<Size>)> {
    let device = match observed.source {
        Resolved::Device { path, .. } => Some(path),
        Resolved::Directory(_) | Resolved::Network { .. } => None,
    };
    let (mut mounted, mut covers) = (observed.mounted, None);
    for step in steps {
        failpoint::hit("mount.step");
        if let Step::Record(size) = step {
            covers = Some(size);
            continue;
        }
        let device = device.as_deref().unwrap_or(Path::new(""));
        mounted = run(host, device, target, step)?.or(mounted);
    }
    let shown = mounted.ok_or_else(|| Error::internal("the plan ended without a mount"))?;
    Ok((Up { shown, device }, covers))
}

/// Runs one step; answers the mount it made, if any.
fn run(host: &dyn Host, device: &Path, target: &Path, step: Step) -> Result<Option<Mount>> {
    match step {
        Step::Format(format) => host.format(device, &format)?,
        Step::Check(fstype) => host.check(device, fstype)?,
        Step::SetUuid(fstype, uuid) => {
            host.set_uuid(device, fstype, uuid)?;
        }
        Step::GrowUnmounted(fstype) => host.grow(device, fstype, None)?,
        Step::GrowMounted(fstype) => host.grow(device, fstype, Some(target))?,
        Step::Unmount => {
            host.unmount(target)?;
        }
        Step::Mount(request) => return host.mount(&request).map(Some),
        Step::Record(_) => {}
    }
    Ok(None)
}
