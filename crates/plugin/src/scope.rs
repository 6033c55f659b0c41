//! From a plugin's paths to the host's, and whether both mean the same.
//!
//! A plugin that mounts outside its propagated mount, or loses the propagation, leaves an empty
//! directory on the host: a container would write there, and lose it. So a path is translated only
//! inside what both share, and compared with the kernel's tables before anybody gets it.

mod verify;

use error::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// How a plugin's mount points are to be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A legacy plugin's: host paths already.
    Host,
    /// A managed plugin's.
    Managed {
        /// `propagatedMount` inside the plugin (empty: none) and its directory on the host.
        propagated: (PathBuf, PathBuf),
        /// Bind mounts of the plugin: inside, and on the host.
        binds: Vec<(PathBuf, PathBuf)>,
    },
}

impl Scope {
    /// The host path of `inside`, by path components. Inside no propagated or bound directory →
    /// `FailedPrecondition`: it would be a directory of the plugin's own root file system, and what
    /// is written there is lost. Relative or with `..` → `InvalidArgument`.
    pub fn on_host(&self, inside: &Path) -> Result<PathBuf> {
        refuse_tricks(inside)?;
        match self.base(inside) {
            None => Ok(inside.to_owned()),
            Some(Some((base, host))) => Ok(translate(inside, base, host)),
            Some(None) => Err(Error::failed_precondition(format!(
                "the plugin answered {}, which is in its own root file system, where data is lost \
                 with it; it must mount below its propagatedMount{}",
                inside.display(),
                self.advice()
            ))),
        }
    }

    /// Checks that `host`, which [`on_host`](Self::on_host) made of `inside`, is what the plugin's
    /// process `pid` has there: the same mount or, where nothing is mounted, the same directory.
    /// `FailedPrecondition` when it is not, `Unavailable` when the plugin does not run.
    ///
    /// Reads mount tables; a file system that hangs is waited for only when `host` lies inside it.
    pub fn verify(&self, pid: Option<i32>, inside: &Path, host: &Path) -> Result<()> {
        let Some(base) = self.base(inside) else { return Ok(()) };
        let Some((base, base_host)) = base else { return self.on_host(inside).map(drop) };
        let pid = pid.ok_or_else(|| {
            Error::unavailable("the plugin does not run: its mounts cannot be verified")
        })?;
        verify::no_links(base_host, host)?;
        verify::same_mount(pid, inside, (base, base_host))
    }

    /// The shared directory that `inside` lies in. `None`: paths need no translation; `Some(None)`:
    /// there is none.
    fn base(&self, inside: &Path) -> Option<Option<(&Path, &Path)>> {
        let Self::Managed { propagated, binds } = self else { return None };
        let contains = |base: &Path| !base.as_os_str().is_empty() && inside.starts_with(base);
        if contains(&propagated.0) {
            return Some(Some((&propagated.0, &propagated.1)));
        }
        let binds = binds.iter().filter(|(base, host)| contains(base) && host.is_absolute());
        let longest = binds.max_by_key(|(base, _)| base.components().count());
        Some(longest.map(|(base, host)| (base.as_path(), host.as_path())))
    }

    fn advice(&self) -> String {
        match self {
            Self::Managed { propagated: (base, _), .. } if !base.as_os_str().is_empty() => {
                format!(" {}", base.display())
            }
            _ => ", and its config.json names none".to_owned(),
        }
    }
}

/// `inside` below `host` instead of `base`; never with a slash at the end.
fn translate(inside: &Path, base: &Path, host: &Path) -> PathBuf {
    match inside.strip_prefix(base) {
        Ok(rest) if !rest.as_os_str().is_empty() => host.join(rest).components().collect(),
        _ => host.to_owned(),
    }
}

fn refuse_tricks(inside: &Path) -> Result<()> {
    let refuse = |why: &str| {
        let path = inside.display();
        Err(Error::invalid_argument(format!("the plugin answered the path \"{path}\", {why}")))
    };
    if inside.as_os_str().is_empty() {
        return refuse("which is empty: nothing is mounted");
    }
    if !inside.is_absolute() {
        return refuse("which is relative; it must be absolute");
    }
    if inside.components().any(|part| part == Component::ParentDir) {
        return refuse("which has \"..\" in it; it must be plain");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
