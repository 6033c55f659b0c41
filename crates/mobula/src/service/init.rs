//! Which init system a machine has.

use error::{Error, Result};
use std::fmt;
use std::path::Path;

/// An init system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// systemd: a unit.
    Systemd,
    /// OpenRC: a service script for openrc-run.
    OpenRc,
    /// Any other with /etc/init.d: an LSB script.
    SysV,
}

/// By what a running system is known (sd_booted(3), and openrc's own test), and by what one that is
/// only a directory.
const SIGNS: [(Init, &str, &[&str]); 3] = [
    (Init::Systemd, "run/systemd/system", &["usr/lib/systemd/systemd", "lib/systemd/systemd"]),
    (Init::OpenRc, "run/openrc/softlevel", &["sbin/openrc-run", "usr/sbin/openrc-run"]),
    (Init::SysV, "etc/init.d", &["etc/init.d"]),
];

impl Init {
    /// The init system of the machine whose root directory is `root`; none → `FailedPrecondition`.
    pub(super) fn find(root: &Path) -> Result<Self> {
        let is_live = root == Path::new("/");
        let has = |(_, live, dead): &&(Self, &str, &[&str])| {
            if is_live {
                return root.join(live).exists();
            }
            dead.iter().any(|sign| root.join(sign).exists())
        };
        SIGNS.iter().find(has).map(|(init, _, _)| *init).ok_or_else(|| {
            Error::failed_precondition(format!(
                "{} runs neither systemd nor OpenRC and has no etc/init.d; have `mobula start` \
                 started your own way, or say --init",
                root.display()
            ))
        })
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "OpenRC",
            Self::SysV => "SysV init",
        })
    }
}
