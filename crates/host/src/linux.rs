//! The real machine: [`Mounts`](crate::Mounts) and [`Disks`](crate::Disks) over the kernel.

use crate::loopdev::Images;

mod disks;
mod mounts;

/// This machine.
#[derive(Default)]
pub struct Linux {
    /// The loop devices that this process holds open.
    images: Images,
}
