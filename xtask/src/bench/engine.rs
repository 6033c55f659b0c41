//! `cargo xtask bench engine`: our plugin engine beside dockerd, with the same plugins, the same
//! registry and the same command line, each with its state on a file system of its own.

mod bed;
mod contender;
mod image;
mod install;
mod life;
mod memory;
mod process;
mod tables;

use super::cases::Case;
use super::report::Layout;
pub(super) use bed::{Bed, Scale};

/// Every group of figures.
pub(super) const ALL: [Case<Bed>; 7] = [
    ("idle", memory::idle),
    ("life", life::life),
    ("many", memory::many),
    ("install", install::install),
    ("create", install::create),
    ("mounts", tables::mounts),
    ("program", tables::program),
];

/// How the figures are shown.
pub(super) const LAYOUT: Layout = Layout {
    begin: "<!-- a run of the engine, written by cargo xtask bench engine --publish -->",
    end: "<!-- end of the run of the engine -->",
    head: &[
        "figure",
        "unit",
        "n",
        "ours (min..max)",
        "peer (min..max)",
        "ours ÷ peer",
        "target",
        "met",
    ],
    left: &[0, 1, 6, 7],
    cells: super::report::Row::ranges,
};
