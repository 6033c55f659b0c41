//! The actions of the API: parameters in, XML out. Each takes its parameters, checks them, and then
//! reads or changes the account, which only [`Call::read`] and [`Call::change`] allow: they refuse
//! what no action took (`UnknownParameter`) and dry runs.

mod attachments;
mod fast_restores;
mod filters;
mod identity;
mod instances;
mod modifications;
mod paging;
mod places;
mod snapshots;
mod tagging;
mod volumes;

use crate::config::Config;
use crate::credentials::Caller;
use crate::params::Params;
use crate::refusal::{Answered, Refusal};
use crate::world::{Step, World};
use crate::xml::Xml;

/// An action.
pub(crate) type Action = fn(&mut Call<'_>, &mut Xml) -> Answered<()>;

/// Faults that show only later.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Marks {
    pub(crate) stick: bool,
    pub(crate) fail: bool,
    pub(crate) kms_disabled: bool,
}

/// A call of an action.
pub(crate) struct Call<'a> {
    pub(crate) params: Params,
    pub(crate) caller: Caller,
    pub(crate) dry_run: bool,
    pub(crate) marks: Marks,
    pub(crate) config: &'a Config,
    pub(crate) world: &'a mut World,
    pub(crate) step: Step<'a>,
    /// What is shown instead of the present.
    pub(crate) view: Option<World>,
}

impl<'a> Call<'a> {
    fn region(&self) -> String {
        self.caller.region.clone()
    }

    /// Everything was checked that can be: nothing unknown may be left, and a dry run ends here.
    fn go(&self) -> Answered<()> {
        self.params.finish()?;
        match self.dry_run {
            false => Ok(()),
            true => Err(Refusal::new(
                412,
                "DryRunOperation",
                "Request would have succeeded, but DryRun flag is set.",
            )),
        }
    }

    /// The account as it is shown.
    fn read(&self) -> Answered<&World> {
        self.go()?;
        Ok(self.view.as_ref().unwrap_or(self.world))
    }

    /// The account, to be changed.
    fn change(&mut self) -> Answered<(&mut World, &mut Step<'a>)> {
        self.go()?;
        Ok((self.world, &mut self.step))
    }
}

/// The action of this name.
pub(crate) fn find(name: &str, sts: bool) -> Option<Action> {
    if sts {
        return (name == "GetCallerIdentity").then_some(identity::get_caller_identity as Action);
    }
    Some(match name {
        "AttachVolume" => attachments::attach,
        "DetachVolume" => attachments::detach,
        "CreateVolume" => volumes::create,
        "CopyVolumes" => volumes::copy,
        "DeleteVolume" => volumes::delete,
        "DescribeVolumes" => volumes::describe,
        "DescribeVolumeStatus" => volumes::describe_status,
        "ModifyVolume" => modifications::modify,
        "DescribeVolumesModifications" => modifications::describe,
        "CreateTags" => tagging::create,
        "DeleteTags" => tagging::delete,
        "DescribeTags" => tagging::describe,
        "CreateSnapshot" => snapshots::create,
        "CopySnapshot" => snapshots::copy,
        "DeleteSnapshot" => snapshots::delete,
        "DescribeSnapshots" => snapshots::describe,
        "EnableFastSnapshotRestores" => fast_restores::enable,
        "DisableFastSnapshotRestores" => fast_restores::disable,
        "DescribeFastSnapshotRestores" => fast_restores::describe,
        "DescribeInstances" => instances::describe,
        "DescribeInstanceTypes" => instances::describe_types,
        "StartInstances" => instances::start,
        "StopInstances" => instances::stop,
        "TerminateInstances" => instances::terminate,
        "DescribeAvailabilityZones" => places::zones,
        "DescribeRegions" => places::regions,
        _ => return None,
    })
}
