//! What a simulated account looks like, and how slow, small and faulty it is: plain data, read from a
//! scenario file or made by a test. Keys are kebab-case; everything has a default.

use crate::fault::Fault;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A simulated account, and the machines in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Where the first instance's listener is; the others take the ports behind it, or any free
    /// port when this one is 0.
    pub listen: SocketAddr,
    /// The region of the instances.
    pub region: String,
    /// The account, 12 digits.
    pub account: String,
    /// The zones of the region; none given: its `a`, `b` and `c`.
    pub zones: Vec<String>,
    /// The instances. Each has a listener of its own.
    pub instances: Vec<InstanceConfig>,
    /// Where disks are; without it volumes are attached, but no disk appears anywhere.
    pub disks: Option<Disks>,
    /// How long things take.
    pub delays: Delays,
    /// How much may be asked for.
    pub limits: Limits,
    /// Seconds that a volume cannot be modified again after a modification began.
    pub cooldown: u64,
    /// The account's own credentials, besides those that instances get from their metadata.
    pub credentials: Credentials,
    /// What chance is made of; the same seed gives the same faults.
    pub seed: u64,
    /// Faults from the beginning.
    pub scenario: Vec<Fault>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            region: "us-east-1".to_owned(),
            account: "111122223333".to_owned(),
            zones: Vec::new(),
            instances: Vec::new(),
            disks: None,
            delays: Delays::default(),
            limits: Limits::default(),
            cooldown: 6 * 60 * 60,
            credentials: Credentials::default(),
            seed: 1,
            scenario: Vec::new(),
        }
    }
}

impl Config {
    /// The zones of `region`: those configured if it is the region of the instances, else three.
    pub(crate) fn zones_of(&self, region: &str) -> Vec<String> {
        if region == self.region && !self.zones.is_empty() {
            return self.zones.clone();
        }
        ["a", "b", "c"].map(|letter| format!("{region}{letter}")).into()
    }
}

/// What a zone is called in every account: `us-east-1a` → `use1-az1`.
pub(crate) fn zone_id(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len().saturating_sub(1));
    let short: String = region
        .split('-')
        .map(|part| match part {
            "ap" | "af" | "ca" | "cn" | "eu" | "il" | "me" | "mx" | "sa" | "us" => part,
            part => part.get(..1).unwrap_or_default(),
        })
        .collect();
    let number = letter.bytes().next().unwrap_or(b'a').saturating_sub(b'a') + 1;
    format!("{short}-az{number}")
}

/// An instance of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InstanceConfig {
    /// Its ID; any word will do.
    pub id: String,
    /// Its zone; the region's first when none is given.
    #[serde(default)]
    pub zone: Option<String>,
    /// Its type, which decides how many volumes it takes.
    #[serde(default = "m5_large", rename = "type")]
    pub kind: String,
    /// The value of its tag `Name`.
    #[serde(default)]
    pub name: Option<String>,
    /// How many volumes it takes, its root volume among them, instead of what its type says.
    #[serde(default)]
    pub max_volumes: Option<usize>,
}

fn m5_large() -> String {
    "m5.large".to_owned()
}

impl InstanceConfig {
    /// An m5.large in the region's first zone.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), zone: None, kind: m5_large(), name: None, max_volumes: None }
    }

    /// The same instance in `zone`.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// The same instance with another type.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }
}

/// Where disks are kept and where they appear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Disks {
    /// The images of volumes and snapshots, and the state of the account. One simulator at a time.
    pub images: PathBuf,
    /// Device nodes, by instance: `<devices>/<instance>/nvme1n1`, and links in `by-id` beside them.
    pub devices: PathBuf,
}

/// How long things take, in milliseconds; 0: as soon as anybody looks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Delays {
    /// A volume is `creating`.
    pub create: u64,
    /// An attachment is `attaching`.
    pub attach: u64,
    /// An attachment is `detaching`.
    pub detach: u64,
    /// A snapshot is `pending`; also how long fast snapshot restore is `enabling`.
    pub snapshot: u64,
    /// A modification is `modifying`, and then as long again `optimizing`.
    pub modify: u64,
    /// A volume is `deleting`.
    pub delete: u64,
    /// An instance is `stopping`, `pending` or `shutting-down`.
    pub terminate: u64,
    /// What Describe* answers is as old as this.
    pub visibility: u64,
    /// Every call takes this long before anything happens.
    pub latency: u64,
}

/// How much may be asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Calls that only read; none: unlimited.
    pub reads: Option<Bucket>,
    /// Calls that change something; none: unlimited.
    pub writes: Option<Bucket>,
    /// Single actions, which then count nowhere else.
    pub actions: BTreeMap<String, Bucket>,
    /// Snapshots of one volume that may be pending at a time; none: unlimited.
    pub pending_snapshots: Option<usize>,
}

/// A token bucket: each call takes a token, none left is `RequestLimitExceeded`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bucket {
    /// Tokens it holds at most, and in the beginning.
    pub capacity: f64,
    /// Tokens that come back each second.
    pub refill: f64,
}

/// An access key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Credentials {
    /// The access key ID.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            access_key: "AKIAMOBULASIMULATOR".to_owned(),
            secret_key: "simulated-secret-of-mobula".to_owned(),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_needs_only_what_differs() {
        let text = r#"{"instances": [{"id": "i-0a"}], "delays": {"attach": 100}, "seed": 7,
            "scenario": [{"effect": "throttle", "action": "Create*", "probability": 0.9},
                         {"effect": {"error": {"code": "InternalError", "status": 500}}}]}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert_eq!(config.instances, [InstanceConfig::new("i-0a")]);
        assert_eq!(config.zones_of("us-east-1")[0], "us-east-1a");
        assert_eq!(config.scenario.len(), 2);
        serde_json::from_str::<Config>(r#"{"dellays": {}}"#).expect_err("a misspelt key");
    }

    #[test]
    fn zones_have_ids() {
        for (zone, id) in [
            ("us-east-1a", "use1-az1"),
            ("eu-central-1c", "euc1-az3"),
            ("ap-southeast-2b", "aps2-az2"),
        ] {
            assert_eq!(zone_id(zone), id);
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert!(!format!("{:?}", Config::default()).contains("simulated-secret"));
    }
}
