//! How many calls of AWS's API an operation makes, counted by the simulator; and how many others make,
//! by their source: aws-ebs-csi-driver 1.64 (`pkg/cloud/cloud.go`, `pkg/driver/controller.go`) and
//! REX-Ray 0.11 (`libstorage/drivers/storage/ebs/storage/ebs_storage.go`,
//! `libstorage/drivers/integration/linux/linux.go`). Theirs are the fewest that a first success
//! takes: caches warm, every wait over at its first look, as here. Where the CSI driver has an
//! operation of its own for a part (ControllerPublishVolume and Mount), the same part is meant.

use super::account::Account;
use super::bed::{Bed, Cloud};
use crate::bench::contest::Measured;
use crate::bench::http::{Client, Request};
use crate::bench::report::{Report, Row};
use crate::bench::stats::{Samples, Unit};
use error::{Error, Result};

/// An operation, and what the CSI driver and REX-Ray make of it; none: they do not have it.
struct Known {
    name: &'static str,
    csi: Option<f64>,
    rexray: Option<f64>,
}

const KNOWN: [Known; 7] = [
    // CreateVolume, DescribeVolumes. REX-Ray: DescribeVolumes, DescribeInstances, CreateVolume,
    // CreateTags, DescribeVolumes twice.
    Known { name: "Create", csi: Some(2.0), rexray: Some(6.0) },
    // DescribeInstances, AttachVolume, DescribeVolumes. REX-Ray: AttachVolume, and DescribeVolumes six
    // times, the first time of all volumes of the zone.
    Known { name: "Mount, the first: a file system is made", csi: Some(3.0), rexray: Some(7.0) },
    Known { name: "Mount", csi: Some(3.0), rexray: Some(7.0) },
    // DescribeInstances, DetachVolume, DescribeVolumes. REX-Ray: DetachVolume, DescribeVolumes four
    // times.
    Known { name: "Unmount", csi: Some(3.0), rexray: Some(5.0) },
    // DescribeSnapshots, CreateSnapshot. REX-Ray: "not implemented".
    Known { name: "snapshot", csi: Some(2.0), rexray: None },
    // DescribeVolumes, DescribeVolumesModifications, ModifyVolume, and both looks again.
    Known { name: "expand", csi: Some(5.0), rexray: None },
    // DeleteVolume. REX-Ray: DescribeVolumes of all volumes of the zone before it.
    Known { name: "Remove", csi: Some(1.0), rexray: Some(2.0) },
];

/// All operations, with a new volume in each round.
pub(super) fn calls(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let cloud = bed.cloud("calls", true)?;
    let (mut counter, mut counts) = (Counter::new(&cloud)?, [const { Vec::new() }; KNOWN.len()]);
    for round in 0..bed.scale.slow {
        for (counts, count) in counts.iter_mut().zip(counter.life(round)?) {
            counts.push(count);
        }
    }
    for (known, counts) in KNOWN.iter().zip(counts) {
        let one = |value: Option<f64>| value.and_then(|value| Samples::of(vec![value]));
        let ours = Samples::of(counts).ok_or_else(|| Error::internal("nothing was counted"))?;
        let measured = Measured { ours, peer: one(known.csi), raw: one(known.rexray) };
        report.add(
            Row::new(format!("calls: {}", known.name), Unit::Calls, &measured)
                .peer("aws-ebs-csi-driver 1.64, by its source")
                .raw("REX-Ray 0.11, by its source"),
        );
    }
    Ok(())
}

struct Counter {
    plugin: Client,
    control: Client,
    account: Account,
}

impl Counter {
    fn new(cloud: &Cloud) -> Result<Self> {
        let plugin = Client::connect(&cloud.plugin())?;
        let control = Client::connect(&cloud.agent.control())?;
        Ok(Self { plugin, control, account: cloud.account()? })
    }

    /// What each operation of [`KNOWN`] takes, in that order.
    fn life(&mut self, round: usize) -> Result<[f64; KNOWN.len()]> {
        let body = format!(r#"{{"Name":"c{round}","ID":"bench"}}"#);
        let plugin = |call| Request::plugin(call, &body);
        let created = self.plugin(&plugin("Create"))?;
        let first = self.plugin(&plugin("Mount"))?;
        self.plugin(&plugin("Unmount"))?;
        let mounted = self.plugin(&plugin("Mount"))?;
        let unmounted = self.plugin(&plugin("Unmount"))?;
        let snapshot = format!(r#"{{"service":"ebs","volume":"c{round}","name":"s{round}"}}"#);
        let taken = self.control(&Request::new("POST", "/v1/snapshots", &snapshot))?;
        let path = format!("/v1/services/ebs/volumes/c{round}/expand");
        let expanded = self.control(&Request::new("POST", &path, r#"{"size":"2GiB"}"#))?;
        let removed = self.plugin(&plugin("Remove"))?;
        Ok([created, first, mounted, unmounted, taken, expanded, removed])
    }

    fn plugin(&mut self, request: &Request) -> Result<f64> {
        self.account.forget_calls()?;
        self.plugin.send(request)?;
        self.counted()
    }

    fn control(&mut self, request: &Request) -> Result<f64> {
        self.account.forget_calls()?;
        self.control.send(request)?;
        self.counted()
    }

    fn counted(&mut self) -> Result<f64> {
        let calls = u32::try_from(self.account.calls()?);
        calls.map(f64::from).map_err(|_| Error::internal("too many calls to count"))
    }
}
