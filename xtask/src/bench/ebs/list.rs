//! Very many volumes: how long a list takes, how many calls, and what the agent weighs then. Beside it
//! the same pages, read by plain calls: what the simulator takes.

use super::account::{Account, element};
use super::bed::Bed;
use super::mount::timed;
use crate::bench::contest::{once, values};
use crate::bench::fleet;
use crate::bench::http::{Client, Request};
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use error::{Error, Result};
use std::time::Duration;

/// Volumes of a page.
const PAGE: usize = 500;
/// By then the agent has been at rest for once, and has given back what it had freed.
const REST: Duration = Duration::from_secs(12);

/// All of it. There are no disks: nothing is attached.
pub(super) fn list(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let volumes = bed.scale.listed;
    let cloud = bed.cloud("list", false)?;
    fleet::create(&cloud.plugin(), 0..volumes, |name| {
        Request::plugin("Create", &format!(r#"{{"Name":"{name}"}}"#))
    })?;
    let cloud = cloud.restart()?;
    let (mut client, mut account) = (Client::connect(&cloud.plugin())?, cloud.account()?);
    let request = Request::plugin("List", "{}");
    client.send(&request)?;
    let once_listed = cloud.agent.memory(Unit::Mebibytes)?;
    let (mut ours, mut plain, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bed.scale.rounds {
        account.forget_calls()?;
        ours.push(timed(|| client.send(&request).map(drop))?);
        calls.push(f64::from(u32::try_from(account.calls()?).unwrap_or(u32::MAX)));
        plain.push(timed(|| pages(&mut account, volumes))?);
    }
    let often_listed = cloud.agent.memory(Unit::Mebibytes)?;
    std::thread::sleep(REST);
    let rested = cloud.agent.memory(Unit::Mebibytes)?;
    let (ms, name) = (Unit::Milliseconds, format!("List, {volumes} volumes"));
    let listed = values(ours, Vec::new())?;
    report.add(Row::new(&name, ms, &listed).target(Target::Below(100.0)));
    let plain = values(plain, Vec::new())?;
    report.add(Row::new("of it the simulator: the same pages by plain calls", ms, &plain));
    let most = u32::try_from(volumes.div_ceil(PAGE)).unwrap_or(u32::MAX);
    let row = Row::new(format!("calls: {name}"), Unit::Calls, &values(calls, Vec::new())?);
    report.add(row.target(Target::AtMost(most.into())));
    let lists = bed.scale.rounds + 1;
    let memory = [
        ("a List".to_owned(), once_listed, Target::Below(40.0)),
        (format!("{lists} Lists at once"), often_listed, Target::None),
        (format!("{lists} Lists and {} s of rest", REST.as_secs()), rested, Target::Below(40.0)),
    ];
    for (when, memory, target) in memory {
        let name = format!("memory, {volumes} volumes, after {when}");
        report.add(Row::new(name, Unit::Mebibytes, &once(memory, None)?).target(target));
    }
    Ok(())
}

/// Reads all pages of the volumes that are ours.
fn pages(account: &mut Account, volumes: usize) -> Result<()> {
    let (size, mut seen, mut token) = (PAGE.to_string(), 0, None::<String>);
    loop {
        let mut parameters = vec![
            ("Filter.1.Name", "tag-key"),
            ("Filter.1.Value.1", "mobula:record"),
            ("MaxResults", &size),
        ];
        parameters.extend(token.as_deref().map(|token| ("NextToken", token)));
        let answer = account.call("DescribeVolumes", &parameters)?;
        seen += answer.matches("<volumeId>").count();
        token = element(&answer, "nextToken").map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    if seen == volumes {
        return Ok(());
    }
    Err(Error::internal(format!("there are {seen} volumes, not {volumes}")))
}
