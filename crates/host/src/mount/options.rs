//! mount(8)-style options, sorted into attributes of the mount (mount_setattr(2)) and parameters of
//! the file system (fsconfig(2)). Pure.

use error::{Error, Result};
use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_RELATIME, MOUNT_ATTR_STRICTATIME,
};

/// Option, attributes it clears, attributes it sets.
const ATTRIBUTES: [(&str, u64, u64); 15] = [
    ("defaults", 0, 0),
    ("ro", 0, MOUNT_ATTR_RDONLY),
    ("rw", MOUNT_ATTR_RDONLY, 0),
    ("nosuid", 0, MOUNT_ATTR_NOSUID),
    ("suid", MOUNT_ATTR_NOSUID, 0),
    ("nodev", 0, MOUNT_ATTR_NODEV),
    ("dev", MOUNT_ATTR_NODEV, 0),
    ("noexec", 0, MOUNT_ATTR_NOEXEC),
    ("exec", MOUNT_ATTR_NOEXEC, 0),
    ("nosymfollow", 0, MOUNT_ATTR_NOSYMFOLLOW),
    ("nodiratime", 0, MOUNT_ATTR_NODIRATIME),
    ("diratime", MOUNT_ATTR_NODIRATIME, 0),
    ("noatime", MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME),
    ("relatime", MOUNT_ATTR__ATIME, MOUNT_ATTR_RELATIME),
    ("strictatime", MOUNT_ATTR__ATIME, MOUNT_ATTR_STRICTATIME),
];

/// Options of one mount.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Mount attributes to set.
    pub(super) set: u64,
    /// Mount attributes to clear before.
    pub(super) clear: u64,
    /// Parameters of the file system: a flag, or a key with its value.
    pub(super) parameters: Vec<(String, Option<String>)>,
}

impl Options {
    /// Sorts `options`; of two that contradict each other the later one counts, except that
    /// `read_only` has the last word.
    pub(super) fn parse(options: &[String], read_only: bool) -> Result<Self> {
        let mut parsed = Self::default();
        for option in options.iter().filter(|option| !option.is_empty()) {
            parsed.add(option)?;
        }
        if read_only {
            parsed.change(0, MOUNT_ATTR_RDONLY);
        }
        Ok(parsed)
    }

    /// Whether the mount will refuse writes.
    pub(super) fn is_read_only(&self) -> bool {
        self.set & MOUNT_ATTR_RDONLY != 0
    }

    /// Whether a directory can be mounted with them; otherwise `InvalidArgument`.
    pub(super) fn check_for_directory(&self) -> Result<()> {
        match self.parameters.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid_argument(format!(
                "mount option {name} is one of file systems, and the volume is a directory of one \
                 that is mounted already; leave it out"
            ))),
        }
    }

    fn add(&mut self, option: &str) -> Result<()> {
        if option.contains(',') {
            return Err(Error::invalid_argument(format!(
                "mount option {option:?} has a comma; give each option by itself"
            )));
        }
        if let Some((_, clear, set)) = ATTRIBUTES.iter().find(|(name, ..)| *name == option) {
            self.change(*clear, *set);
        } else {
            let (key, value) = option.split_once('=').map_or((option, None), |(k, v)| (k, Some(v)));
            self.parameters.push((key.to_owned(), value.map(str::to_owned)));
        }
        Ok(())
    }

    fn change(&mut self, clear: u64, set: u64) {
        self.set = self.set & !clear | set;
        self.clear = self.clear & !set | clear;
        // The kernel wants the whole atime field cleared when any of it is set.
        if self.clear & MOUNT_ATTR__ATIME != 0 {
            self.clear |= MOUNT_ATTR__ATIME;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str], read_only: bool) -> Options {
        let options: Vec<_> = options.iter().copied().map(str::to_owned).collect();
        Options::parse(&options, read_only).expect("valid")
    }

    #[test]
    fn attributes_and_parameters_are_told_apart() {
        let options = parse(&["nosuid", "data=ordered", "lazytime", "noatime", ""], false);
        assert_eq!(options.set, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOATIME);
        assert_eq!(options.clear, MOUNT_ATTR__ATIME);
        let data = ("data".to_owned(), Some("ordered".to_owned()));
        assert_eq!(options.parameters, [data, ("lazytime".to_owned(), None)]);
    }

    #[test]
    fn the_later_of_two_options_counts() {
        assert!(!parse(&["ro", "rw"], false).is_read_only());
        assert!(parse(&["rw", "ro"], false).is_read_only());
        assert_eq!(parse(&["noatime", "relatime"], false).set, 0);
        assert_eq!(parse(&["noexec", "exec"], false).clear, MOUNT_ATTR_NOEXEC);
    }

    #[test]
    fn read_only_has_the_last_word() {
        let options = parse(&["rw"], true);
        assert!(options.is_read_only());
        assert_eq!(options.clear & MOUNT_ATTR_RDONLY, 0);
    }

    #[test]
    fn a_value_may_contain_an_equals_sign() {
        let options = parse(&["context=a=b"], false);
        assert_eq!(options.parameters, [("context".to_owned(), Some("a=b".to_owned()))]);
    }

    #[test]
    fn a_comma_is_refused() {
        let error = Options::parse(&["ro,nosuid".to_owned()], false).expect_err("comma");
        assert!(error.message().contains("give each option by itself"));
    }
}
