//! The types of volumes: what sizes, IOPS and throughputs they may have
//! (<https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html>). Pure.

use crate::refusal::{Answered, Refusal};
use serde::{Deserialize, Serialize};

/// What a volume is made like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Shape {
    /// `gp3` …
    pub(crate) kind: String,
    /// GiB.
    pub(crate) size: u64,
    /// I/O operations a second; none for types that have no such setting.
    pub(crate) iops: Option<u64>,
    /// MiB/s; only gp3 has it.
    pub(crate) throughput: Option<u64>,
}

/// What may be asked for.
struct Kind {
    name: &'static str,
    /// GiB.
    size: (u64, u64),
    /// IOPS that may be given.
    iops: Option<(u64, u64)>,
    /// IOPS per GiB at most, where they may be given.
    ratio: u64,
}

const TIB: u64 = 1024;

const KINDS: [Kind; 7] = [
    Kind { name: "gp3", size: (1, 64 * TIB), iops: Some((3000, 80_000)), ratio: 500 },
    Kind { name: "gp2", size: (1, 16 * TIB), iops: None, ratio: 3 },
    Kind { name: "io1", size: (4, 16 * TIB), iops: Some((100, 64_000)), ratio: 50 },
    Kind { name: "io2", size: (4, 64 * TIB), iops: Some((100, 256_000)), ratio: 1000 },
    Kind { name: "st1", size: (125, 16 * TIB), iops: None, ratio: 0 },
    Kind { name: "sc1", size: (125, 16 * TIB), iops: None, ratio: 0 },
    Kind { name: "standard", size: (1, TIB), iops: None, ratio: 0 },
];

/// What gp3 has without paying for more, MiB/s and the most.
const THROUGHPUT: (u64, u64) = (125, 2000);
/// What gp3 has without paying for more, IOPS.
const BASE: u64 = 3000;

impl Shape {
    /// Checks what was asked for, and fills in what wasn't.
    pub(crate) fn check(
        kind: &str,
        size: u64,
        iops: Option<u64>,
        throughput: Option<u64>,
    ) -> Answered<Self> {
        let Some(rules) = KINDS.iter().find(|one| one.name == kind) else {
            return Err(Refusal::client(
                "UnknownVolumeType",
                format!("Unsupported volume type '{kind}' for volume creation."),
            ));
        };
        rules.check_size(size)?;
        let throughput = rules.throughput(throughput, iops.unwrap_or(BASE))?;
        let iops = rules.iops(size, iops)?;
        Ok(Self { kind: kind.to_owned(), size, iops, throughput })
    }
}

impl Kind {
    fn check_size(&self, size: u64) -> Answered<()> {
        let (least, most) = self.size;
        let name = self.name;
        if size < least {
            return Err(Refusal::value(format!(
                "Volume of {size}GiB is too small for volume type '{name}'; minimum is {least}GiB."
            )));
        }
        if size > most {
            return Err(Refusal::value(format!(
                "Volume of {size}GiB is too large for volume type '{name}'; maximum is {most}GiB."
            )));
        }
        Ok(())
    }

    fn iops(&self, size: u64, wanted: Option<u64>) -> Answered<Option<u64>> {
        let name = self.name;
        let Some((least, most)) = self.iops else {
            return match wanted {
                Some(_) => Err(Refusal::combination(format!(
                    "The parameter iops is not supported for {name} volumes."
                ))),
                None if name == "gp2" => Ok(Some((size * self.ratio).clamp(100, 16_000))),
                None => Ok(None),
            };
        };
        let iops = match wanted {
            Some(iops) => iops,
            None if name == "gp3" => return Ok(Some(BASE)),
            None => {
                return Err(Refusal::client(
                    "MissingParameter",
                    format!("The parameter iops must be specified for {name} volumes."),
                ));
            }
        };
        if !(least..=most).contains(&iops) {
            let (side, bound) = if iops < least { ("minimum", least) } else { ("maximum", most) };
            return Err(Refusal::value(format!(
                "Volume iops of {iops} is out of range; {side} is {bound}."
            )));
        }
        if iops > size * self.ratio && iops > least {
            let ratio = self.ratio;
            return Err(Refusal::value(format!(
                "Iops to volume size ratio of {}:1 is too high; maximum is {ratio}:1.",
                iops.div_ceil(size)
            )));
        }
        Ok(Some(iops))
    }

    /// gp3: a quarter of a MiB/s for each of the IOPS at most.
    fn throughput(&self, wanted: Option<u64>, iops: u64) -> Answered<Option<u64>> {
        if self.name != "gp3" {
            return match wanted {
                Some(_) => Err(Refusal::combination(format!(
                    "The parameter throughput is not supported for {} volumes.",
                    self.name
                ))),
                None => Ok(None),
            };
        }
        let throughput = wanted.unwrap_or(THROUGHPUT.0);
        if !(THROUGHPUT.0..=THROUGHPUT.1).contains(&throughput) {
            return Err(Refusal::value(format!(
                "Throughput of {throughput} MiB/s is out of range; it must be between {} and {}.",
                THROUGHPUT.0, THROUGHPUT.1
            )));
        }
        if throughput * 4 > iops {
            return Err(Refusal::value(format!(
                "Throughput (MiBps) to iops ratio of {throughput}:{iops} is too high; maximum is \
                 0.250000 MiBps per iops."
            )));
        }
        Ok(Some(throughput))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(kind: &str, size: u64, iops: Option<u64>, throughput: Option<u64>) -> String {
        Shape::check(kind, size, iops, throughput).expect_err("refused").code
    }

    #[test]
    fn what_is_not_given_is_what_aws_takes() {
        let gp3 = Shape::check("gp3", 10, None, None).unwrap();
        assert_eq!((gp3.iops, gp3.throughput), (Some(3000), Some(125)));
        assert_eq!(Shape::check("gp2", 1, None, None).unwrap().iops, Some(100));
        assert_eq!(Shape::check("gp2", 1000, None, None).unwrap().iops, Some(3000));
        assert_eq!(Shape::check("st1", 125, None, None).unwrap().iops, None);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let value = "InvalidParameterValue";
        for (kind, size, iops, throughput) in [
            ("gp3", 0, None, None),
            ("gp3", 100 * TIB, None, None),
            ("io1", 3, Some(100), None),
            ("st1", 124, None, None),
            ("gp3", 10, Some(2999), None),
            ("gp3", 10, Some(5001), None),
            ("gp3", 100, Some(1_000_000), None),
            ("io1", 10, Some(501), None),
            ("io2", 4, Some(4001), None),
            ("gp3", 10, None, Some(124)),
            ("gp3", 10, None, Some(751)),
            ("gp3", 64, Some(16_000), Some(2001)),
        ] {
            assert_eq!(code(kind, size, iops, throughput), value, "{kind} {size}");
        }
        assert_eq!(code("gp4", 10, None, None), "UnknownVolumeType");
        assert_eq!(code("io2", 10, None, None), "MissingParameter");
        assert_eq!(code("gp2", 10, Some(100), None), "InvalidParameterCombination");
        assert_eq!(code("io1", 10, Some(100), Some(125)), "InvalidParameterCombination");
    }

    #[test]
    fn the_bounds_themselves_are_allowed() {
        for (kind, size, iops, throughput) in [
            ("gp3", 1, Some(3000), Some(750)),
            ("gp3", 64 * TIB, Some(80_000), Some(2000)),
            ("io1", 1280, Some(64_000), None),
            ("io2", 256, Some(256_000), None),
        ] {
            Shape::check(kind, size, iops, throughput).expect(kind);
        }
    }
}
