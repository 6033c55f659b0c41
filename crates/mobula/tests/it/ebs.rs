//! Volumes of EBS on a simulated account: two machines, each with a dockerd and an agent of its own,
//! and disks that go from one to the other.

pub mod account;
mod fencing;
mod judges;
#[cfg(feature = "failpoints")]
mod kills;
mod machine;
mod moves;
mod plugins;
mod schedules;
