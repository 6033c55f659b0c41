//! What we add to attaching and mounting a volume. The whole is a `Mount` at Docker's plugin socket.
//! Of it, this is not ours and is measured in the same rounds, to be taken off:
//!
//! - what the simulator takes to attach, asked by two plain calls (AttachVolume, and a look until it is
//!   attached): its HTTP, its check of the signature, its record, and its disk (LOOP_CONFIGURE, a
//!   device node, a link), which at AWS happen in another machine;
//! - mount(2).
//!
//! Whatever else we ask of the simulator counts as ours, the simulator's time for it included.

use super::account::{Account, element};
use super::bed::{Bed, Cloud, INSTANCE};
use crate::bench::contest::values;
use crate::bench::http::{Client, Request};
use crate::bench::kernel::{self, LoopDevice};
use crate::bench::lab::make_image;
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use crate::program;
use error::{Error, Result};
use std::path::PathBuf;
use std::time::Instant;

const MS: Unit = Unit::Milliseconds;
const FSTYPE: &str = "ext4";
const DEVICE: &str = "/dev/sdz";
const VOLUME: &str = r#"{"Name":"mounted","ID":"bench"}"#;

/// A round, in milliseconds.
#[derive(Default)]
struct Round {
    mount: f64,
    unmount: f64,
    simulator: f64,
    attach: f64,
    raw: f64,
}

/// Mount, Unmount, and what of Mount is ours.
pub(super) fn mount(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let cloud = bed.cloud("mount", true)?;
    let mut client = Client::connect(&cloud.plugin())?;
    client.send(&Request::plugin("Create", r#"{"Name":"mounted"}"#))?;
    let (mount, unmount) = (Request::plugin("Mount", VOLUME), Request::plugin("Unmount", VOLUME));
    // The first mount makes the file system.
    client.send(&mount)?;
    client.send(&unmount)?;
    let (mut plain, raw) = (Plain::new(&cloud)?, Raw::new(bed)?);
    let mut rounds = Vec::new();
    for _ in 0..=bed.scale.rounds {
        let mut round = Round {
            mount: timed(|| client.send(&mount).map(drop))?,
            unmount: timed(|| client.send(&unmount).map(drop))?,
            simulator: plain.attach()?,
            ..Round::default()
        };
        plain.detach()?;
        (round.attach, round.raw) = raw.mount()?;
        rounds.push(round);
    }
    // The first does not count.
    tell(&rounds[1..], report)
}

fn tell(rounds: &[Round], report: &mut Report) -> Result<()> {
    let mut add = |name: &str, value: fn(&Round) -> f64, target: Target| -> Result<()> {
        let measured = values(rounds.iter().map(value).collect(), Vec::new())?;
        report.add(Row::new(name, MS, &measured).target(target));
        Ok(())
    };
    add("Mount: attach and mount, ext4", |round| round.mount, Target::None)?;
    add("of it the simulator: AttachVolume until attached", |round| round.simulator, Target::None)?;
    add("of it the kernel: mount(2)", |round| round.raw, Target::None)?;
    let ours = |round: &Round| round.mount - round.simulator - round.raw;
    add("of it ours: what is left", ours, Target::AtMost(15.0))?;
    add("raw: LOOP_CONFIGURE and mount(2)", |round| round.attach + round.raw, Target::None)?;
    add("Unmount: unmount and detach", |round| round.unmount, Target::None)
}

/// How long `work` takes.
pub(super) fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(MS.of(start.elapsed()))
}

/// A volume that is attached by plain calls.
struct Plain {
    account: Account,
    volume: String,
}

impl Plain {
    fn new(cloud: &Cloud) -> Result<Self> {
        let mut account = cloud.account()?;
        let made =
            account.call("CreateVolume", &[("AvailabilityZone", "us-east-1a"), ("Size", "1")])?;
        let volume = element(&made, "volumeId");
        let volume = volume.ok_or_else(|| Error::internal("the new volume has no ID"))?.to_owned();
        Ok(Self { account, volume })
    }

    fn attach(&mut self) -> Result<f64> {
        let what = [("VolumeId", &*self.volume), ("InstanceId", INSTANCE), ("Device", DEVICE)];
        let attach = self.account.signed("AttachVolume", &what)?;
        let look = self.account.signed("DescribeVolumes", &[("VolumeId.1", &self.volume)])?;
        timed(|| self.account.until(&attach, &look, "<status>attached</status>"))
    }

    fn detach(&mut self) -> Result<()> {
        let detach = self.account.signed("DetachVolume", &[("VolumeId", &self.volume)])?;
        let look = self.account.signed("DescribeVolumes", &[("VolumeId.1", &self.volume)])?;
        self.account.until(&detach, &look, "<status>available</status>")
    }
}

/// The kernel's work alone, on an image made alike.
struct Raw {
    image: PathBuf,
    target: PathBuf,
}

impl Raw {
    fn new(bed: &Bed) -> Result<Self> {
        let (image, target) = (bed.make_dir("raw")?.join("image"), bed.make_dir("raw/target")?);
        make_image(&image, 1 << 30)?;
        let mkfs = program::get(&format!("mkfs.{FSTYPE}"))?;
        program::run(program::command(mkfs).arg("-q").arg(&image), b"")?;
        Ok(Self { image, target })
    }

    /// Attaches and mounts; how long each took.
    fn mount(&self) -> Result<(f64, f64)> {
        let start = Instant::now();
        let device = LoopDevice::attach(&self.image)?;
        let attach = MS.of(start.elapsed());
        let mount = timed(|| kernel::mount(&device.path, &self.target, FSTYPE))?;
        kernel::unmount(&self.target)?;
        Ok((attach, mount))
    }
}
