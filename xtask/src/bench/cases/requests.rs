//! Get, List, and creation of local volumes: ours through Docker's plugin protocol, the peer through
//! its own API.

use crate::bench::contest::{Contest, Turn, echo, latency, rate};
use crate::bench::fleet::name;
use crate::bench::http::Request;
use crate::bench::lab::Lab;
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use error::Result;
use std::path::PathBuf;

/// How many connections work at once.
const CLIENTS: [usize; 3] = [1, 8, 32];

/// The latency of Get at growing numbers of volumes, and its rate with growing numbers of clients.
pub(super) fn get(lab: &mut Lab, report: &mut Report) -> Result<()> {
    for volumes in lab.scale.volumes {
        let (ours, peer) = sockets(lab, volumes)?;
        let contest = Contest {
            ours: latency(&ours, gets(lab.scale.requests, volumes), Unit::Microseconds)?,
            peer: peer.map(|peer| peer_latency(lab, &peer, volumes)).transpose()?,
            raw: Some(echo(gets(lab.scale.requests, volumes), Unit::Microseconds)?),
        };
        let measured = contest.run(lab.scale.rounds)?;
        let row = Row::new(format!("Get, {volumes} volumes"), Unit::Microseconds, &measured);
        let row = row.peer(PEER_GET).raw("the same with a thread that has its answer ready");
        report.add(row.target(Target::AtMost(60.0)));
    }
    rates(lab, report)
}

const PEER_GET: &str = "dockerd's GET /volumes/NAME, of at most 1000 volumes";

fn peer_latency(lab: &Lab, peer: &std::path::Path, volumes: usize) -> Result<Turn<'static>> {
    latency(peer, peer_gets(lab.scale.requests, volumes), Unit::Microseconds)
}

fn rates(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let volumes = lab.scale.volumes[1];
    let (ours, peer) = sockets(lab, volumes)?;
    let (requests, mut alone) = (lab.scale.requests, None);
    for clients in CLIENTS {
        let each = requests * 8 / clients;
        let contest = Contest {
            ours: rate(&ours, clients, 1, |_| gets(each, volumes)),
            peer: peer.as_deref().map(|p| rate(p, clients, 1, |_| peer_gets(each, volumes))),
            raw: None,
        };
        let measured = contest.run(lab.scale.rounds)?;
        let plural = if clients == 1 { "client" } else { "clients" };
        let row = Row::new(format!("Get, {clients} {plural}"), Unit::Rate, &measured);
        let target = alone.map_or(Target::None, Target::MoreThan);
        alone = alone.or(Some(row.ours.p50));
        report.add(row.peer(PEER_GET).target(target));
    }
    Ok(())
}

/// Everything at once.
pub(super) fn list(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let volumes = lab.scale.volumes[2];
    let (ours, peer) = sockets(lab, volumes)?;
    let unit = Unit::Milliseconds;
    let all = |request: Request| vec![request; 5];
    let contest = Contest {
        ours: latency(&ours, all(Request::plugin("List", "{}")), unit)?,
        peer: peer
            .map(|p| latency(&p, all(Request::new("GET", "/volumes", "")), unit))
            .transpose()?,
        raw: None,
    };
    let measured = contest.run(lab.scale.rounds)?;
    let row = Row::new(format!("List, {volumes} volumes"), unit, &measured);
    report.add(
        row.peer("dockerd's GET /volumes, of at most 1000 volumes").target(Target::AtMost(10.0)),
    );
    Ok(())
}

/// Creating and removing local volumes: on the disk before it is acknowledged.
pub(super) fn create(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let (ours, peer) = sockets(lab, 0)?;
    for clients in [1, 32] {
        let pairs = (lab.scale.requests / 10 / clients).max(2);
        let contest = Contest {
            ours: rate(&ours, clients, 2, |client| our_pairs(client, pairs)),
            peer: peer.as_deref().map(|p| rate(p, clients, 2, |client| peer_pairs(client, pairs))),
            raw: None,
        };
        let measured = contest.run(lab.scale.rounds)?;
        let plural = if clients == 1 { "client" } else { "clients" };
        let what = format!("create and remove, local, {clients} {plural}");
        let row = Row::new(what, Unit::Rate, &measured).peer("dockerd's volumes of driver local");
        report.add(row.target(Target::TimesPeer(2.0)));
    }
    Ok(())
}

fn sockets(lab: &mut Lab, volumes: usize) -> Result<(PathBuf, Option<PathBuf>)> {
    let ours = lab.fleet().with(volumes)?.plugin("local");
    Ok((ours, lab.peer(volumes)?))
}

fn gets(count: usize, volumes: usize) -> Vec<Request> {
    let get = |number: usize| format!(r#"{{"Name":"{}"}}"#, name(spread(number, volumes)));
    (0..count).map(|number| Request::plugin("Get", &get(number))).collect()
}

fn peer_gets(count: usize, volumes: usize) -> Vec<Request> {
    let volumes = volumes.min(crate::bench::lab::Scale::MOST_OF_PEER);
    let path = |number: usize| format!("/volumes/{}", name(spread(number, volumes)));
    (0..count).map(|number| Request::new("GET", &path(number), "")).collect()
}

/// Volumes from all over the fleet.
fn spread(number: usize, volumes: usize) -> usize {
    number * 7919 % volumes
}

fn our_pairs(client: usize, pairs: usize) -> Vec<Request> {
    let body = |pair: usize| format!(r#"{{"Name":"new-{client}-{pair}"}}"#);
    let both = |pair| ["Create", "Remove"].map(|call| Request::plugin(call, &body(pair)));
    (0..pairs).flat_map(both).collect()
}

fn peer_pairs(client: usize, pairs: usize) -> Vec<Request> {
    let both = |pair: usize| {
        let name = format!("new-{client}-{pair}");
        let body = format!(r#"{{"Name":"{name}","Driver":"local"}}"#);
        [
            Request::new("POST", "/volumes/create", &body),
            Request::new("DELETE", &format!("/volumes/{name}"), ""),
        ]
    };
    (0..pairs).flat_map(both).collect()
}
