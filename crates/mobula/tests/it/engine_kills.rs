//! The life cycle of plugins under attack: an engine that is killed anywhere, shims and plugins that
//! are killed in any order, plugins that never start, full disks, damaged records, too few file
//! descriptors, storms of clients. What an engine is to do on a good day is no business of this
//! module.

mod damage;
mod disks;
pub mod lab;
mod leaks;
mod limits;
mod orders;
#[cfg(feature = "failpoints")]
mod points;
mod starts;
mod storm;
