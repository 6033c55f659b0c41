//! What costs money and serves nobody: volumes that were not attached for long, and snapshots of
//! volumes that are gone.

use super::Ebs;
use super::record::{self, SNAPSHOT, SNAPSHOT_OF};
use crate::cloud::aws;
use crate::driver::Report;
use error::{Error, Result};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// The tag that says until when a volume was in use, in RFC 3339.
pub(super) const USED: &str = "mobula:used";
const DAY: u64 = 24 * 60 * 60;

/// What something costs per GiB and month.
struct Prices {
    volume: Option<f64>,
    snapshot: Option<f64>,
}

impl Ebs {
    /// Lists what nobody uses.
    pub(super) async fn orphans(&self, options: &BTreeMap<String, String>) -> Result<Report> {
        let days = options.get("days").and_then(|days| days.parse().ok()).unwrap_or(30);
        let age = Duration::from_secs(DAY.saturating_mul(days));
        let prices = Prices {
            volume: price(options, "pricePerGiB")?,
            snapshot: price(options, "snapshotPricePerGiB")?,
        };
        let mut query = self.settings.scope();
        query.push(("tag-key".to_owned(), vec!["Name".to_owned()]));
        let volumes = self.ec2.list_volumes(&query).await?;
        let there: HashSet<&str> = volumes.iter().map(|raw| raw.id.as_str()).collect();
        let is_idle = |raw: &&aws::Volume| {
            raw.state == "available" && self.is_older(since(raw), age) && !self.is_gone(&raw.id)
        };
        let mut rows: Vec<_> =
            volumes.iter().filter(is_idle).map(|raw| idle(raw, &prices)).collect();
        let mut query = self.settings.scope();
        query.push(("tag-key".to_owned(), vec![SNAPSHOT.to_owned()]));
        let snapshots = self.ec2.list_snapshots(&query).await?;
        let is_left = |raw: &&aws::Snapshot| {
            !there.contains(raw.volume_id.as_str())
                && self.is_older(&raw.started, age)
                && !self.is_gone(&raw.id)
        };
        rows.extend(snapshots.iter().filter(is_left).map(|raw| left(raw, &prices)));
        let columns = ["KIND", "ID", "NAME", "ZONE", "SIZE", "SINCE", "HOLDS", "PER MONTH"]
            .map(str::to_owned);
        let found = match rows.len() {
            0 => format!("everything was used within {days} days"),
            1 => format!("1 thing was not used for {days} days; nothing was changed"),
            count => format!("{count} things were not used for {days} days; nothing was changed"),
        };
        let mut notes = vec![found];
        notes.extend(total(&rows));
        Ok(Report { columns: columns.to_vec(), rows, notes })
    }
}

fn since(raw: &aws::Volume) -> &str {
    raw.tag(USED).unwrap_or(&raw.created)
}

fn idle(raw: &aws::Volume, prices: &Prices) -> Vec<String> {
    // Until its first mount, the record says what file system it shall have.
    let is_made = |text: &&str| text.contains("_covers=");
    let holds = match raw.tag(record::FILESYSTEM) {
        Some(text) if !is_made(&text) => Some("nothing yet"),
        Some(text) => text.split('_').next().and_then(|kind| kind.strip_prefix("type=")),
        None => None,
    };
    let cost = prices.volume.map(|price| format!("{:.2}", raw.size as f64 * price));
    vec![
        "volume".to_owned(),
        raw.id.clone(),
        raw.tag("Name").unwrap_or_default().to_owned(),
        raw.zone.clone(),
        format!("{}GiB", raw.size),
        since(raw).to_owned(),
        holds.unwrap_or("not known").to_owned(),
        cost.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn left(raw: &aws::Snapshot, prices: &Prices) -> Vec<String> {
    let of = raw.tag(SNAPSHOT_OF).unwrap_or(&raw.volume_id);
    // AWS bills the blocks that differ: at most the whole volume.
    let cost = prices.snapshot.map(|price| format!("<= {:.2}", raw.volume_size as f64 * price));
    vec![
        "snapshot".to_owned(),
        raw.id.clone(),
        raw.tag(SNAPSHOT).unwrap_or_default().to_owned(),
        "-".to_owned(),
        format!("{}GiB", raw.volume_size),
        raw.started.clone(),
        format!("volume {of}, which is gone"),
        cost.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn total(rows: &[Vec<String>]) -> Option<String> {
    let costs =
        rows.iter().filter_map(|row| row.last()?.trim_start_matches("<= ").parse::<f64>().ok());
    let costs: Vec<_> = costs.collect();
    (!costs.is_empty()).then(|| format!("{:.2} per month at most", costs.iter().sum::<f64>()))
}

fn price(options: &BTreeMap<String, String>, name: &str) -> Result<Option<f64>> {
    let Some(text) = options.get(name) else { return Ok(None) };
    let price = text.parse::<f64>().ok().filter(|price| price.is_finite() && *price >= 0.0);
    price.map(Some).ok_or_else(|| {
        Error::invalid_argument(format!(
            "option {name}: \"{text}\" is no price; give one like 0.0952"
        ))
    })
}
