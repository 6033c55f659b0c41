//! Snapshots of a volume of driver loop with data in it, on a state directory that can share blocks.

use crate::bench::contest::{Contest, Turn};
use crate::bench::http::{Client, Request};
use crate::bench::kernel;
use crate::bench::lab::Lab;
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use error::{Error, IoContext, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MS: Unit = Unit::Milliseconds;
const VOLUME: &str = r#"{"Name":"data","ID":"bench"}"#;

/// How long to wait before each: snapshots do not come one upon another, and a freeze that soon
/// follows another is spared the wait for the kernel's readers.
const PAUSE: Duration = Duration::from_millis(100);

/// Of a volume that is not mounted, and of one that is.
pub(super) fn snapshot(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let scale = lab.scale;
    let (agent, dir) = lab.xfs()?;
    let (plugin, control) = (agent.plugin("loop"), agent.control());
    let (image, copy) = (agent.volumes("loop").join("data/image"), dir.join("copy"));
    let mut client = Client::connect(&plugin)?;
    let create = r#"{"Name":"data","Opts":{"size":"1GiB","fsType":"ext4"}}"#;
    client.send(&Request::plugin("Create", create))?;
    fill(&mount(&mut client)?.join("data"), scale.written)?;
    client.send(&Request::plugin("Unmount", VOLUME))?;
    let name = |state| format!("snapshot, 1 GiB with {} MB, {state}", scale.written / 1_000_000);

    let raw: Turn<'_> = Box::new(|| timed(|| kernel::clone_file(&image, &copy), &copy));
    let measured =
        Contest { ours: taking(&control)?, peer: None, raw: Some(raw) }.run(scale.slow)?;
    let row = Row::new(name("not mounted"), MS, &measured).raw("FICLONE of the image");
    report.add(row.target(Target::Below(3.0)));

    let mountpoint = mount(&mut client)?;
    let freeze_and_clone = || kernel::frozen(&mountpoint, || kernel::clone_file(&image, &copy));
    let raw: Turn<'_> = Box::new(|| timed(freeze_and_clone, &copy));
    let measured =
        Contest { ours: taking(&control)?, peer: None, raw: Some(raw) }.run(scale.slow)?;
    let row = Row::new(name("mounted"), MS, &measured).raw("FIFREEZE, FICLONE and FITHAW");
    report.add(row.target(Target::Below(3.0)));
    client.send(&Request::plugin("Unmount", VOLUME)).map(drop)
}

/// Does `work` after the pause and removes the `copy` that it made; answers how long it took.
fn timed(work: impl FnOnce() -> Result<()>, copy: &Path) -> Result<Vec<f64>> {
    std::thread::sleep(PAUSE);
    let start = Instant::now();
    work()?;
    let took = MS.of(start.elapsed());
    std::fs::remove_file(copy).doing(|| format!("remove {}", copy.display()))?;
    Ok(vec![took])
}

fn mount(client: &mut Client) -> Result<PathBuf> {
    let answer = client.send(&Request::plugin("Mount", VOLUME))?;
    let answer: serde_json::Value = serde_json::from_slice(answer)
        .map_err(|source| Error::internal("the answer to Mount is not JSON").because(source))?;
    let mountpoint = answer["Mountpoint"].as_str();
    mountpoint.map(PathBuf::from).ok_or_else(|| Error::internal("Mount named no mountpoint"))
}

/// Writes `bytes` that are not zero, to the disk.
fn fill(path: &Path, bytes: usize) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        let part: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 2]).collect();
        (0..bytes / part.len()).try_for_each(|_| file.write_all(&part))?;
        file.sync_all()
    };
    write().doing(|| format!("fill {}", path.display()))
}

/// Turns that take a snapshot, which is timed, and delete it, which is not.
fn taking(control: &Path) -> Result<Turn<'static>> {
    let mut client = Client::connect(control)?;
    let body = r#"{"service":"loop","volume":"data","name":"shot"}"#;
    let take = Request::new("POST", "/v1/snapshots", body);
    let delete = Request::new("DELETE", "/v1/services/loop/snapshots/shot", "");
    Ok(Box::new(move || {
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        client.send(&take)?;
        let took = MS.of(start.elapsed());
        client.send(&delete)?;
        Ok(vec![took])
    }))
}
