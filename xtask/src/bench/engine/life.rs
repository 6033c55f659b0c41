//! A plugin that is enabled, disabled, and killed.

use super::bed::{Bed, Pair};
use super::contender::Contender;
use crate::bench::http::{Client, Request};
use crate::bench::kernel;
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use error::{Error, IoContext, Result};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const MS: Unit = Unit::Milliseconds;
const NAME: &str = "bench/life:latest";
/// How long dockerd goes on waiting after a plugin that it started again answers.
const PAUSE: Duration = Duration::from_millis(700);
/// How often a plugin that was killed is tried.
const TRY: Duration = Duration::from_micros(200);
/// How long it may take to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// All of it, with a small plugin.
pub(super) fn life(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let dir = bed.image("small", 0)?;
    bed.with(|bed, pair| {
        for one in pair.both() {
            one.create(NAME, &dir)?;
        }
        let rounds = bed.scale.rounds;
        enable(pair, rounds, report)?;
        disable(pair, rounds, report)?;
        killed(pair, rounds, report)
    })
}

fn enable(pair: &Pair, rounds: usize, report: &mut Report) -> Result<()> {
    let measured = pair.measure(1, rounds, |one| {
        let took = timed(|| one.enable(NAME))?;
        one.disable(NAME)?;
        Ok(took)
    })?;
    let row = Row::new("enable", MS, &measured).peer("dockerd");
    report.add(row.target(Target::OfPeer(0.2)));
    Ok(())
}

fn disable(pair: &Pair, rounds: usize, report: &mut Report) -> Result<()> {
    let measured = pair.measure(1, rounds, |one| {
        one.enable(NAME)?;
        timed(|| one.disable(NAME))
    })?;
    let row = Row::new("disable", MS, &measured).peer("dockerd");
    report.add(row.target(Target::OfPeer(1.0)));
    Ok(())
}

fn killed(pair: &Pair, rounds: usize, report: &mut Report) -> Result<()> {
    let measured = pair.measure(1, rounds, |one| {
        one.enable(NAME)?;
        let took = revival(one)?;
        std::thread::sleep(PAUSE);
        one.disable(NAME)?;
        Ok(took)
    })?;
    let row = Row::new("SIGKILL of the plugin until it answers", MS, &measured).peer("dockerd");
    report.add(row.target(Target::AtMost(150.0)));
    Ok(())
}

/// Kills the plugin; how long it takes until another process answers at its socket.
fn revival(one: &Contender) -> Result<f64> {
    let socket = one.plugin(&one.id(NAME)?);
    let old = kernel::peer(&connect(&socket)?).doing(|| "find the plugin's process")?;
    let start = Instant::now();
    kernel::kill(old);
    while start.elapsed() < PATIENCE {
        if is_another(&socket, old).unwrap_or(false) {
            return Ok(MS.of(start.elapsed()));
        }
        std::thread::sleep(TRY);
    }
    Err(Error::deadline_exceeded("a plugin that was killed does not come back"))
}

fn is_another(socket: &Path, old: i32) -> Result<bool> {
    let stream = connect(socket)?;
    let peer = kernel::peer(&stream).doing(|| "find the plugin's process")?;
    if peer == old {
        return Ok(false);
    }
    Client::over(stream, socket).send(&Request::plugin("List", "{}")).map(|_| true)
}

fn connect(socket: &Path) -> Result<UnixStream> {
    UnixStream::connect(socket).doing(|| format!("connect to {}", socket.display()))
}

/// How long `work` takes.
pub(super) fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(MS.of(start.elapsed()))
}
