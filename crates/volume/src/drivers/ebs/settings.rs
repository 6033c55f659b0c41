//! The options of a service that uses EBS.

use crate::cloud::aws::{self, Patience, VolumeQuery};
use crate::options::{Mistake, OptionSpec, Unit, parse_bool, told};
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

/// The options that are addresses.
const ADDRESSES: [&str; 3] = ["endpoint", "metadata", "simulator"];

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
    /// Reads a service's options; everything that is wrong with them → `InvalidArgument`.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Self> {
        let (settings, mistakes) = Self::read(options);
        told(mistakes).map(|()| settings)
    }

    /// Everything that is wrong with a service's options.
    pub(super) fn mistakes(options: &BTreeMap<String, String>) -> Vec<Mistake> {
        Self::read(options).1
    }

    /// What the options say, and what is wrong with them.
    fn read(options: &BTreeMap<String, String>) -> (Self, Vec<Mistake>) {
        let text = |name: &str| options.get(name).filter(|value| !value.is_empty()).cloned();
        let number = |name: &str| text(name).and_then(|value| value.parse::<u64>().ok());
        let is = |name: &str, word: &str| {
            text(name).is_some_and(|value| value.eq_ignore_ascii_case(word))
        };
        let simulator = text("simulator");
        // There time is cheap: what is slow is so on purpose.
        let is_simulated = simulator.is_some();
        let mut mistakes: Vec<Mistake> =
            ADDRESSES.iter().filter_map(|name| url(name, &text(name)?)).collect();
        let patience = patience(number("waitTimeout"), is_simulated).unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            Patience::default()
        });
        let tags = parse_tags(&text("tags").unwrap_or_default()).unwrap_or_else(|error| {
            mistakes.push(Mistake { option: "tags", error });
            BTreeMap::new()
        });
        let lease = number("lease").unwrap_or(0);
        if (1..SHORTEST_LEASE).contains(&lease) && !is_simulated {
            mistakes.push(Mistake::new(
                "lease",
                format!(
                    "option lease: {lease} s is too short to be renewed in time; give \
                     {SHORTEST_LEASE} or more, or 0"
                ),
            ));
        }
        let account = aws::Settings {
            region: text("region"),
            zone: text("zone"),
            instance: text("instance"),
            endpoint: text("endpoint").or_else(|| simulator.clone()),
            metadata: text("metadata").or(simulator),
            profile: text("profile"),
            access_key: text("accessKey"),
            secret_key: text("secretKey"),
            session_token: text("sessionToken"),
            fips: text("fips").and_then(|value| parse_bool(&value)).unwrap_or(false),
            patience,
        };
        let places = |name| number(name).and_then(|count| usize::try_from(count).ok());
        let (most, reserved) = (places("maxVolumes"), places("reservedVolumes").unwrap_or(0));
        mistakes.extend(keys(&account));
        mistakes.extend(place(&account));
        mistakes.extend(room(most, reserved));
        let settings = Self {
            account,
            prefix: text("tag")
                .map(|tag| format!("{}/", tag.trim_end_matches('/')))
                .unwrap_or_default(),
            cluster: text("cluster"),
            tags,
            lists_named: is("list", "named"),
            preempts: !is("preempt", "never"),
            lease: (lease > 0).then(|| Duration::from_secs(lease)),
            devices: text("devices").unwrap_or_else(|| "/dev/disk/by-id".to_owned()).into(),
            most,
            reserved,
        };
        (settings, mistakes)
    }

    /// What all look-ups are narrowed down to.
    pub(super) fn scope(&self) -> VolumeQuery {
        let cluster = self.cluster.iter();
        cluster.map(|name| (format!("tag:{CLUSTER}"), vec![name.clone()])).collect()
    }
}

fn patience(seconds: Option<u64>, is_simulated: bool) -> std::result::Result<Patience, Mistake> {
    let Some(seconds) = seconds else { return Ok(Patience::default()) };
    let (least, most) = if is_simulated { (1, STATUS.1) } else { STATUS };
    if (least..=most).contains(&seconds) {
        return Ok(Patience::new(Duration::from_secs(seconds)));
    }
    Err(Mistake::new(
        "waitTimeout",
        format!("option waitTimeout: {seconds} s cannot be waited for; give {least} to {most}"),
    ))
}

/// What is wrong with the address that `option` says.
fn url(option: &'static str, value: &str) -> Option<Mistake> {
    let is_one = reqwest::Url::parse(value).is_ok_and(|url| {
        let is_bare = url.query().is_none() && url.fragment().is_none();
        // Who calls is said by keys, and what is in an address ends up in messages.
        let is_nobodys = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare && is_nobodys
    });
    // Url::parse takes blanks away, and nobody else does.
    if is_one && !value.contains(char::is_whitespace) {
        return None;
    }
    let shown: String = match value.contains('@') {
        true => "what it says".to_owned(),
        false => format!("\"{}\"", value.escape_debug().take(60).collect::<String>()),
    };
    Some(Mistake::new(
        option,
        format!(
            "option {option}: {shown} is no URL of a server; give one like http://127.0.0.1:4599"
        ),
    ))
}

/// What is missing of the keys.
fn keys(account: &aws::Settings) -> Option<Mistake> {
    let belong = "accessKey and secretKey belong together; give both or none";
    match (&account.access_key, &account.secret_key) {
        (Some(_), None) => Some(Mistake::new("accessKey", belong)),
        (None, Some(_)) => Some(Mistake::new("secretKey", belong)),
        (None, None) if account.session_token.is_some() => Some(Mistake::new(
            "sessionToken",
            "sessionToken belongs to accessKey and secretKey; give all three, or leave it out",
        )),
        _ => None,
    }
}

/// A region that is none, or that the zone is not in. Others than AWS name theirs as they like.
fn place(account: &aws::Settings) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if account.endpoint.is_some() {
        return mistakes;
    }
    for (option, value) in [("region", &account.region), ("zone", &account.zone)] {
        let Some(value) = value else { continue };
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        // It becomes part of an address.
        if !value.chars().all(is_plain) {
            let shown: String = value.escape_debug().take(40).collect();
            mistakes.push(Mistake::new(
                option,
                format!(
                    "option {option}: \"{shown}\" is no name of AWS's; it has small letters, \
                     digits and hyphens, like eu-central-1"
                ),
            ));
        }
    }
    if let (Some(region), Some(zone)) = (&account.region, &account.zone)
        && mistakes.is_empty()
        && !zone.starts_with(region.as_str())
    {
        mistakes.push(Mistake::new(
            "zone",
            format!("option zone: {zone} is not in region {region}; put one of them right"),
        ));
    }
    mistakes
}

/// Places for disks of which none is left for volumes.
fn room(most: Option<usize>, reserved: usize) -> Option<Mistake> {
    let most = most.filter(|most| (1..=reserved).contains(most))?;
    Some(Mistake::new(
        "reservedVolumes",
        format!(
            "option reservedVolumes: {reserved} of maxVolumes={most} leave no place for a volume; \
             reserve fewer, or allow more"
        ),
    ))
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
            (vec![("endpoint", "http://")], "no URL"),
            (vec![("metadata", "http://local host")], "no URL"),
            (vec![("metadata", "http://127.0.0.1 ")], "no URL"),
            (vec![("simulator", "ftp://127.0.0.1")], "no URL"),
            (vec![("endpoint", "https://h/?Version=1")], "no URL"),
            (vec![("accessKey", "a")], "belong together"),
            (vec![("secretKey", "a")], "belong together"),
            (vec![("sessionToken", "a")], "give all three"),
            (vec![("region", "EU (Frankfurt)")], "like eu-central-1"),
            (vec![("region", "eu-west-1"), ("zone", "us-east-1a")], "not in region eu-west-1"),
            (vec![("maxVolumes", "4"), ("reservedVolumes", "4")], "no place for a volume"),
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
    fn all_that_is_wrong_is_told_at_once_each_with_its_option_and_without_secrets() {
        let options = [
            ("endpoint", "https://me:hunter2@h"),
            ("accessKey", "hunter2"),
            ("tags", "x"),
            ("lease", "5"),
            ("waitTimeout", "5"),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mistakes = Settings::mistakes(&options);
        let blamed: Vec<_> = mistakes.iter().map(|mistake| mistake.option).collect();
        assert_eq!(blamed, ["endpoint", "waitTimeout", "tags", "lease", "accessKey"]);
        assert!(!format!("{mistakes:?}").contains("hunter2"), "{mistakes:?}");
        let error = Settings::parse(&options).expect_err("wrong");
        for mistake in mistakes {
            assert!(error.message().contains(mistake.error.message()), "{error}");
        }
    }

    #[test]
    fn what_is_no_mistake_is_taken() {
        for options in [
            vec![],
            vec![("endpoint", "https://ec2.eu-west-1.amazonaws.com/")],
            vec![("metadata", "http://[fd00:ec2::254]")],
            vec![("endpoint", "http://cloud:8788/services"), ("region", "RegionOne")],
            vec![("region", "us-west-2"), ("zone", "us-west-2-lax-1a")],
            vec![("accessKey", "a"), ("secretKey", "b"), ("sessionToken", "c")],
            vec![("maxVolumes", "0"), ("reservedVolumes", "0")],
            vec![("reservedVolumes", "4")],
        ] {
            parse(&options).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        }
    }

    #[test]
    fn choices_count_in_any_case() {
        let settings = parse(&[("list", "Named"), ("preempt", "NEVER")]).unwrap();
        assert!(settings.lists_named && !settings.preempts);
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
