//! Creating volumes of driver loop: by mkfs, and from a template where files can share blocks.

use super::mounts::make_filesystem;
use crate::bench::contest::{Contest, Turn, once};
use crate::bench::http::{Client, Request};
use crate::bench::kernel;
use crate::bench::lab::{Lab, make_image};
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use crate::program;
use error::{IoContext, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

const MS: Unit = Unit::Milliseconds;
const GIB: u64 = 1 << 30;

/// A new file system where nothing can be cloned, and the space it takes.
pub(super) fn mkfs(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let socket = lab.fleet().with(0)?.plugin("loop");
    let image = lab.dir.join("mkfs");
    let raw: Turn<'_> = Box::new(|| {
        let start = Instant::now();
        make_image(&image, 10 * GIB)?;
        make_filesystem(&image, "ext4")?;
        let took = MS.of(start.elapsed());
        remove(&image)?;
        Ok(vec![took])
    });
    let contest = Contest { ours: creation(&socket, "ext4")?, peer: None, raw: Some(raw) };
    let measured = contest.run(lab.scale.slow / 2)?;
    let row = Row::new("create, loop, 10 GiB, ext4", MS, &measured);
    report.add(row.raw("mkfs.ext4 with the same arguments").target(Target::TimesRaw(1.2)));
    space(lab, report)
}

fn space(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let agent = lab.fleet().with(0)?;
    let volume = agent.volumes("loop").join("space/image");
    let mut client = Client::connect(&agent.plugin("loop"))?;
    client.send(&create("space", "100GiB", "ext4"))?;
    let ours = allocated(&volume)?;
    client.send(&Request::plugin("Remove", r#"{"Name":"space"}"#))?;

    let image = lab.dir.join("space");
    make_image(&image, 100 * GIB)?;
    program::run(program::command(program::get("mkfs.ext4")?).arg("-q").arg(&image), b"")?;
    let peer = allocated(&image)?;
    remove(&image)?;
    let measured = once(ours, Some(peer))?;
    let row = Row::new("host space of a 100 GiB ext4 volume", Unit::Megabytes, &measured);
    report.add(row.peer("mkfs.ext4 with its own defaults").target(Target::Below(10.0)));
    Ok(())
}

/// A new volume where the state directory can share blocks: every one but the first.
pub(super) fn template(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let rounds = lab.scale.slow;
    for fstype in ["ext4", "xfs"] {
        let (agent, dir) = lab.xfs()?;
        let (image, copy) = (dir.join(format!("template-{fstype}")), dir.join("copy"));
        make_image(&image, 10 * GIB)?;
        make_filesystem(&image, fstype)?;
        let raw: Turn<'_> = Box::new(move || clone_once(&image, &copy));
        let ours = creation(&agent.plugin("loop"), fstype)?;
        let measured = Contest { ours, peer: None, raw: Some(raw) }.run(rounds)?;
        let row = Row::new(format!("create from template, 10 GiB, {fstype}"), MS, &measured);
        report.add(row.raw("FICLONE of such an image").target(Target::Below(10.0)));
    }
    Ok(())
}

/// Clones an image; answers how long that took.
fn clone_once(image: &Path, copy: &Path) -> Result<Vec<f64>> {
    let start = Instant::now();
    kernel::clone_file(image, copy)?;
    let took = MS.of(start.elapsed());
    remove(copy)?;
    Ok(vec![took])
}

/// Turns that create a volume, which is timed, and remove it, which is not.
fn creation(socket: &Path, fstype: &str) -> Result<Turn<'static>> {
    let mut client = Client::connect(socket)?;
    let request = create("new", "10GiB", fstype);
    let remove = Request::plugin("Remove", r#"{"Name":"new"}"#);
    Ok(Box::new(move || {
        let start = Instant::now();
        client.send(&request)?;
        let took = MS.of(start.elapsed());
        client.send(&remove)?;
        Ok(vec![took])
    }))
}

fn create(name: &str, size: &str, fstype: &str) -> Request {
    let opts = format!(r#"{{"size":"{size}","fsType":"{fstype}"}}"#);
    Request::plugin("Create", &format!(r#"{{"Name":"{name}","Opts":{opts}}}"#))
}

/// The space that a file takes (stat(2), blocks of 512 bytes).
fn allocated(path: &Path) -> Result<f64> {
    let found = std::fs::metadata(path).doing(|| format!("look at {}", path.display()))?;
    Ok(Unit::Megabytes.of_bytes(found.blocks() * 512))
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).doing(|| format!("remove {}", path.display()))
}
