//! The managed plugin engine: Docker's plugin system without Docker.
//!
//! References, registries, the blob store, root file systems, settings, privileges, the OCI spec,
//! the runtime, the supervisor and the discovery of legacy plugins. Knows no front end (the HTTP
//! API and the command line live in crate `mobula`) and no volume orchestrator.
//!
//! [`engine::Engine`] is the one thing front ends talk to.

pub mod archive;
pub mod bridge;
pub mod config;
pub mod digest;
pub mod discovery;
pub mod engine;
pub mod events;
pub mod home;
pub mod id;
pub mod ledger;
pub mod logs;
pub mod made;
pub mod privileges;
pub mod progress;
pub mod record;
pub mod reference;
pub mod registry;
pub mod rootfs;
pub mod rpc;
pub mod runtime;
pub mod scope;
pub mod settings;
pub mod spec;
pub mod store;
pub mod volumes;

pub use engine::Engine;
