//! The agent itself: how soon it is there, what it weighs.

use crate::bench::contest::{Contest, Turn, once};
use crate::bench::daemon::Agent;
use crate::bench::http::{Client, Request};
use crate::bench::lab::Lab;
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use error::{IoContext, Result};
use std::cell::RefCell;
use std::time::Duration;

const MIB: Unit = Unit::Mebibytes;
const MS: Unit = Unit::Milliseconds;

/// Start, memory and size.
pub(super) fn agent(lab: &mut Lab, report: &mut Report) -> Result<()> {
    idle(lab, report)?;
    let volumes = lab.scale.volumes[2];
    let list = |agent: &Agent| -> Result<f64> {
        Client::connect(&agent.plugin("local"))?.send(&Request::plugin("List", "{}"))?;
        agent.memory(MIB)
    };
    let grown = list(lab.fleet().with(volumes)?)?;
    start(lab, report)?;
    let fresh = list(lab.fleet().restart()?)?;
    for (what, memory) in [("after a List", fresh), ("having created them", grown)] {
        let name = format!("memory, {volumes} volumes, {what}");
        report.add(Row::new(name, MIB, &once(memory, None)?).target(Target::AtMost(40.0)));
    }
    let size = std::fs::metadata(&lab.program).doing(|| "look at the program")?.len();
    let size = once(MIB.of_bytes(size), None)?;
    report.add(Row::new("program", MIB, &size).target(Target::AtMost(20.0)));
    Ok(())
}

fn idle(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let agent = Agent::start(&lab.program, &lab.make_dir("idle")?)?;
    // Past the work of the start.
    std::thread::sleep(Duration::from_secs(1));
    let memory = once(agent.memory(MIB)?, None)?;
    report.add(Row::new("memory, idle", MIB, &memory).target(Target::AtMost(12.0)));
    Ok(())
}

fn start(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let (volumes, rounds) = (lab.scale.volumes[2], lab.scale.slow.min(20));
    let peer = lab.engine()?.map(|engine| MS.of(engine.answered));
    let answered = RefCell::new(Vec::new());
    let fleet = lab.fleet();
    let ours: Turn<'_> = Box::new(|| {
        let agent = fleet.restart()?;
        answered.borrow_mut().push(MS.of(agent.answered));
        Ok(vec![MS.of(agent.connected)])
    });
    let connected = Contest { ours, peer: None, raw: None }.run(rounds)?;
    let name = format!("start to connection, {volumes} volumes");
    report.add(Row::new(name, MS, &connected).target(Target::Below(50.0)));

    // Each start is one sample of both.
    let mut answered = answered.into_inner().into_iter();
    let ours: Turn<'_> = Box::new(move || Ok(answered.next().into_iter().collect()));
    let peer: Option<Turn<'_>> = peer.map(|peer| -> Turn<'_> { Box::new(move || Ok(vec![peer])) });
    let answered = Contest { ours, peer, raw: None }.run(rounds)?;
    let row = Row::new(format!("start to answer, {volumes} volumes"), MS, &answered);
    report.add(row.peer("dockerd without volumes, started once"));
    Ok(())
}
