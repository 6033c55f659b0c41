//! [`Mounts`](crate::Mounts) over the kernel's mount API.
