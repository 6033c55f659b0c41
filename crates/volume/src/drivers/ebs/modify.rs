//! Changes of a volume: larger, faster, of another type. AWS makes one change at a time, and takes
//! the next only hours later; all that is wanted at the same time goes into one call.

use super::wait::VISIBLE;
use super::{Ebs, parameters, record};
use crate::cloud::aws::{self, Change, Modification};
use crate::name::VolumeId;
use crate::size::Size;
use crate::volume::{Filesystem, Volume};
use error::{Error, Kind, Result};
use host::{Outcome, failpoint};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long AWS may take until the new size can be used; usually seconds.
const MODIFIED: Duration = Duration::from_secs(600);
/// How long AWS takes no further change. <https://docs.aws.amazon.com/ebs/latest/userguide/modify-volume-requirements.html>
const COOLDOWN: SignedDuration = SignedDuration::from_hours(6);

/// How long a change waits for others to join it: what is asked for at the same time arrives by
/// different numbers of look-ups.
const MOMENT: Duration = Duration::from_millis(500);

impl Change {
    /// Whether it is one that AWS could make of some volume.
    pub(super) fn check(&self) -> Result<()> {
        match &self.kind {
            Some(kind) => parameters::ensure_type(kind, self.size),
            None => Ok(()),
        }
    }

    /// Whether `last` is this change, or more than that.
    fn is(&self, last: &Modification) -> bool {
        self.size.is_none_or(|size| last.target_size >= size)
            && self.kind.as_ref().is_none_or(|kind| last.target_kind == *kind)
            && self.iops.is_none_or(|iops| last.target_iops == Some(iops))
            && self.throughput.is_none_or(|most| last.target_throughput == Some(most))
    }

    /// Whether the volume is so.
    pub(super) fn is_done(&self, raw: &aws::Volume) -> bool {
        self.size.is_none_or(|size| raw.size >= size)
            && self.kind.as_ref().is_none_or(|kind| raw.kind == *kind)
            && self.iops.is_none_or(|iops| raw.iops == Some(iops))
            && self.throughput.is_none_or(|most| raw.throughput == Some(most))
    }
}

impl Ebs {
    /// Grows the volume's device.
    pub(super) async fn expand_volume(&self, id: &VolumeId, size: Size) -> Result<Outcome<Volume>> {
        let raw = self.get_raw(id).await?;
        let have = parameters::bytes(raw.size);
        let wanted = parameters::gib(size);
        if size < have {
            // What was asked for at first may be less than what AWS made of it.
            let volume = self.volume(&raw)?;
            if wanted == raw.size && volume.parameters.size.is_some_and(|asked| size >= asked) {
                return Ok(Outcome::AlreadyDone(volume));
            }
            return Err(Error::out_of_range(format!(
                "volume {id} has {have} and cannot be made smaller ({size})"
            )));
        }
        if wanted == raw.size {
            return self.volume(&raw).map(Outcome::AlreadyDone);
        }
        let change = Change { size: Some(wanted), ..Change::default() };
        let now = self.change(&raw, &change).await?;
        self.volume(&now).map(Outcome::Done)
    }

    /// Makes the change, in one call with those that others ask for now, and waits until it can be
    /// used.
    pub(super) async fn change(&self, raw: &aws::Volume, change: &Change) -> Result<aws::Volume> {
        let joint = self.gathering.join(&raw.id, change)?;
        let begun = joint.begun.get_or_init(async || {
            tokio::time::sleep(self.patience().at_most(MOMENT)).await;
            self.begin(raw, &|| self.gathering.end(&raw.id, &joint)).await
        });
        match begun.await {
            Err(error) if joint.is_more_than(change) && is_somebodys_fault(error) => {
                self.begin(raw, &|| change.clone()).await?;
            }
            Err(error) => return Err(aws::same(error)),
            Ok(()) => {}
        }
        failpoint::hit("ebs.modifying");
        self.wait_modified(&raw.id, change).await
    }

    async fn begin(&self, raw: &aws::Volume, change: &(dyn Fn() -> Change + Sync)) -> Result<()> {
        failpoint::hit("ebs.modify");
        match self.ec2.modify_volume(&raw.id, change).await {
            Ok(_) => Ok(()),
            Err(error) => self.excuse(raw, &change(), error).await,
        }
    }

    /// A refusal that is none: the answer of an earlier call was lost, or the change is under way.
    async fn excuse(&self, raw: &aws::Volume, change: &Change, error: Error) -> Result<()> {
        let is_known = matches!(
            aws::code(&error),
            Some("IncorrectModificationState" | "VolumeModificationRateExceeded")
        );
        if !is_known && !aws::is_doubtful(&error) {
            return Err(error);
        }
        let mut shown_late = self.waiting(VISIBLE);
        loop {
            match self.ec2.find_modification(&raw.id).await? {
                Some(last) if change.is(&last) && last.state != "failed" => return Ok(()),
                Some(last) if is_known && self.is_in_the_way(&last) => {
                    return Err(too_soon(raw, &last));
                }
                // There must be one: AWS shows what was.
                _ if shown_late.pause().await => {}
                _ => return Err(error),
            }
        }
    }

    /// Whether AWS takes no change because of this one.
    fn is_in_the_way(&self, last: &Modification) -> bool {
        last.state != "completed" || !self.is_older(&last.started, COOLDOWN.unsigned_abs())
    }

    async fn wait_modified(&self, id: &str, change: &Change) -> Result<aws::Volume> {
        let mut waiting = self.waiting(MODIFIED);
        loop {
            let raw = self.get_raw(&VolumeId::new(id)).await?;
            if change.is_done(&raw) {
                return Ok(raw);
            }
            let last = self.ec2.find_modification(id).await?;
            let last = last.filter(|last| last.state == "failed" && change.is(last));
            if let Some(last) = last {
                return Err(Error::failed_precondition(format!(
                    "AWS could not change volume {id}: {}",
                    last.status_message.as_deref().unwrap_or("it does not say why")
                )));
            }
            if !waiting.pause().await {
                return Err(Error::deadline_exceeded(format!(
                    "AWS is still changing volume {id} after {} s; repeat the call to go on waiting",
                    self.patience().of(MODIFIED).as_secs()
                )));
            }
        }
    }

    /// Keeps with the volume what its file system is now.
    pub(super) async fn record(&self, id: &VolumeId, now: &Filesystem) -> Result<()> {
        let tags = BTreeMap::from([(record::FILESYSTEM.to_owned(), record::of_filesystem(now))]);
        self.ec2.create_tags(&[id.as_str()], &tags).await
    }

    /// A volume that another program made is from now on one of this.
    pub(super) async fn adopt_volume(&self, volume: &Volume) -> Result<()> {
        let raw = self.get_raw(&volume.id).await?;
        let mut tags = BTreeMap::new();
        if raw.tag(record::RECORD).is_none() {
            tags.extend(record::adopted(volume)?);
        }
        if let Some(filesystem) = &volume.filesystem {
            tags.insert(record::FILESYSTEM.to_owned(), record::of_filesystem(filesystem));
        }
        self.ec2.create_tags(&[volume.id.as_str()], &tags).await
    }
}

/// Whether what AWS refuses of a joint change may be all right without what another one wants.
fn is_somebodys_fault(error: &Error) -> bool {
    matches!(error.kind(), Kind::InvalidArgument | Kind::ResourceExhausted | Kind::Unimplemented)
}

/// The error of a change that comes before AWS takes one again.
fn too_soon(raw: &aws::Volume, last: &Modification) -> Error {
    let began = last.started.parse::<Timestamp>().ok();
    let until = began.and_then(|began| began.checked_add(COOLDOWN).ok());
    let until =
        until.map(|until| format!(", which is at {}", until.strftime("%Y-%m-%dT%H:%M:%SZ")));
    Error::failed_precondition(format!(
        "volume {} was changed last at {} ({} {}%), and AWS takes the next change only when that is \
         complete and 6 hours have passed since it began{}; try again then",
        raw.id,
        last.started,
        last.state,
        last.progress,
        until.unwrap_or_default()
    ))
}
