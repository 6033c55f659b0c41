//! `cargo xtask bench ebs`: volumes of Amazon EBS, on the simulator, with real disks and no delay. What
//! is left is our own work; the simulator's and the kernel's are measured beside it, and told apart.
//! How many calls an operation makes of AWS is counted, and compared with what others make.

mod account;
mod bed;
mod calls;
mod list;
mod many;
mod mount;

use super::cases::Case;
use super::report::{Layout, Row};
pub(super) use bed::{Bed, Scale};

/// Every group of figures.
pub(super) const ALL: [Case<Bed>; 4] =
    [("mount", mount::mount), ("many", many::many), ("calls", calls::calls), ("list", list::list)];

/// How the figures are shown.
pub(super) const LAYOUT: Layout = Layout {
    begin: "<!-- a run of EBS, written by cargo xtask bench ebs --publish -->",
    end: "<!-- end of the run of EBS -->",
    head: &["figure", "unit", "n", "min", "p50", "p99", "CSI driver", "REX-Ray", "target", "met"],
    left: &[0, 1, 8, 9],
    cells: Row::beside_two,
};
