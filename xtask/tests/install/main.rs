//! The release as its users meet it: made by `cargo xtask dist`, fetched from a web server, installed
//! by its script or as a package, in directories and in a bare Debian.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs, unreachable_pub)]

mod chroot;
mod debian;
mod faults;
mod machine;
mod packages;
mod release;
mod script;
mod server;
mod units;
