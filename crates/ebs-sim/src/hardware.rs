//! What the account's machines do with their disks, as the state machine sees it: it asks, and is
//! told what came of it. [`NoHardware`] has no disks at all; real ones are in `disks`.

use error::Result;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where a volume appeared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plug {
    /// The device node, as the instance sees it. Empty when there are no disks.
    pub node: PathBuf,
    /// The device behind it, of this machine.
    pub device: PathBuf,
}

/// What became of a disk that was to be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unplugged {
    Gone,
    /// The instance still uses it.
    Held,
}

/// Machines and their disks.
pub(crate) trait Hardware: Send {
    /// Makes the disk `id` of `gib`, blank or with the contents of `from`.
    fn create(&mut self, id: &str, gib: u64, from: Option<&str>) -> Result<()>;

    /// Copies the disk `from`, as it is at this moment.
    fn copy(&mut self, from: &str, to: &str) -> Result<()>;

    /// Removes a disk. Not there → done.
    fn remove(&mut self, id: &str) -> Result<()>;

    /// Makes a disk larger, where it is plugged in too.
    fn grow(&mut self, id: &str, gib: u64, plugs: &[Plug]) -> Result<()>;

    /// The disk appears at the instance.
    fn plug(&mut self, id: &str, instance: &str) -> Result<Plug>;

    /// The disk vanishes from the instance: if it is used there, only when `force`, and then
    /// nothing is written by that use any more.
    fn unplug(&mut self, id: &str, instance: &str, plug: &Plug, force: bool) -> Result<Unplugged>;

    /// The end of the simulator: what is still mounted stays until it is unmounted, with all its
    /// data.
    fn let_go(&mut self, id: &str, instance: &str, plug: &Plug) -> Result<()>;
}

/// No disks: everything succeeds.
pub(crate) struct NoHardware;

impl Hardware for NoHardware {
    fn create(&mut self, _id: &str, _gib: u64, _from: Option<&str>) -> Result<()> {
        Ok(())
    }

    fn copy(&mut self, _from: &str, _to: &str) -> Result<()> {
        Ok(())
    }

    fn remove(&mut self, _id: &str) -> Result<()> {
        Ok(())
    }

    fn grow(&mut self, _id: &str, _gib: u64, _plugs: &[Plug]) -> Result<()> {
        Ok(())
    }

    fn plug(&mut self, _id: &str, _instance: &str) -> Result<Plug> {
        Ok(Plug { node: PathBuf::new(), device: PathBuf::new() })
    }

    fn unplug(&mut self, _: &str, _: &str, _: &Plug, _: bool) -> Result<Unplugged> {
        Ok(Unplugged::Gone)
    }

    fn let_go(&mut self, _id: &str, _instance: &str, _plug: &Plug) -> Result<()> {
        Ok(())
    }
}
