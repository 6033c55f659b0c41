//! An account of Amazon Web Services: who this machine is there, with which credentials, and one
//! signed, retried call of a Query API. Knows no volume; touches nothing until it is first used.

#[cfg(feature = "fuzzing")]
pub mod answers;
mod backoff;
mod call;
mod credentials;
mod ec2;
mod fault;
mod form;
mod identity;
mod limiter;
mod merge;
mod partition;
mod patience;
mod settings;
mod shapes;
mod variables;

pub use backoff::Backoff;
pub use call::Client;
pub use ec2::{Change, Ec2, NewSnapshot, NewVolume, VolumeQuery, code, is_doubtful};
pub use form::Form;
pub use identity::Identity;
pub use merge::same;
pub use patience::Patience;
pub use settings::Settings;
pub use shapes::{
    Attachment, BlockDevice, FastRestore, Instance, InstanceType, Modification, Snapshot, Tag,
    Volume,
};
pub use variables::VARIABLES;
