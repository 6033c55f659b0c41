//! The volume orchestrator: what volumes are, the seam that storage drivers implement, the plan
//! from what is observed to what is wanted, and the ledger of who has what mounted.
//!
//! It knows no front-end protocol: Docker's, CSI's and the CLI's words stay in crate `mobula`.

pub mod claim;
pub mod cloud;
pub mod driver;
pub mod drivers;
pub mod guard;
pub mod ledger;
pub mod metrics;
pub mod name;
pub mod options;
pub mod orchestrator;
pub mod plan;
pub mod shelf;
pub mod size;
pub mod volume;

pub use driver::{Capabilities, Driver, Source, Spec};
pub use host::Outcome;
pub use name::{NodeId, ServiceName, SnapshotName, VolumeId, VolumeName};
pub use options::{OptionSpec, Unit};
pub use orchestrator::Orchestrator;
pub use size::Size;
pub use volume::{Create, Filesystem, Origin, Parameters, Snapshot, Volume};
