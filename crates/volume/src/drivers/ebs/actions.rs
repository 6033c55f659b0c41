//! What people can ask of EBS besides: `mobula ebs …`.

use super::Ebs;
use super::parameters;
use crate::cloud::aws::{self, Change};
use crate::driver::{Action, ActionRequest, Report, Subject, Told};
use crate::name::{SnapshotName, VolumeId, VolumeName};
use crate::options::{OptionSpec, Unit, parse_bool};
use crate::size::Size;
use error::{Error, Result};
use std::collections::BTreeMap;

/// The option by which a volume is taken without proof.
const FORCE: &str = "force";

/// The actions.
pub(super) const ALL: [Action; 7] = [
    Action {
        name: "orphans",
        help: "Lists volumes that nobody attached for long, and snapshots of volumes that are gone.",
        subject: Subject::Service,
        options: &[
            OptionSpec::new("days", Unit::Number, "How long something was not used.").default("30"),
            OptionSpec::new("pricePerGiB", Unit::Text, "What a GiB of a volume costs per month."),
            OptionSpec::new(
                "snapshotPricePerGiB",
                Unit::Text,
                "What a GiB of a snapshot costs per month.",
            ),
        ],
        order: None,
    },
    Action {
        name: "permissions",
        help: "Tells which permissions the credentials lack; AWS is asked, and nothing is done.",
        subject: Subject::Service,
        options: &[],
        order: None,
    },
    Action {
        name: "modify",
        help: "Changes type, size and performance of a volume, all in one call.",
        subject: Subject::Volume,
        options: &[
            OptionSpec::new("volumeType", Unit::Text, "New type: gp3, io2 …"),
            OptionSpec::new("iops", Unit::Number, "New I/O operations per second."),
            OptionSpec::new("throughput", Unit::Number, "New throughput in MiB per second."),
            OptionSpec::new(
                "size",
                Unit::Size,
                "New size; its file system grows at the next mount.",
            ),
        ],
        order: None,
    },
    Action {
        name: "move",
        help: "Moves a volume to another zone by a snapshot; the original is kept.",
        subject: Subject::Volume,
        options: &[OptionSpec::new(
            "zone",
            Unit::Text,
            "Where to; by default this machine's zone.",
        )],
        order: None,
    },
    Action {
        name: "take",
        help: "Detaches a volume from whoever has it, which cuts off everything that is not synced.",
        subject: Subject::Volume,
        options: &[
            OptionSpec::new(
                FORCE,
                Unit::Bool,
                "Also when nothing proves that machine gone, which may cost what it has not synced.",
            )
            .default("false"),
            OptionSpec::new("by", Unit::Text, "Who orders it, for the record."),
        ],
        order: Some(FORCE),
    },
    Action {
        name: "copy-snapshot",
        help: "Copies a snapshot to another region, and waits until it is there.",
        subject: Subject::Snapshot,
        options: &[
            OptionSpec::new("region", Unit::Text, "Where to."),
            OptionSpec::new("encryptionKey", Unit::Text, "KMS key of that region to encrypt with."),
        ],
        order: None,
    },
    Action {
        name: "fast-restore",
        help: "Keeps a snapshot at hand in zones, so that volumes made of it are fast at once.",
        subject: Subject::Snapshot,
        options: &[
            OptionSpec::new("zones", Unit::List, "Where; by default this machine's zone."),
            OptionSpec::new("off", Unit::Bool, "No longer.").default("false"),
        ],
        order: None,
    },
];

impl Ebs {
    /// Does an action.
    pub(super) async fn run_action(&self, request: &ActionRequest, told: &Told) -> Result<Report> {
        let subject = request.subject.as_deref().unwrap_or_default();
        let options = &request.options;
        match request.action.as_str() {
            "orphans" => self.orphans(options).await,
            "permissions" => self.permissions().await,
            "modify" => self.modify(subject, options).await,
            "move" => self.move_by_hand(&self.named(subject).await?, options, told).await,
            "take" => self.take(&self.named(subject).await?, options, told).await,
            "copy-snapshot" => self.copy_snapshot(subject, options, told).await,
            "fast-restore" => self.fast_restore(subject, options).await,
            other => Err(Error::unimplemented(format!("driver ebs has no action {other:?}"))),
        }
    }

    async fn named(&self, name: &str) -> Result<aws::Volume> {
        let name = VolumeName::parse(name)?;
        self.find_by_name(&name).await?.ok_or_else(|| {
            Error::not_found(format!(
                "there is no volume {name} in the region; `mobula volume ls` shows those there are"
            ))
        })
    }

    async fn modify(&self, name: &str, options: &BTreeMap<String, String>) -> Result<Report> {
        let number = |name: &str| options.get(name).and_then(|value| value.parse().ok());
        let size = options.get("size").map(|size| Size::parse(size)).transpose()?;
        let change = Change {
            size: size.map(parameters::gib),
            kind: options.get("volumeType").map(|kind| kind.to_ascii_lowercase()),
            iops: number("iops"),
            throughput: number("throughput"),
        };
        if change == Change::default() {
            return Err(Error::invalid_argument(
                "say what is to be changed: volumeType, iops, throughput or size",
            ));
        }
        change.check()?;
        let raw = &self.named(name).await?;
        if change.size.is_some_and(|size| size < raw.size) {
            return Err(Error::out_of_range(format!(
                "volume {} has {} GiB and cannot be made smaller",
                raw.id, raw.size
            )));
        }
        let is_so = change.is_done(raw);
        let now = if is_so { raw.clone() } else { self.change(raw, &change).await? };
        let mut report = self.described(&now);
        let note = if is_so { "it is so already" } else { "changed; AWS optimizes it for a while" };
        report.notes.push(note.to_owned());
        Ok(report)
    }

    async fn move_by_hand(
        &self,
        raw: &aws::Volume,
        options: &BTreeMap<String, String>,
        told: &Told,
    ) -> Result<Report> {
        let zone = match options.get("zone") {
            Some(zone) => zone.clone(),
            None => self.ec2.client().identity().await?.zone.clone(),
        };
        if raw.zone == zone {
            self.finish_move(raw).await?;
            let mut report = self.described(raw);
            report.notes.push(format!("it is in {zone} already"));
            return Ok(report);
        }
        let moved = self.move_volume(raw, &zone, told).await?;
        let name = raw.tag("Name").unwrap_or_default();
        let mut report = self.described(&self.get_raw(&moved.id).await?);
        report.notes.push(format!(
            "moved; the original is kept in {} as \"{name} (moved to {})\"; once you have seen that \
             all is well, delete it (aws ec2 delete-volume --volume-id {})",
            raw.zone,
            moved.id,
            raw.id
        ));
        Ok(report)
    }

    async fn take(
        &self,
        raw: &aws::Volume,
        options: &BTreeMap<String, String>,
        told: &Told,
    ) -> Result<Report> {
        if raw.attachments().is_empty() {
            let mut report = self.described(raw);
            report.notes.push("nobody has it".to_owned());
            return Ok(report);
        }
        let is_forced = options.get(FORCE).and_then(|force| parse_bool(force)).unwrap_or(false);
        let by = options.get("by").map_or("not said", String::as_str);
        let taken = self.take_by_order(raw, is_forced, by, told).await?;
        let mut report = self.described(&self.get_raw(&VolumeId::new(raw.id.as_str())).await?);
        report.notes.push(format!("taken from {}", taken.join(", ")));
        Ok(report)
    }

    /// What people call it.
    pub(super) fn name_of(&self, raw: &aws::Volume) -> String {
        let name = super::record::name(&self.settings, raw).map(|name| name.to_string());
        name.or_else(|| raw.tag("Name").map(str::to_owned)).unwrap_or_else(|| "-".to_owned())
    }

    async fn copy_snapshot(
        &self,
        name: &str,
        options: &BTreeMap<String, String>,
        told: &Told,
    ) -> Result<Report> {
        let region = options.get("region").ok_or_else(|| {
            Error::invalid_argument("say where the snapshot shall be copied to: region=eu-west-1")
        })?;
        let raw = self.get_snapshot(&SnapshotName::parse(name)?).await?;
        let raw = self.wait_snapshot(&self.ec2, &raw.id, told).await?;
        let key = options.get("encryptionKey").map(String::as_str);
        let id = self.copy_to_region(&raw, region, key, told).await?;
        let columns = ["SNAPSHOT", "REGION", "COPY OF"].map(str::to_owned).to_vec();
        Ok(Report { columns, rows: vec![vec![id, region.clone(), raw.id]], notes: Vec::new() })
    }

    async fn fast_restore(&self, name: &str, options: &BTreeMap<String, String>) -> Result<Report> {
        let raw = self.get_snapshot(&SnapshotName::parse(name)?).await?;
        let zones = match options.get("zones") {
            Some(zones) => zones.clone(),
            None => self.ec2.client().identity().await?.zone.clone(),
        };
        let zones: Vec<_> =
            zones.split(',').map(str::trim).filter(|zone| !zone.is_empty()).collect();
        let off = options.get("off").and_then(|off| parse_bool(off)).unwrap_or(false);
        self.ec2.set_fast_restore(&raw.id, &zones, !off).await?;
        let states = self.ec2.list_fast_restores(&raw.id).await?;
        let rows = states.into_iter().map(|one| vec![one.snapshot, one.zone, one.state]).collect();
        let columns = ["SNAPSHOT", "ZONE", "STATE"].map(str::to_owned).to_vec();
        let note = "AWS bills fast restores by the hour and zone while they are on".to_owned();
        Ok(Report { columns, rows, notes: if off { Vec::new() } else { vec![note] } })
    }

    fn described(&self, raw: &aws::Volume) -> Report {
        let number =
            |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let columns = ["ID", "NAME", "ZONE", "STATE", "TYPE", "SIZE", "IOPS", "THROUGHPUT"]
            .map(str::to_owned);
        let row = vec![
            raw.id.clone(),
            self.name_of(raw),
            raw.zone.clone(),
            raw.state.clone(),
            raw.kind.clone(),
            format!("{}GiB", raw.size),
            number(raw.iops),
            number(raw.throughput),
        ];
        Report { columns: columns.to_vec(), rows: vec![row], notes: Vec::new() }
    }
}
