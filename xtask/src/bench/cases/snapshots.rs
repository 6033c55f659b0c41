//! Snapshots of a volume of driver loop with data in it, on a state directory that can share blocks.

use super::images::clone_once;
use crate::bench::contest::{Contest, Turn};
use crate::bench::http::{Client, Request};
use crate::bench::lab::Lab;
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use error::{Error, IoContext, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

const MS: Unit = Unit::Milliseconds;
const VOLUME: &str = r#"{"Name":"data","ID":"bench"}"#;

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
    for mounted in [false, true] {
        if mounted {
            mount(&mut client)?;
        }
        let raw: Turn<'_> = Box::new(|| clone_once(&image, &copy));
        let contest = Contest { ours: taking(&control)?, peer: None, raw: Some(raw) };
        let measured = contest.run(scale.slow)?;
        let state = if mounted { "mounted" } else { "not mounted" };
        let megabytes = scale.written / 1_000_000;
        let name = format!("snapshot, 1 GiB with {megabytes} MB, {state}");
        let row = Row::new(name, MS, &measured).raw("FICLONE of the image");
        report.add(row.target(Target::Below(3.0)));
    }
    client.send(&Request::plugin("Unmount", VOLUME)).map(drop)
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
        let start = Instant::now();
        client.send(&take)?;
        let took = MS.of(start.elapsed());
        client.send(&delete)?;
        Ok(vec![took])
    }))
}
