//! A door for fuzz/, which the feature `fuzzing` opens: whatever AWS may have answered, read as
//! everything that it could be.

use super::call::read_answer as parse;
use super::fault::Fault;
use super::shapes::{
    Attachment, Copied, FastRestores, InstanceTypes, Modifications, Modified, Nothing,
    Reservations, Snapshot, Snapshots, Volume, Volumes,
};
use error::{Error, Result};

/// What an answer holds when it is read as one kind of answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// The volumes in it.
    pub volumes: Vec<Volume>,
    /// The snapshots in it.
    pub snapshots: Vec<Snapshot>,
}

/// The body of an answer, read as each kind that there is.
#[must_use]
pub fn read(text: &str) -> Vec<Result<Answer>> {
    let none = |()| Answer::default();
    let volumes = |volumes| Answer { volumes, ..Answer::default() };
    let snapshots = |snapshots| Answer { snapshots, ..Answer::default() };
    vec![
        parse::<Volumes>("DescribeVolumes", text).map(|all| volumes(all.volume_set.items)),
        parse::<Volume>("CreateVolume", text).map(|one| volumes(vec![one])),
        parse::<Snapshots>("DescribeSnapshots", text).map(|all| snapshots(all.snapshot_set.items)),
        parse::<Snapshot>("CreateSnapshot", text).map(|one| snapshots(vec![one])),
        parse::<Attachment>("AttachVolume", text).map(drop).map(none),
        parse::<Reservations>("DescribeInstances", text).map(drop).map(none),
        parse::<InstanceTypes>("DescribeInstanceTypes", text).map(drop).map(none),
        parse::<Modified>("ModifyVolume", text).map(drop).map(none),
        parse::<Modifications>("DescribeVolumesModifications", text).map(drop).map(none),
        parse::<Copied>("CopySnapshot", text).map(drop).map(none),
        parse::<FastRestores>("EnableFastSnapshotRestores", text).map(drop).map(none),
        parse::<Nothing>("CreateTags", text).map(drop).map(none),
    ]
}

/// The body of an answer with an error status.
#[must_use]
pub fn refusal(status: u16, text: &str) -> Error {
    Fault::parse(status, text).error("DescribeVolumes")
}
