//! Mounting and unmounting a volume of driver loop, against the system calls that it cannot do
//! without.

use crate::bench::contest::{Contest, Turn};
use crate::bench::http::{Client, Request};
use crate::bench::kernel::{self, LoopDevice};
use crate::bench::lab::{Lab, make_image};
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use crate::program;
use error::Result;
use std::path::{Path, PathBuf};
use std::time::Instant;

const MS: Unit = Unit::Milliseconds;
/// The size of the volumes.
const GIB: u64 = 1 << 30;

/// ext4, xfs and btrfs.
pub(super) fn mount(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let types = [("ext4", Target::TimesRaw(1.3)), ("xfs", Target::None), ("btrfs", Target::None)];
    for (fstype, target) in types {
        let contest =
            Contest { ours: ours(lab, fstype)?, peer: None, raw: Some(raw(lab, fstype)?) };
        let measured = contest.run(lab.scale.slow * 2)?;
        let row = Row::new(format!("loop mount and unmount, {fstype}"), MS, &measured);
        report.add(row.raw("LOOP_CONFIGURE, mount, umount2 and detach").target(target));
    }
    Ok(())
}

fn ours(lab: &mut Lab, fstype: &str) -> Result<Turn<'static>> {
    let mut client = Client::connect(&lab.fleet().with(0)?.plugin("loop"))?;
    let name = format!("mount-{fstype}");
    let opts = format!(r#"{{"size":"1GiB","fsType":"{fstype}"}}"#);
    client.send(&Request::plugin("Create", &format!(r#"{{"Name":"{name}","Opts":{opts}}}"#)))?;
    let body = format!(r#"{{"Name":"{name}","ID":"bench"}}"#);
    let (mount, unmount) = (Request::plugin("Mount", &body), Request::plugin("Unmount", &body));
    Ok(Box::new(move || {
        let start = Instant::now();
        client.send(&mount)?;
        client.send(&unmount)?;
        Ok(vec![MS.of(start.elapsed())])
    }))
}

fn raw(lab: &Lab, fstype: &'static str) -> Result<Turn<'static>> {
    let (image, target) = (lab.dir.join(format!("raw-{fstype}")), lab.make_dir("target")?);
    make_image(&image, GIB)?;
    make_filesystem(&image, fstype)?;
    Ok(Box::new(move || {
        let start = Instant::now();
        let device = LoopDevice::attach(&image)?;
        kernel::mount(&device.path, &target, fstype)?;
        kernel::unmount(&target)?;
        drop(device);
        Ok(vec![MS.of(start.elapsed())])
    }))
}

/// mkfs with the arguments that volumes are made with.
pub(super) fn make_filesystem(image: &Path, fstype: &str) -> Result<()> {
    let program: PathBuf = program::get(&format!("mkfs.{fstype}"))?;
    let arguments: &[&str] = match fstype {
        "ext4" => &[
            "-q",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
            "-O",
            "metadata_csum_seed",
        ],
        _ => &["-q", "-K"],
    };
    program::run(program::command(program).args(arguments).arg(image), b"").map(drop)
}
