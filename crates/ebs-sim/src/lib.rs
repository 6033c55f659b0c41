//! A simulator of Amazon EC2, as far as volumes need it: several instances of one account, each with a
//! listener on loopback that serves the EC2 API, STS, the metadata service and an admin API; real
//! states, limits, delays and faults; and real disks, if wanted: sparse files behind loop devices.
//!
//! It knows AWS's documentation and nothing of those who call it.
//!
//! All instances share one kernel, which shows in one place: xfs and btrfs refuse to mount a volume
//! again while a mount that it was taken away from by force is still there (the same UUID twice);
//! ext4 does not mind.
//!
//! ```text
//! server ─▶ api ─▶ actions ─▶ world (pure; time is an argument) ─▶ hardware ◀─ disks
//!    ├────▶ imds
//!    └────▶ admin
//! ```

mod actions;
mod admin;
mod api;
mod config;
mod core;
mod credentials;
mod disks;
mod fault;
mod hardware;
mod imds;
mod params;
mod pattern;
mod refusal;
mod server;
mod signing;
mod simulator;
mod state;
mod store;
mod throttle;
mod timestamp;
mod world;
mod xml;

#[cfg(test)]
mod tests;

pub use config::{Bucket, Config, Credentials, Delays, Disks, InstanceConfig, Limits};
pub use fault::{Effect, Fault};
pub use hardware::Plug;
pub use simulator::Simulator;
pub use state::{Attachment, Instance, Snapshot, State, Volume};
