//! The options of a volume: what EBS offers, and what of it goes together.

use super::GIB;
use super::settings::parse_tags;
use crate::cloud::aws::NewVolume;
use crate::options::{OptionSpec, Unit, parse_bool};
use crate::size::Size;
use crate::volume::Parameters;
use error::{Error, Result};

/// Types of volumes. <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html>
const TYPES: [&str; 7] = ["gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"];

/// What can be said about a volume besides what all volumes have; REX-Ray's names.
pub(super) const OPTIONS: [OptionSpec; 11] = [
    OptionSpec::new("volumeType", Unit::Choice(&TYPES), "Type of the EBS volume."),
    OptionSpec::new("iops", Unit::Number, "Provisioned I/O operations per second (gp3, io1, io2)."),
    OptionSpec::new(
        "iopsPerGB",
        Unit::Number,
        "The same for each GiB, capped at what the type allows (io1, io2, gp3).",
    ),
    OptionSpec::new("throughput", Unit::Number, "Provisioned throughput in MiB per second (gp3)."),
    OptionSpec::new("encrypted", Unit::Bool, "Encrypt the volume; by default as the account does."),
    OptionSpec::new("encryptionKey", Unit::Text, "KMS key to encrypt with; implies encrypted."),
    OptionSpec::new(
        "availabilityZone",
        Unit::Text,
        "Where to create the volume; by default in the zone of this machine.",
    ),
    OptionSpec::new("outpost", Unit::Text, "ARN of the outpost to create the volume on."),
    OptionSpec::new(
        "multiAttach",
        Unit::Bool,
        "Several machines may have it at once, as a bare device without a file system (io1, io2).",
    ),
    OptionSpec::new("tags", Unit::List, "Tags of the volume: cost-centre=42,team=db."),
    OptionSpec::new(
        "relocate",
        Unit::Choice(&["no", "snapshot"]),
        "What to do when a machine of another zone needs it: refuse, or move it by a snapshot.",
    ),
];

/// What a type allows.
struct Limits {
    smallest: u64,
    largest: u64,
    /// I/O operations per second, where they can be chosen: from, to, and at most for each GiB.
    iops: Option<(u64, u64, u64)>,
    throughput: Option<(u64, u64)>,
}

/// Sizes in GiB, throughput in MiB/s; AWS's own limits of the types (November 2025).
fn limits(kind: &str) -> Limits {
    let sizes = |smallest, largest| Limits { smallest, largest, iops: None, throughput: None };
    match kind {
        "gp3" => Limits {
            iops: Some((3_000, 80_000, 500)),
            throughput: Some((125, 2_000)),
            ..sizes(1, 65_536)
        },
        "io1" => Limits { iops: Some((100, 64_000, 50)), ..sizes(4, 16_384) },
        "io2" => Limits { iops: Some((100, 256_000, 1_000)), ..sizes(4, 65_536) },
        "st1" | "sc1" => sizes(125, 16_384),
        "standard" => sizes(1, 1_024),
        _ => sizes(1, 16_384),
    }
}

/// What to ask of AWS for a volume of these parameters and this size, in GiB. What does not go
/// together → `InvalidArgument` or `OutOfRange`; nothing has been called by then.
pub(super) fn new_volume(parameters: &Parameters, gib: Option<u64>) -> Result<NewVolume> {
    let own = |name: &str| parameters.driver.get(name).map(String::as_str);
    let number = |name: &str| own(name).and_then(|text| text.parse::<u64>().ok());
    let flag = |name: &str| own(name).and_then(parse_bool);
    let kind = own("volumeType").unwrap_or("gp3").to_ascii_lowercase();
    let limits = limits(&kind);
    if let Some(gib) = gib {
        ensure_size(&kind, gib)?;
    }
    let key = own("encryptionKey").filter(|key| !key.is_empty()).map(str::to_owned);
    let encrypted = flag("encrypted").or_else(|| key.as_ref().map(|_| true));
    if key.is_some() && encrypted == Some(false) {
        return Err(Error::invalid_argument(
            "encryptionKey is given and encrypted is false; leave one of them out",
        ));
    }
    let multi_attach = flag("multiAttach").unwrap_or(false);
    if multi_attach && !matches!(kind.as_str(), "io1" | "io2") {
        return Err(Error::invalid_argument(format!(
            "multiAttach needs volumeType io2 or io1, not {kind}"
        )));
    }
    Ok(NewVolume {
        size: gib,
        iops: iops(&kind, &limits, gib, number("iops"), number("iopsPerGB"))?,
        throughput: throughput(&kind, &limits, number("throughput"))?,
        encrypted,
        kms_key: key,
        multi_attach,
        outpost: own("outpost").filter(|arn| !arn.is_empty()).map(str::to_owned),
        kind: Some(kind),
        tags: parse_tags(own("tags").unwrap_or_default())?,
        ..NewVolume::default()
    })
}

/// Whether what is asked of a copy is in order, as far as that does not depend on its source.
pub(super) fn check_copy(asked: &Parameters) -> Result<()> {
    let mut own = asked.clone();
    // These are checked once it is known what the source has.
    for option in ["iops", "iopsPerGB", "throughput", "multiAttach"] {
        own.driver.remove(option);
    }
    let kind = own.driver.remove("volumeType").unwrap_or_default().to_ascii_lowercase();
    if !kind.is_empty()
        && let Some(size) = asked.size
    {
        ensure_size(&kind, gib(size))?;
    }
    new_volume(&own, None).map(drop)
}

/// Whether there is such a type of volume, and whether one can have this size, in GiB.
pub(super) fn ensure_type(kind: &str, gib: Option<u64>) -> Result<()> {
    if !TYPES.contains(&kind) {
        return Err(Error::invalid_argument(format!(
            "volumeType: \"{}\" is none; give one of {}",
            kind.escape_debug().take(40).collect::<String>(),
            TYPES.join(", ")
        )));
    }
    gib.map_or(Ok(()), |gib| ensure_size(kind, gib))
}

fn ensure_size(kind: &str, gib: u64) -> Result<()> {
    let limits = limits(kind);
    if (limits.smallest..=limits.largest).contains(&gib) {
        return Ok(());
    }
    Err(Error::out_of_range(format!(
        "a volume of type {kind} has {} to {} GiB, not {gib}; give another size or volumeType",
        limits.smallest, limits.largest
    )))
}

fn iops(
    kind: &str,
    limits: &Limits,
    gib: Option<u64>,
    said: Option<u64>,
    per_gib: Option<u64>,
) -> Result<Option<u64>> {
    if said.is_some() && per_gib.is_some() {
        return Err(Error::invalid_argument("iops and iopsPerGB are given; give one of them"));
    }
    let Some((least, most, ratio)) = limits.iops else {
        return match said.or(per_gib) {
            None => Ok(None),
            Some(_) => Err(Error::invalid_argument(format!(
                "the performance of {kind} volumes cannot be chosen; leave iops and iopsPerGB out, \
                 or take volumeType gp3, io1 or io2"
            ))),
        };
    };
    // What AWS would refuse for this size, but for what gp3 has anyway.
    let most = gib.map_or(most, |gib| gib.saturating_mul(ratio).min(most).max(least));
    if let Some(per_gib) = per_gib {
        let wanted = per_gib.saturating_mul(gib.unwrap_or(1));
        return Ok(Some(wanted.clamp(least, most)));
    }
    match said {
        Some(iops) if !(least..=most).contains(&iops) => Err(Error::out_of_range(format!(
            "iops: a {kind} volume of this size has {least} to {most}, not {iops}"
        ))),
        // These have no default of AWS's own.
        None if matches!(kind, "io1" | "io2") => Err(Error::invalid_argument(format!(
            "volumeType {kind} needs iops or iopsPerGB; this size can have {least} to {most} iops"
        ))),
        said => Ok(said),
    }
}

fn throughput(kind: &str, limits: &Limits, said: Option<u64>) -> Result<Option<u64>> {
    match (limits.throughput, said) {
        (_, None) => Ok(None),
        (Some((least, most)), Some(said)) if (least..=most).contains(&said) => Ok(Some(said)),
        (Some((least, most)), Some(said)) => Err(Error::out_of_range(format!(
            "throughput: a {kind} volume has {least} to {most} MiB/s, not {said}"
        ))),
        (None, Some(_)) => Err(Error::invalid_argument(format!(
            "the throughput of {kind} volumes cannot be chosen; leave throughput out, or take \
             volumeType gp3"
        ))),
    }
}

/// The size at AWS of what was asked for, in GiB: rounded up.
pub(super) fn gib(size: Size) -> u64 {
    size.0.div_ceil(GIB)
}

/// So many GiB, as AWS told; if that is more than there can be, the most that there can be.
pub(super) fn bytes(gib: u64) -> Size {
    Size(gib.saturating_mul(GIB))
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;

    fn asked(options: &[(&str, &str)], gib: u64) -> Result<NewVolume> {
        let driver = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        new_volume(&Parameters { driver, ..Parameters::default() }, Some(gib))
    }

    #[test]
    fn iops_per_gib_are_capped_by_the_type() {
        let iops =
            |kind, per, gib| asked(&[("volumeType", kind), ("iopsPerGB", per)], gib).unwrap().iops;
        assert_eq!(iops("io2", "500", 100), Some(50_000));
        assert_eq!(iops("io2", "5000", 100), Some(100_000));
        assert_eq!(iops("io1", "500", 4), Some(200));
        assert_eq!(iops("gp3", "1", 8), Some(3_000));
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_the_way_out() {
        for (options, gib, kind, wanted) in [
            (vec![("volumeType", "io2")], 4, Kind::InvalidArgument, "needs iops"),
            (vec![("volumeType", "st1")], 8, Kind::OutOfRange, "125"),
            (vec![("volumeType", "gp2"), ("iops", "100")], 8, Kind::InvalidArgument, "gp3"),
            (vec![("iops", "1000")], 8, Kind::OutOfRange, "3000"),
            (vec![("iops", "4001")], 8, Kind::OutOfRange, "4000"),
            (vec![("throughput", "1")], 8, Kind::OutOfRange, "125"),
            (vec![("volumeType", "sc1"), ("throughput", "200")], 125, Kind::InvalidArgument, "gp3"),
            (vec![("iops", "3000"), ("iopsPerGB", "3")], 8, Kind::InvalidArgument, "one of them"),
            (vec![("multiAttach", "true")], 8, Kind::InvalidArgument, "io2"),
            (
                vec![("encryptionKey", "k"), ("encrypted", "false")],
                8,
                Kind::InvalidArgument,
                "leave one",
            ),
            (vec![("tags", "a")], 8, Kind::InvalidArgument, "key=value"),
        ] {
            let error = asked(&options, gib).expect_err(wanted);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_key_implies_encryption() {
        let new = asked(&[("encryptionKey", "alias/x")], 8).unwrap();
        assert_eq!((new.encrypted, new.kms_key.as_deref()), (Some(true), Some("alias/x")));
        assert_eq!(asked(&[], 8).unwrap().encrypted, None);
    }

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(gib(Size(1)), 1);
        assert_eq!(gib(Size::gib(3)), 3);
        assert_eq!(gib(Size(3 * GIB + 1)), 4);
    }
}
