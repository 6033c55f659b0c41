//! Managed plugins as people meet them: the unmodified Docker CLI, a loopback registry, plugins that
//! behave badly. What both engines must do runs against a real dockerd, which shows that the test is
//! right, and against `mobula engine`.
//!
//! The names say which: `plugins::…::dockerd::…` and `plugins::…::ours::…`. Where the two differ on
//! purpose, the test says why.

pub mod bed;
mod choices;
pub mod image;
pub mod registry;
pub mod wire;

mod alongside;
mod bollard;
mod containers;
mod daemons;
mod distribution;
mod facts;
mod interfaces;
mod known;
mod legacy;
mod managers;
mod operations;
mod parallel;
pub mod podman;
mod requests;
mod skeleton;
mod sockets;
mod terminal;
mod trouble;
pub mod volumes;
mod watching;

/// One test per engine of functions that take the engine to be tested.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod dockerd {
            $(#[test] fn $name() { $crate::plugins::bed::run($crate::plugins::bed::Kind::Dockerd, super::$name); })*
        }
        on_ours!($($name),*);
    };
}

/// Tests of `mobula engine` alone.
macro_rules! on_ours {
    ($($name:ident),* $(,)?) => {
        mod ours {
            $(#[test] fn $name() { $crate::plugins::bed::run($crate::plugins::bed::Kind::Ours, super::$name); })*
        }
    };
}

pub(crate) use {on_both, on_ours};
