//! The simulator over its sockets, as a client sees it; and its state machine with a machine that
//! fails.

mod client;
mod disks;
mod faults;
mod imds;
mod snapshots;
mod volumes;
mod world;
