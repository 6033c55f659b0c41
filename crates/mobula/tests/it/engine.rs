//! With a real dockerd: volumes as people and Compose files use them, and crashes of either side.

mod calls;
mod crashes;
mod daily;
pub mod fixture;
mod recorder;
mod sharing;
