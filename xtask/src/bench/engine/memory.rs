//! Engines at rest, and with many plugins: what they weigh, and how fast they list and start them.

use super::bed::{Bed, Pair};
use super::contender::Contender;
use super::life::timed;
use super::process;
use crate::bench::contest::{Contest, latency, values};
use crate::bench::http::Request;
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use error::{Error, Result};
use std::time::Duration;

const MIB: Unit = Unit::Mebibytes;
/// How many are enabled at once.
const AT_ONCE: usize = 8;
/// After this, an engine is at rest.
const REST: Duration = Duration::from_secs(2);

/// What an engine without plugins weighs.
pub(super) fn idle(bed: &mut Bed, report: &mut Report) -> Result<()> {
    bed.with(|_, pair| {
        std::thread::sleep(REST);
        let memory = pair.measure(0, 1, |one| process::resident(&one.processes()?))?;
        let row = Row::new("memory, idle", MIB, &memory).peer("dockerd with its containerd");
        report.add(row.target(Target::AtMost(15.0)));
        Ok(())
    })
}

/// Many small plugins, of distinct content: dockerd knows plugins of the same content as one.
pub(super) fn many(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let plugins = bed.scale.plugins;
    bed.with(|bed, pair| {
        for number in 0..plugins {
            let dir = bed.image(&format!("m{number}"), 0)?;
            for one in pair.both() {
                one.create(&name(number), &dir)?;
            }
        }
        std::thread::sleep(REST);
        let before = weigh(pair)?;
        enable(pair, bed.scale.slow, plugins, report)?;
        std::thread::sleep(REST);
        let after = weigh(pair)?;
        let each = |at: usize| -> Vec<f64> {
            let pairs = before[at].iter().zip(&after[at]);
            pairs.map(|(before, after)| (after - before) / number(plugins)).collect()
        };
        let row = Row::new("memory more per enabled plugin", MIB, &values(each(0), each(1))?);
        report.add(row.peer("dockerd, its containerd and shims").target(Target::AtMost(2.0)));
        list(pair, bed.scale.requests, plugins, report)?;
        for one in pair.both() {
            all_at_once(plugins, &|name| one.disable(name))?;
        }
        Ok(())
    })
}

/// What the processes of each weigh, the plugins' own left out.
fn weigh(pair: &Pair) -> Result<[Vec<f64>; 2]> {
    let weigh = |one: &Contender| process::proportional(&one.processes()?);
    Ok([vec![weigh(&pair.ours)?], pair.peer.iter().map(weigh).collect::<Result<_>>()?])
}

/// Enables all; they are enabled when this ends.
fn enable(pair: &Pair, rounds: usize, plugins: usize, report: &mut Report) -> Result<()> {
    let first = std::cell::Cell::new(pair.both().count());
    let measured = pair.measure(0, rounds, |one| {
        if first.get() == 0 {
            all_at_once(plugins, &|name| one.disable(name))?;
        } else {
            first.set(first.get() - 1);
        }
        timed(|| all_at_once(plugins, &|name| one.enable(name)))
    })?;
    let what = format!("enable {plugins} plugins, {AT_ONCE} at once");
    let row = Row::new(what, Unit::Milliseconds, &measured).peer("dockerd");
    report.add(row.target(Target::AtMost(2000.0)));
    Ok(())
}

fn list(pair: &Pair, requests: usize, plugins: usize, report: &mut Report) -> Result<()> {
    let unit = Unit::Milliseconds;
    let turn = |one: &Contender| {
        latency(&one.socket, vec![Request::new("GET", "/v1.41/plugins", ""); requests], unit)
    };
    let contest = Contest {
        ours: turn(&pair.ours)?,
        peer: pair.peer.as_ref().map(turn).transpose()?,
        raw: None,
    };
    let what = format!("GET /plugins, {plugins} plugins");
    let row = Row::new(what, unit, &contest.run(5)?).peer("dockerd");
    report.add(row.target(Target::Below(1.0)));
    Ok(())
}

/// Does it with every plugin, some at once.
fn all_at_once(plugins: usize, work: &(impl Fn(&str) -> Result<()> + Sync)) -> Result<()> {
    let worker =
        |first: usize| (first..plugins).step_by(AT_ONCE).try_for_each(|number| work(&name(number)));
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..AT_ONCE).map(|first| scope.spawn(move || worker(first))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| Error::internal("a client panicked"))?
        })
    })
}

fn name(number: usize) -> String {
    format!("bench/m{number}:latest")
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
