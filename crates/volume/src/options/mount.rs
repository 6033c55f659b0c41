//! Mount options of a volume: what is wrong with them whatever file system they are for. Pure; what
//! only the kernel knows is asked of [`host::Mounts::check_options`].

use error::{Error, Result};

/// Options that lead to other devices than the volume's own.
const ELSEWHERE: [&str; 6] = ["source", "device", "logdev", "rtdev", "journal_dev", "journal_path"];

/// Options of tmpfs that say how large the volume is, which its own option says.
const SIZES: [&str; 2] = ["size", "nr_blocks"];

/// Of each of these a mount has one.
const ONE_OF: [&[&str]; 7] = [
    &["ro", "rw"],
    &["suid", "nosuid"],
    &["dev", "nodev"],
    &["exec", "noexec"],
    &["noatime", "relatime", "strictatime"],
    &["diratime", "nodiratime"],
    &["lazytime", "nolazytime"],
];

/// An option of btrfs of which each value counts.
const ADDED_UP: &str = "rescue";

/// Reads options separated by commas; none at all where `value` is empty.
pub(super) fn parse(value: &str) -> Result<Vec<String>> {
    if value.trim().is_empty() {
        return Ok(Vec::new());
    }
    let options: Vec<_> = value.split(',').map(|option| option.trim().to_owned()).collect();
    if options.iter().any(String::is_empty) {
        let shown: String = value.escape_debug().take(80).collect();
        return Err(Error::invalid_argument(format!(
            "option mountOptions: \"{shown}\" has a comma with no option before or after it; \
             separate options by one comma each"
        )));
    }
    Ok(options)
}

/// What cannot be, of any file system → `InvalidArgument`.
pub(super) fn check(options: &[String]) -> Result<()> {
    for (at, option) in options.iter().enumerate() {
        alone(option)?;
        let contrary = options[..at].iter().find(|before| contradict(before, option));
        if let Some(before) = contrary {
            return Err(Error::invalid_argument(format!(
                "mount options {before} and {option} contradict each other; give one of them"
            )));
        }
    }
    Ok(())
}

fn alone(option: &str) -> Result<()> {
    let refuse = |why: &str| {
        let shown: String = option.escape_debug().take(80).collect();
        Err(Error::invalid_argument(format!("mount option \"{shown}\" {why}")))
    };
    if option.chars().any(char::is_control) {
        return refuse("has a control character in it; leave that out");
    }
    let key = key(option);
    if key.is_empty() {
        return refuse("has no name; give it as NAME or NAME=VALUE");
    }
    if ELSEWHERE.contains(&key) {
        return refuse("leads to another device than the volume's own; leave it out");
    }
    if SIZES.contains(&key) {
        return refuse("is how large the volume is; say that by the volume's option size");
    }
    Ok(())
}

fn key(option: &str) -> &str {
    option.split_once('=').map_or(option, |(key, _)| key)
}

fn contradict(one: &str, other: &str) -> bool {
    let have_values = one.contains('=') && other.contains('=');
    let other_value = have_values && key(one) == key(other) && key(one) != ADDED_UP;
    let opposite = ONE_OF.iter().any(|words| words.contains(&one) && words.contains(&other));
    one != other && (other_value || opposite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(value: &str) -> Result<()> {
        parse(value).and_then(|options| check(&options))
    }

    #[test]
    fn mount_options_that_cannot_be_are_refused_and_named() {
        for (value, named, way_out) in [
            ("noatime,,nodev", "noatime,,nodev", "one comma"),
            ("noatime,", "noatime,", "one comma"),
            (",", ",", "one comma"),
            ("a\u{7}b", "a\\u{7}b", "leave that out"),
            ("noatime,no\nexec", "no\\nexec", "leave that out"),
            ("=x", "=x", "NAME=VALUE"),
            ("device=/dev/sda", "device=/dev/sda", "leave it out"),
            ("noatime,logdev=/dev/sda", "logdev=/dev/sda", "leave it out"),
            ("journal_path=/dev/sda", "journal_path=/dev/sda", "leave it out"),
            ("source=/dev/sda", "source=/dev/sda", "leave it out"),
            ("size=1G", "size=1G", "option size"),
            ("commit=5,noatime,commit=30", "commit=5 and commit=30", "one of them"),
            ("ro,rw", "ro and rw", "one of them"),
            ("relatime,noatime", "relatime and noatime", "one of them"),
            ("noexec,nodev,exec", "noexec and exec", "one of them"),
        ] {
            let error = checked(value).expect_err(value);
            assert_eq!(error.kind(), error::Kind::InvalidArgument);
            assert!(error.message().contains(named), "{value}: {error}");
            assert!(error.message().contains(way_out), "{value}: {error}");
        }
    }

    #[test]
    fn usual_mount_options_are_no_mistakes() {
        for value in [
            "",
            "  ",
            "noatime",
            "noatime, nodev,nosuid,noexec",
            "defaults,rw,noatime,nodiratime",
            "discard,discard=async",
            "commit=30,commit=30",
            "rescue=usebackuproot,rescue=nologreplay",
            "context=\"system_u:object_r:container_file_t:s0\"",
            "errors=remount-ro,data=ordered",
            "subvol=my data",
        ] {
            checked(value).expect(value);
        }
        assert_eq!(parse(" noatime , nodev ").unwrap(), ["noatime", "nodev"]);
        assert_eq!(parse("").unwrap(), Vec::<String>::new());
    }
}
