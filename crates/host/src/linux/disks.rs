//! [`Disks`](crate::Disks) over loop devices, libblkid and the file systems' own tools.
