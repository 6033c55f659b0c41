//! Large plugins that are installed and created with Docker's command line.

use super::bed::{Bed, Pair};
use super::contender::Contender;
use super::life::timed;
use super::process;
use crate::bench::contest::{Measured, values};
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use error::Result;
use std::cell::RefCell;

const MS: Unit = Unit::Milliseconds;

/// `docker plugin install`: pulled, unpacked and enabled. With the largest, the memory it takes.
pub(super) fn install(bed: &mut Bed, report: &mut Report) -> Result<()> {
    bed.with(|bed, pair| {
        let scale = bed.scale;
        for megabytes in scale.sizes {
            let label = format!("size{megabytes}");
            let dir = bed.image(&label, megabytes)?;
            let name = bed.publish(&pair.ours, &label, &dir)?;
            let (took, peaks) = installs(pair, scale.slow, &name)?;
            let row = Row::new(format!("install, {megabytes} MB"), MS, &took).peer("dockerd");
            report.add(row.target(Target::OfPeer(0.5)));
            if megabytes == scale.sizes[1] {
                let what = format!("peak memory of an install, {megabytes} MB");
                let row =
                    Row::new(what, Unit::Mebibytes, &peaks).peer("dockerd without containerd");
                report.add(row.target(Target::Below(40.0)));
            }
        }
        Ok(())
    })
}

/// Times, and what the engine had resident at most.
fn installs(pair: &Pair, rounds: usize, name: &str) -> Result<(Measured, Measured)> {
    let peaks = RefCell::new([Vec::new(), Vec::new()]);
    let took = pair.measure(0, rounds, |one| {
        process::forget_peak(one.pid())?;
        let took = timed(|| one.cli(&["install", "--grant-all-permissions", name]))?;
        let is_peer = std::ptr::from_ref(one) != &raw const pair.ours;
        peaks.borrow_mut()[usize::from(is_peer)].push(process::peak(one.pid())?);
        one.remove(name)?;
        one.settle()?;
        Ok(took)
    })?;
    let [ours, peer] = peaks.into_inner();
    Ok((took, values(ours, peer)?))
}

/// `docker plugin create` of the largest.
pub(super) fn create(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let megabytes = bed.scale.sizes[1];
    let dir = bed.image(&format!("size{megabytes}"), megabytes)?;
    bed.with(|bed, pair| {
        let turn = |one: &Contender| {
            let took = timed(|| one.create("bench/create:latest", &dir))?;
            one.remove("bench/create:latest")?;
            one.settle()?;
            Ok(took)
        };
        let measured = pair.measure(0, bed.scale.heavy, turn)?;
        let row = Row::new(format!("create, {megabytes} MB"), MS, &measured).peer("dockerd");
        report.add(row.target(Target::OfPeer(1.0 / 3.0)));
        Ok(())
    })
}
