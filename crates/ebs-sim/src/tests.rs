//! The simulator over its sockets, as a client sees it.

mod client;
mod disks;
mod faults;
mod imds;
mod snapshots;
mod volumes;
