//! The real machine: [`Mounts`](crate::Mounts) and [`Disks`](crate::Disks) over the kernel.
