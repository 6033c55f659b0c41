//! The driver `ebs` against a simulated account with real disks: its contract, what it says, and
//! what becomes of volumes when AWS, the network, the machine or another machine fails.
#![allow(clippy::unwrap_used, missing_docs)]

mod contract;
mod judged;
mod lab;
