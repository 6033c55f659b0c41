//! The options of a service that uses EBS.

use crate::cloud::aws::{self, Patience, VolumeQuery};
use crate::options::{OptionSpec, Unit, parse_bool};
use error::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What can be said about a service.
pub(super) const OPTIONS: [OptionSpec; 21] = [
    OptionSpec::new(
        "region",
        Unit::Text,
        "Region, such as eu-central-1; by default the machine's.",
    ),
    OptionSpec::new(
        "zone",
        Unit::Text,
        "Availability zone of this machine, where it cannot be asked.",
    ),
    OptionSpec::new(
        "instance",
        Unit::Text,
        "Instance ID of this machine, where it cannot be asked.",
    ),
    OptionSpec::new("profile", Unit::Text, "Profile of AWS's shared configuration files."),
    secret("accessKey", "Access key ID; without it, AWS's usual chain of credentials is used."),
    secret("secretKey", "Secret access key that belongs to accessKey."),
    secret("sessionToken", "Session token of temporary keys."),
    OptionSpec::new("endpoint", Unit::Text, "URL of the EC2 API, instead of AWS's own."),
    OptionSpec::new("metadata", Unit::Text, "URL of the instance metadata service."),
    OptionSpec::new(
        "simulator",
        Unit::Text,
        "URL at which `mobula ebs-sim` serves this machine: stands for endpoint and metadata.",
    ),
    OptionSpec::new("fips", Unit::Bool, "Use endpoints validated under FIPS 140.").default("false"),
    OptionSpec::new(
        "tag",
        Unit::Text,
        "Prefix of the Name tag: volume pg is named <tag>/pg at AWS, in creation and look-up.",
    ),
    OptionSpec::new(
        "cluster",
        Unit::Text,
        "Machines that share volumes; volumes of other clusters are not seen.",
    ),
    OptionSpec::new(
        "tags",
        Unit::List,
        "Tags of everything that is created: cost-centre=42,team=db.",
    ),
    OptionSpec::new(
        "list",
        Unit::Choice(&["own", "named"]),
        "Which volumes are listed: those made or adopted here, or all that have a Name tag.",
    )
    .default("own"),
    OptionSpec::new(
        "preempt",
        Unit::Choice(&["proof", "never"]),
        "Whether a volume is taken from another machine once that is proved to be gone.",
    )
    .default("proof"),
    OptionSpec::new(
        "lease",
        Unit::Number,
        "Seconds after which a machine that does not renew its claim is taken for gone; 0: never.",
    )
    .default("0"),
    OptionSpec::new(
        "waitTimeout",
        Unit::Number,
        "Seconds that AWS may take to create, attach or detach a volume; other waits go with it.",
    )
    .default("120"),
    OptionSpec::new(
        "devices",
        Unit::Path,
        "Directory of links to disks by their ID; also found without it.",
    )
    .default("/dev/disk/by-id"),
    OptionSpec::new("maxVolumes", Unit::Number, "How many disks this machine may have in all."),
    OptionSpec::new(
        "reservedVolumes",
        Unit::Number,
        "How many places for disks are left to others on this machine.",
    )
    .default("0"),
];

const fn secret(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { secret: true, ..OptionSpec::new(name, Unit::Text, help) }
}

/// The shortest lease: the agent looks after claims every 5 s, and must notice in time that one could
/// not be renewed.
const SHORTEST_LEASE: u64 = 30;

/// The shortest and the longest that AWS may be given for what takes some seconds usually. With less
/// than the first, what it is slow to show would be taken for gone.
const STATUS: (u64, u64) = (30, 3600);

/// A service's options, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// How to reach the account.
    pub account: aws::Settings,
    /// Prefix of the Name tag, with its slash.
    pub prefix: String,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// Tags of everything that is created.
    pub tags: BTreeMap<String, String>,
    /// Volumes with nothing but a name are listed too.
    pub lists_named: bool,
    /// A volume is taken from a machine that is proved to be gone.
    pub preempts: bool,
    /// How long a claim lasts.
    pub lease: Option<Duration>,
    /// Directory of links to disks.
    pub devices: PathBuf,
    /// How many disks this machine may have.
    pub most: Option<usize>,
    /// How many places are left to others.
    pub reserved: usize,
}

/// The tag that says whose a volume is.
pub(super) const CLUSTER: &str = "mobula:cluster";

impl Settings {
    /// Reads a service's options.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Self> {
        let text = |name: &str| options.get(name).filter(|value| !value.is_empty()).cloned();
        let number = |name: &str| text(name).and_then(|value| value.parse::<u64>().ok());
        let simulator = text("simulator");
        // There time is cheap: what is slow is so on purpose.
        let is_simulated = simulator.is_some();
        let account = aws::Settings {
            region: text("region"),
            zone: text("zone"),
            instance: text("instance"),
            endpoint: url("endpoint", text("endpoint").or_else(|| simulator.clone()))?,
            metadata: url("metadata", text("metadata").or(simulator))?,
            profile: text("profile"),
            access_key: text("accessKey"),
            secret_key: text("secretKey"),
            session_token: text("sessionToken"),
            fips: text("fips").and_then(|value| parse_bool(&value)).unwrap_or(false),
            patience: patience(number("waitTimeout"), is_simulated)?,
        };
        if account.access_key.is_some() != account.secret_key.is_some() {
            return Err(Error::invalid_argument(
                "accessKey and secretKey belong together; give both or none",
            ));
        }
        let lease = number("lease").unwrap_or(0);
        if (1..SHORTEST_LEASE).contains(&lease) && !is_simulated {
            return Err(Error::invalid_argument(format!(
                "option lease: {lease} s is too short to be renewed in time; give {SHORTEST_LEASE} \
                 or more, or 0"
            )));
        }
        let places = |name| number(name).and_then(|count| usize::try_from(count).ok());
        Ok(Self {
            account,
            prefix: text("tag")
                .map(|tag| format!("{}/", tag.trim_end_matches('/')))
                .unwrap_or_default(),
            cluster: text("cluster"),
            tags: parse_tags(&text("tags").unwrap_or_default())?,
            lists_named: text("list").as_deref() == Some("named"),
            preempts: text("preempt").as_deref() != Some("never"),
            lease: (lease > 0).then(|| Duration::from_secs(lease)),
            devices: text("devices").unwrap_or_else(|| "/dev/disk/by-id".to_owned()).into(),
            most: places("maxVolumes"),
            reserved: places("reservedVolumes").unwrap_or(0),
        })
    }

    /// What all look-ups are narrowed down to.
    pub(super) fn scope(&self) -> VolumeQuery {
        let cluster = self.cluster.iter();
        cluster.map(|name| (format!("tag:{CLUSTER}"), vec![name.clone()])).collect()
    }
}

fn patience(seconds: Option<u64>, is_simulated: bool) -> Result<Patience> {
    let Some(seconds) = seconds else { return Ok(Patience::default()) };
    let (least, most) = if is_simulated { (1, STATUS.1) } else { STATUS };
    if (least..=most).contains(&seconds) {
        return Ok(Patience::new(Duration::from_secs(seconds)));
    }
    Err(Error::invalid_argument(format!(
        "option waitTimeout: {seconds} s cannot be waited for; give {least} to {most}"
    )))
}

fn url(option: &str, value: Option<String>) -> Result<Option<String>> {
    match value {
        Some(value) if !value.starts_with("http://") && !value.starts_with("https://") => {
            Err(Error::invalid_argument(format!(
                "option {option}: \"{}\" is no URL; give one like http://127.0.0.1:4599",
                value.escape_debug().take(60).collect::<String>()
            )))
        }
        value => Ok(value),
    }
}

/// Reads `key=value,key=value`. AWS's own limits: 128 and 256 characters, none that begins with
/// `aws:`.
pub(super) fn parse_tags(text: &str) -> Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        let (key, value) = tag.split_once('=').ok_or_else(|| {
            Error::invalid_argument(format!("option tags: \"{tag}\" is no tag; write key=value"))
        })?;
        let is_ours = ["aws:", "mobula:"].iter().any(|own| key.starts_with(own)) || key == "Name";
        if key.is_empty() || is_ours || key.chars().count() > 127 || value.chars().count() > 255 {
            return Err(Error::invalid_argument(format!(
                "option tags: \"{key}\" cannot be set; a key has 1 to 127 characters, a value up to \
                 255, and Name, aws:… and mobula:… are taken"
            )));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<Settings> {
        let options = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Settings::parse(&options)
    }

    #[test]
    fn one_line_is_enough_for_the_simulator() {
        let settings = parse(&[("simulator", "http://127.0.0.1:4599")]).unwrap();
        assert_eq!(settings.account.endpoint.as_deref(), Some("http://127.0.0.1:4599"));
        assert_eq!(settings.account.metadata, settings.account.endpoint);
        assert!(settings.preempts && settings.lease.is_none());
    }

    #[test]
    fn bad_options_say_what_to_give() {
        for (options, wanted) in [
            (vec![("endpoint", "localhost:1")], "no URL"),
            (vec![("accessKey", "a")], "belong together"),
            (vec![("lease", "5")], "too short"),
            (vec![("waitTimeout", "5")], "30 to 3600"),
            (vec![("waitTimeout", "4000")], "30 to 3600"),
            (vec![("tags", "x")], "key=value"),
            (vec![("tags", "aws:x=1")], "cannot be set"),
            (vec![("tags", "Name=1")], "cannot be set"),
        ] {
            let error = parse(&options).expect_err(wanted);
            assert!(error.message().contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_tag_becomes_a_prefix() {
        assert_eq!(parse(&[("tag", "prod")]).unwrap().prefix, "prod/");
        assert_eq!(parse(&[]).unwrap().prefix, "");
        let tags = parse(&[("tags", "a=1, b=x=y,")]).unwrap().tags;
        assert_eq!(
            tags.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x=y".to_owned())]
        );
    }
}
