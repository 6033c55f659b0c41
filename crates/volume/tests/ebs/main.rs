//! The driver `ebs` against a simulated account with real disks: its contract, what it says, and
//! what becomes of volumes when AWS, the network, the machine or another machine fails.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod account;
mod adoption;
mod attachments;
mod calls;
mod consistency;
mod contract;
mod devices;
mod economy;
mod faulty;
mod fencing;
mod gathering;
mod identity;
mod judged;
mod lab;
mod leases;
mod moves;
mod network;
mod parameters;
mod race;
mod snapshots;
mod states;
mod takeover;
mod tokens;
