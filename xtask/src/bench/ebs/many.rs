//! Many volumes attached and mounted at once, by several clients; beside it, the same volumes attached
//! by as many plain connections: the simulator has one lock, and attaches one volume at a time.

use super::account::Account;
use super::bed::{Bed, Cloud, INSTANCE};
use super::mount::timed;
use crate::bench::contest::values;
use crate::bench::http::{Client, Request};
use crate::bench::report::{Report, Row};
use crate::bench::stats::Unit;
use error::{Error, Result};
use std::sync::Barrier;
use std::time::Instant;

const MS: Unit = Unit::Milliseconds;
/// How many clients there are.
const CLIENTS: usize = 10;

/// All of it.
pub(super) fn many(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let (scale, cloud) = (bed.scale, bed.cloud("many", true)?);
    let count = scale.crowd;
    let socket = cloud.plugin();
    let everybody = |call: &str| {
        at_once(
            count,
            || Client::connect(&socket),
            |client, number| {
                let body = format!(r#"{{"Name":"v{number}","ID":"bench"}}"#);
                client.send(&Request::plugin(call, &body)).map(drop)
            },
        )
    };
    // The first mount makes the file system.
    for call in ["Create", "Mount", "Unmount"] {
        everybody(call)?;
    }
    let (mut ours, mut each, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.slow {
        let (wall, latencies) = everybody("Mount")?;
        ours.push(wall);
        each.extend(latencies);
        everybody("Unmount")?;
        plain.push(simulator(&cloud)?);
    }
    let mut add = |name: String, samples| -> Result<()> {
        report.add(Row::new(name, MS, &values(samples, Vec::new())?));
        Ok(())
    };
    add(format!("Mount of {count} volumes, {CLIENTS} clients: all"), ours)?;
    add(format!("Mount of {count} volumes, {CLIENTS} clients: each"), each)?;
    add(format!("the simulator alone: AttachVolume of {count}, {CLIENTS} clients"), plain)
}

/// Attaches all volumes by plain calls, which is timed, and detaches them.
fn simulator(cloud: &Cloud) -> Result<f64> {
    let volumes = cloud.account()?.volumes()?;
    let both = |account: &mut Account, number: usize, change: &str, wanted: &str| {
        let (volume, device) = (volumes[number].as_str(), device(number));
        let attach = [("VolumeId", volume), ("InstanceId", INSTANCE), ("Device", &*device)];
        let what = if change == "AttachVolume" { &attach[..] } else { &attach[..1] };
        let change = account.signed(change, what)?;
        let look = account.signed("DescribeVolumes", &[("VolumeId.1", volume)])?;
        account.until(&change, &look, wanted)
    };
    let connect = || cloud.account();
    let attach = |account: &mut _, number| {
        both(account, number, "AttachVolume", "<status>attached</status>")
    };
    let detach = |account: &mut _, number| {
        both(account, number, "DetachVolume", "<status>available</status>")
    };
    let (took, _) = at_once(volumes.len(), connect, attach)?;
    at_once(volumes.len(), connect, detach)?;
    Ok(took)
}

/// `/dev/xvdaa`, `/dev/xvdab` …
fn device(number: usize) -> String {
    let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
    format!("/dev/xvd{}{}", letter(number / 26), letter(number))
}

/// Does `work` with each number below `count`, on some connections at once; how long all of it took,
/// and each.
fn at_once<C>(
    count: usize,
    connect: impl Fn() -> Result<C> + Sync,
    work: impl Fn(&mut C, usize) -> Result<()> + Sync,
) -> Result<(f64, Vec<f64>)> {
    let start = Barrier::new(CLIENTS + 1);
    let client = |first: usize| -> Result<Vec<f64>> {
        let connected = connect();
        start.wait();
        let mut connected = connected?;
        let own = (first..count).step_by(CLIENTS);
        own.map(|number| timed(|| work(&mut connected, number))).collect()
    };
    std::thread::scope(|scope| {
        let client = &client;
        let threads: Vec<_> =
            (0..CLIENTS).map(|first| scope.spawn(move || client(first))).collect();
        start.wait();
        let begun = Instant::now();
        let mut each = Vec::new();
        for thread in threads {
            let joined = thread.join().map_err(|_| Error::internal("a client panicked"))?;
            each.extend(joined?);
        }
        Ok((MS.of(begun.elapsed()), each))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_number_is_worked_on_once() {
        let seen = Mutex::new(Vec::new());
        let work = |_: &mut (), number| {
            seen.lock().unwrap().push(number);
            Ok(())
        };
        let (_, each) = at_once(23, || Ok(()), work).unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..23).collect::<Vec<_>>());
        assert_eq!(each.len(), 23);
    }

    #[test]
    fn a_client_without_connection_ends_the_run() {
        let connect = || -> Result<()> { Err(Error::internal("refused")) };
        assert!(at_once(3, connect, |(), _| Ok(())).is_err());
    }

    #[test]
    fn devices_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = (0..100).map(device).collect();
        assert_eq!(names.len(), 100);
        assert!(names.contains("/dev/xvdaa") && names.contains("/dev/xvddv"));
    }
}
