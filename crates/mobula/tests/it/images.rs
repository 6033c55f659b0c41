//! Mobula's own managed plugins, as `cargo xtask plugin-image` makes them: on a real dockerd, on
//! `mobula engine`, and used by Podman.

mod endpoint;
pub mod lab;
pub mod make;

mod content;
mod daily;
mod lives;
mod neighbours;
mod network;
mod settings;
