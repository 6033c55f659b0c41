//! The program as its users meet it: its sockets, its command line, real kernels and real engines.
//!
//! One binary, so that it is linked once. Each test that mounts does so in a mount namespace of its
//! own; what it starts it ends.
#![allow(clippy::disallowed_methods, clippy::needless_pass_by_value, clippy::unwrap_used)]
#![allow(missing_docs, unreachable_pub)]

mod fixture;

mod actions;
mod agent;
mod command_line;
mod configuration;
mod doctor;
mod ebs;
mod engine;
mod engine_api;
mod engine_kills;
mod faults;
mod hostile;
mod images;
#[cfg(feature = "failpoints")]
mod kills;
mod migrate;
mod network;
mod plugins;
mod podman;
mod pressure;
mod protocol;
mod runtime;
