//! Options as data: their names, help, defaults and units, from which parsing, error messages,
//! documentation and completion all follow.

mod mistake;
mod mount;

pub use mistake::{Mistake, told};

use crate::driver::Spec;
use crate::name::{SnapshotName, VolumeName};
use crate::size::Size;
use crate::volume::{Origin, Parameters};
use error::{Error, Result};
use host::Fstype;
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// What an option's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Any text.
    Text,
    /// A size such as `10GiB`.
    Size,
    /// A whole number.
    Number,
    /// Permission bits in octal.
    Mode,
    /// `true` or `false`.
    Bool,
    /// An absolute path on this machine.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Words separated by blanks.
    Words,
    /// Words separated by commas.
    List,
}

impl Unit {
    /// How the documentation calls it.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Mode => "octal mode".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Path => "absolute path".to_owned(),
            Self::Choice(words) => words.join(", "),
            Self::Words => "words separated by blanks".to_owned(),
            Self::List => "words separated by commas".to_owned(),
        }
    }

    /// Whether `value` is of this unit; otherwise `InvalidArgument`.
    pub fn check(self, name: &str, value: &str) -> Result<()> {
        let fine = match self {
            Self::Text | Self::Words | Self::List => true,
            Self::Size => return Size::parse(value).map(drop),
            Self::Number => value.parse::<u64>().is_ok(),
            Self::Mode => parse_mode(value).is_some(),
            Self::Bool => parse_bool(value).is_some(),
            Self::Path => value.starts_with('/') && !value.contains('\0'),
            Self::Choice(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
        };
        if fine { Ok(()) } else { Err(refused(name, value, &self.describe())) }
    }
}

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// Its name; compared without regard to case.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// The value when nothing is said.
    pub default: Option<&'static str>,
    /// Never shown.
    pub secret: bool,
    /// What its value is.
    pub unit: Unit,
}

impl OptionSpec {
    /// An option that is not secret.
    #[must_use]
    pub const fn new(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { name, help, default: None, secret: false, unit }
    }

    /// The same option with a default.
    #[must_use]
    pub const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

/// The options that every volume can have, as far as its driver honours them.
pub const COMMON: [OptionSpec; 11] = [
    OptionSpec::new("size", Unit::Size, "Capacity; a bare number counts GiB."),
    OptionSpec::new(
        "fsType",
        Unit::Choice(&["ext4", "xfs", "btrfs"]),
        "File system made on the volume's device.",
    ),
    OptionSpec::new(
        "mkfsOptions",
        Unit::Words,
        "Further flags for mkfs, each with its value, such as -m 1; none that names a file or device.",
    ),
    OptionSpec::new("mountOptions", Unit::List, "Mount options, such as noatime,nodev."),
    OptionSpec::new("uid", Unit::Number, "Owner of the volume's root directory."),
    OptionSpec::new("gid", Unit::Number, "Group of the volume's root directory."),
    OptionSpec::new("mode", Unit::Mode, "Permissions of the volume's root directory, like 0770."),
    OptionSpec::new(
        "subPath",
        Unit::Text,
        "Directory of the volume that users see instead of its root; made when missing.",
    ),
    OptionSpec::new("readOnly", Unit::Bool, "Mount the volume read-only."),
    OptionSpec::new("snapshot", Unit::Text, "Create the volume from this snapshot."),
    OptionSpec::new("clone", Unit::Text, "Create the volume as a copy of this volume."),
];

/// Reads volume options as users give them: names in any case, each once, none unknown.
pub fn parse_volume_options<'a>(
    spec: &Spec,
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(Parameters, Option<Origin>)> {
    // A list of thousands of volumes is read by this: each name is looked up where it is.
    let valid = || spec.volume_options().collect();
    let known = gather(|name| spec.find_volume_option(name), valid, given)?;
    let mut parameters = Parameters::default();
    let mut origin = None;
    for (option, value) in known.values() {
        option.unit.check(option.name, value)?;
        let copied = apply(&mut parameters, option, value)?;
        if copied.is_some() && origin.is_some() {
            return Err(Error::invalid_argument(
                "a volume is created from a snapshot or as a clone, not both; give one of them",
            ));
        }
        origin = origin.or(copied);
    }
    Ok((parameters, origin))
}

/// The options by their proper names; unknown or repeated → `InvalidArgument`.
pub fn normalise<'a>(
    valid: &[OptionSpec],
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<&'static str, (OptionSpec, &'a str)>> {
    let find =
        |name: &str| valid.iter().find(|option| option.name.eq_ignore_ascii_case(name)).copied();
    gather(find, || valid.to_vec(), given)
}

/// What is given, by the proper names that `find` knows; `valid` are all of them, for the error.
fn gather<'a>(
    find: impl Fn(&str) -> Option<OptionSpec>,
    valid: impl Fn() -> Vec<OptionSpec>,
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<&'static str, (OptionSpec, &'a str)>> {
    let mut known = BTreeMap::new();
    for (name, value) in given {
        let option = find(name).ok_or_else(|| unknown(name, &valid()))?;
        if known.insert(option.name, (option, value)).is_some() {
            return Err(Error::invalid_argument(format!(
                "option {} is given twice (case does not matter); give it once",
                option.name
            )));
        }
    }
    Ok(known)
}

fn unknown(name: &str, valid: &[OptionSpec]) -> Error {
    let shown: String = name.escape_debug().take(40).collect();
    let names: Vec<_> = valid.iter().map(|option| option.name).collect();
    let hint =
        nearest(name, &names).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    Error::invalid_argument(format!(
        "unknown option \"{shown}\"; {hint}valid options are {}",
        names.join(", ")
    ))
}

/// The candidate that `word` was probably meant to be.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    candidates
        .iter()
        .map(|near| (strsim::damerau_levenshtein(&word, &near.to_ascii_lowercase()), *near))
        .filter(|(distance, near)| *distance <= 2.min(near.len() / 2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, near)| near)
}

fn apply(parameters: &mut Parameters, option: &OptionSpec, value: &str) -> Result<Option<Origin>> {
    match option.name {
        "size" => parameters.size = Some(Size::parse(value)?),
        "fsType" => parameters.fs_type = Some(Fstype::parse(value)?),
        "mkfsOptions" => parameters.mkfs_options = Some(words(value)),
        "mountOptions" => parameters.mount_options = Some(mount::parse(value)?),
        "uid" => parameters.uid = Some(parse_id(option.name, value)?),
        "gid" => parameters.gid = Some(parse_id(option.name, value)?),
        "mode" => parameters.mode = parse_mode(value),
        "subPath" => parameters.sub_path = Some(parse_sub_path(value)?),
        "readOnly" => parameters.read_only = parse_bool(value),
        "snapshot" => return Ok(Some(Origin::Snapshot(SnapshotName::parse(value)?))),
        "clone" => return Ok(Some(Origin::Volume(VolumeName::parse(value)?))),
        own => drop(parameters.driver.insert(own.to_owned(), value.to_owned())),
    }
    Ok(None)
}

fn words(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

/// Everything that can be known to be wrong with what a new volume of this driver is made with,
/// without asking the machine.
#[must_use]
pub fn mistakes(spec: &Spec, parameters: &Parameters) -> Vec<Mistake> {
    let default = spec.volume_options().find(|option| option.name == "fsType");
    let default = default.and_then(|option| Fstype::parse(option.default?).ok());
    let mut mistakes = Vec::new();
    if let (Some(fstype), Some(options)) =
        (parameters.fs_type.or(default), &parameters.mkfs_options)
    {
        let checked = host::filesystem::check_options(fstype, options);
        mistakes.extend(checked.err().map(|error| Mistake { option: "mkfsOptions", error }));
    }
    if let Some(options) = &parameters.mount_options {
        let checked = mount::check(options);
        mistakes.extend(checked.err().map(|error| Mistake { option: "mountOptions", error }));
    }
    mistakes
}

fn parse_id(name: &str, value: &str) -> Result<u32> {
    // 2^32 - 1 means "leave it" to chown(2).
    let id = value.parse().ok().filter(|id| *id != u32::MAX);
    id.ok_or_else(|| refused(name, value, "a number from 0 to 4294967294"))
}

/// Permission bits in octal, at most 7777.
#[must_use]
pub fn parse_mode(value: &str) -> Option<u32> {
    let digits = value.trim_start_matches("0o");
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777)
}

/// `true`, `false` and their usual relatives.
#[must_use]
pub fn parse_bool(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn parse_sub_path(value: &str) -> Result<String> {
    let trimmed = value.trim_matches('/');
    let plain = Path::new(trimmed).components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !trimmed.is_empty() && trimmed.len() <= 1024 && !trimmed.contains('\0') {
        Ok(trimmed.to_owned())
    } else {
        Err(refused("subPath", value, "a path below the volume's root, without . and .."))
    }
}

fn refused(name: &str, value: &str, wanted: &str) -> Error {
    let shown: String = value.escape_debug().take(40).collect();
    Error::invalid_argument(format!("option {name}: \"{shown}\" is refused; give {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::r#loop::SPEC;

    fn parse(given: &[(&str, &str)]) -> Result<(Parameters, Option<Origin>)> {
        parse_volume_options(&SPEC, given.iter().copied())
    }

    #[test]
    fn option_names_are_case_insensitive() {
        let (parameters, _) = parse(&[("SIZE", "64MiB"), ("fstype", "XFS")]).unwrap();
        assert_eq!(parameters.size, Some(Size::mib(64)));
        assert_eq!(parameters.fs_type, Some(Fstype::Xfs));
    }

    #[test]
    fn an_unknown_option_lists_the_valid_ones() {
        let error = parse(&[("sise", "1")]).expect_err("unknown");
        assert!(error.message().contains("did you mean size?"), "{error}");
        assert!(error.message().contains("mountOptions"), "{error}");
    }

    #[test]
    fn an_option_given_twice_is_refused() {
        assert!(parse(&[("size", "1"), ("Size", "2")]).is_err());
    }

    #[test]
    fn bad_values_say_what_to_give() {
        for (name, value, wanted) in [
            ("uid", "root", "number"),
            ("uid", "4294967295", "4294967294"),
            ("mode", "999", "octal"),
            ("mode", "17777", "octal"),
            ("readonly", "maybe", "true or false"),
            ("fstype", "ntfs", "ext4"),
            ("subpath", "../x", "without"),
            ("subpath", "/", "below"),
            ("size", "many", "10GiB"),
            ("snapshot", "a/b", "a name has"),
        ] {
            let error = parse(&[(name, value)]).expect_err(name);
            assert_eq!(error.kind(), error::Kind::InvalidArgument);
            assert!(error.message().contains(wanted), "{name}: {error}");
        }
    }

    #[test]
    fn a_volume_has_one_origin() {
        assert!(parse(&[("snapshot", "s"), ("clone", "v")]).is_err());
        let (_, origin) = parse(&[("clone", "v")]).unwrap();
        assert_eq!(origin, Some(Origin::Volume(VolumeName::parse("v").unwrap())));
    }

    #[test]
    fn rexrays_leading_slash_of_a_sub_path_is_accepted() {
        let (parameters, _) = parse(&[("subPath", "/data")]).unwrap();
        assert_eq!(parameters.sub_path.as_deref(), Some("data"));
    }
}
