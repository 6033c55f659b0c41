//! Who has which volume of which plugin mounted, by the caller's mount ID. Kept in one file per
//! plugin below `/run`, with the boot ID; written before a mount is acknowledged.
//!
//! An ID whose caller died without unmounting counts for as long as the kernel shows that somebody
//! still uses the mount, and no longer. Nothing here mounts or unmounts.

mod calls;
mod kernel;

#[cfg(test)]
mod tests;

pub(crate) use calls::Calls;

use crate::bridge::Answer;
use crate::id::PluginId;
use error::Result;
use host::file::Durability;
use host::process::Identity;
use host::record::{self, Read};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The mount ID that Podman gives for every container of every machine: it is given back by whoever
/// stops last, not by the process that asked.
const PODMAN_ID: &str = "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2";
/// The ID of a mount that is in use though nobody is known to have asked for it.
const FOUND: &str = "found";
/// How long an ID counts at least: the container of a caller that was killed may be about to mount.
const GRACE_SECONDS: i64 = 30;

/// One mount of a volume by somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The volume.
    pub volume: String,
    /// The caller's ID of the mount.
    pub id: String,
    /// The host path that it got.
    pub mountpoint: PathBuf,
    /// Since when.
    pub since: Timestamp,
    /// The calling process, where it is known.
    pub caller: Option<Identity>,
}

/// The mounts of all plugins. Clones share them.
#[derive(Debug, Clone)]
pub struct Ledger {
    dir: PathBuf,
    boot: String,
    pages: Arc<Mutex<BTreeMap<PluginId, Page>>>,
    /// Mounts and unmounts under way.
    pub(crate) calls: Calls<Answer>,
}

/// What one plugin's file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    boot: String,
    /// The plugin itself: its own mount namespace is no user of its mounts.
    process: Option<Identity>,
    holders: Vec<Holder>,
}

impl Ledger {
    /// Opens the ledger in `dir`; entries of another boot are gone. A damaged file is set aside with
    /// a warning; [`rediscover`](Self::rediscover) finds again what it was about.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_in(dir, host::process::boot_id()?)
    }

    fn open_in(dir: &Path, boot: String) -> Result<Self> {
        host::file::make_dir(dir, 0o700)?;
        let mut pages = BTreeMap::new();
        for path in record::list(dir)? {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let Ok(plugin) = PluginId::parse(stem) else { continue };
            match record::read::<Page>(&path)? {
                Read::Fine(page) if page.boot == boot => {
                    pages.insert(plugin, page);
                }
                Read::Fine(_) => record::remove(&path)?,
                Read::Missing => {}
                Read::Unusable(error) => {
                    let kept = record::set_aside(&path)?;
                    tracing::warn!(%error, kept = %kept.display(), "damaged ledger set aside");
                }
            }
        }
        let pages = Arc::new(Mutex::new(pages));
        Ok(Self { dir: dir.to_owned(), boot, pages, calls: Calls::default() })
    }

    /// Notes a mount; the same volume and ID again changes nothing but the caller, who is then the
    /// one that counts (dockerd keeps its IDs when it is started again).
    pub fn add(&self, plugin: &PluginId, holder: Holder) -> Result<()> {
        self.change(plugin, |page| {
            match page.holders.iter_mut().find(|known| known.is(&holder.volume, &holder.id)) {
                Some(known) if known.caller == holder.caller || holder.caller.is_none() => {}
                Some(known) => *known = holder,
                None => page.holders.push(holder),
            }
        })
    }

    /// Forgets a mount; whether it was known.
    pub fn remove(&self, plugin: &PluginId, volume: &str, id: &str) -> Result<bool> {
        let was_known = self.knows(plugin, volume, id);
        if was_known {
            self.change(plugin, |page| page.holders.retain(|holder| !holder.is(volume, id)))?;
        }
        Ok(was_known)
    }

    /// Forgets all mounts of a volume, which is no more.
    pub fn remove_volume(&self, plugin: &PluginId, volume: &str) -> Result<()> {
        self.change(plugin, |page| page.holders.retain(|holder| holder.volume != volume))
    }

    /// Forgets all mounts of a plugin.
    pub fn clear(&self, plugin: &PluginId) -> Result<()> {
        let mut pages = self.lock();
        record::remove(&self.path(plugin))?;
        pages.remove(plugin);
        Ok(())
    }

    /// Whether this mount is noted, in use or not.
    pub fn knows(&self, plugin: &PluginId, volume: &str, id: &str) -> bool {
        let pages = self.lock();
        pages.get(plugin).is_some_and(|page| page.holders.iter().any(|known| known.is(volume, id)))
    }

    /// Says which process the plugin is now; its own mounts are then told from those of its users.
    pub fn runs_as(&self, plugin: &PluginId, pid: i32) -> Result<()> {
        let process = Identity::of(pid)?;
        let is_known = self.lock().get(plugin).is_some_and(|page| page.process == process);
        if is_known { Ok(()) } else { self.change(plugin, |page| page.process = process) }
    }

    /// The mounts of a plugin that are still in use: those whose caller lives, and those whose
    /// caller died while another mount namespace still has the mount point's file system. The
    /// others are forgotten. Reads mount tables: not for asynchronous code.
    pub fn holders(&self, plugin: &PluginId) -> Result<Vec<Holder>> {
        let Some(page) = self.lock().get(plugin).cloned() else { return Ok(Vec::new()) };
        let (now, mut used) = (Timestamp::now(), Vec::new());
        for holder in page.holders {
            if !holder.is_abandoned(now) || is_used(&holder, page.process.as_ref()) {
                used.push(holder);
            } else {
                tracing::info!(%plugin, volume = holder.volume, "a dead caller's mount is forgotten");
                self.remove(plugin, &holder.volume, &holder.id)?;
            }
        }
        Ok(used)
    }

    /// Those of [`holders`](Self::holders) that have this volume.
    pub fn users(&self, plugin: &PluginId, volume: &str) -> Result<Vec<Holder>> {
        let mut users = self.holders(plugin)?;
        users.retain(|holder| holder.volume == volume);
        Ok(users)
    }

    /// Notes the mounts below `propagated` that somebody uses though the ledger does not know. The
    /// volume's name is lost then: the path below `propagated` stands for it.
    pub fn rediscover(&self, plugin: &PluginId, propagated: &Path) -> Result<()> {
        let page = self.lock().get(plugin).cloned().unwrap_or_default();
        for (mountpoint, volume) in kernel::mounts_below(propagated)? {
            let is_known = page.holders.iter().any(|holder| holder.mountpoint == mountpoint);
            if !is_known && kernel::is_used(&mountpoint, page.process.as_ref())? {
                let (id, since) = (FOUND.to_owned(), Timestamp::now());
                self.add(plugin, Holder { volume, id, mountpoint, since, caller: None })?;
            }
        }
        Ok(())
    }

    /// The change counts once it is written.
    fn change(&self, plugin: &PluginId, change: impl FnOnce(&mut Page)) -> Result<()> {
        let mut pages = self.lock();
        let before = pages.get(plugin);
        let mut page = before.cloned().unwrap_or_default();
        page.boot.clone_from(&self.boot);
        change(&mut page);
        if before != Some(&page) {
            // Not synced: after a power cut the boot ID has changed, and all of it is void.
            record::write(&self.path(plugin), &page, Durability::Volatile)?;
            pages.insert(plugin.clone(), page);
        }
        Ok(())
    }

    fn path(&self, plugin: &PluginId) -> PathBuf {
        self.dir.join(format!("{plugin}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PluginId, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    fn is(&self, volume: &str, id: &str) -> bool {
        self.volume == volume && self.id == id
    }

    /// Whether nobody is left who could give the mount back.
    fn is_abandoned(&self, now: Timestamp) -> bool {
        let is_gone = match self.id.as_str() {
            PODMAN_ID => false,
            FOUND => true,
            _ => self.caller.as_ref().is_some_and(|caller| !caller.is_alive()),
        };
        is_gone && now.duration_since(self.since).as_secs() >= GRACE_SECONDS
    }
}

/// What cannot be found out counts as used.
fn is_used(holder: &Holder, plugin: Option<&Identity>) -> bool {
    kernel::is_used(&holder.mountpoint, plugin).unwrap_or_else(|error| {
        tracing::warn!(%error, volume = holder.volume, "cannot tell whether it is in use");
        true
    })
}
