//! Whether a service is started at boot: links, which the tools of the init systems would make too.
//! SysV's own tools are asked where they are, for they compute the order.

use super::{Init, Service};
use error::{Error, IoContext, Result};
use host::command;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where SysV's run levels are: Debian's way, and Red Hat's.
const LEVELS: [&str; 2] = ["etc/rc.d", "etc"];
const START: [&str; 4] = ["rc2.d", "rc3.d", "rc4.d", "rc5.d"];
const STOP: [&str; 3] = ["rc0.d", "rc1.d", "rc6.d"];

impl Service {
    /// Has it started at boot; whether that was not so before.
    pub(super) fn enable(&self) -> Result<bool> {
        let links = self.links();
        if links.iter().any(|link| link.symlink_metadata().is_ok()) || self.has_level_links() {
            return Ok(false);
        }
        if self.init == Init::SysV && self.is_live() {
            if command::find("update-rc.d").is_ok() {
                self.tool("update-rc.d", &[self.name(), "defaults"])?;
                return Ok(true);
            }
            if command::find("chkconfig").is_ok() {
                self.tool("chkconfig", &["--add", self.name()])?;
                return Ok(true);
            }
        }
        for link in &links {
            make_link(&self.link_target(), link)?;
        }
        Ok(true)
    }

    /// Has it no longer started at boot.
    pub(super) fn disable(&self) -> Result<()> {
        if self.init == Init::SysV && self.is_live() && command::find("update-rc.d").is_ok() {
            self.tool("update-rc.d", &["-f", self.name(), "remove"])?;
        }
        for link in self.links().into_iter().chain(self.level_links()) {
            match std::fs::remove_file(&link) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(format!("remove {}", link.display()), error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn tool(&self, program: &str, args: &[&str]) -> Result<()> {
        command::run_ok(program, args, command::DEADLINE).map(drop)
    }

    /// The links that start it at boot.
    fn links(&self) -> Vec<PathBuf> {
        let name = self.name();
        match self.init {
            Init::Systemd => {
                let wants = "etc/systemd/system/multi-user.target.wants";
                vec![self.at(wants).join(format!("{name}.service"))]
            }
            Init::OpenRc => vec![self.at("etc/runlevels/default").join(name)],
            Init::SysV => {
                let starts = START.map(|level| self.level(level).join(format!("S80{name}")));
                let stops = STOP.map(|level| self.level(level).join(format!("K20{name}")));
                starts.into_iter().chain(stops).collect()
            }
        }
    }

    /// What they lead to, on that machine.
    fn link_target(&self) -> PathBuf {
        let file = self.find_packaged().unwrap_or_else(|| self.file());
        Path::new("/").join(file.strip_prefix(&self.root).unwrap_or(&file))
    }

    fn level(&self, level: &str) -> PathBuf {
        let dirs = LEVELS.map(|dir| self.at(dir).join(level));
        let found = dirs.iter().find(|dir| dir.is_dir()).unwrap_or(&dirs[1]);
        found.clone()
    }

    /// Links of any order in SysV's run levels, which its tools choose.
    fn level_links(&self) -> Vec<PathBuf> {
        if self.init != Init::SysV {
            return Vec::new();
        }
        let levels = START.into_iter().chain(STOP).map(|level| self.level(level));
        let entries = levels.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| self.is_level_link(path)).collect()
    }

    /// Whether it is `S12name` or `K12name`.
    fn is_level_link(&self, path: &Path) -> bool {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        file.starts_with(['S', 'K']) && file.get(3..) == Some(self.name())
    }

    fn has_level_links(&self) -> bool {
        !self.level_links().is_empty()
    }
}

fn make_link(target: &Path, link: &Path) -> Result<()> {
    let dir = link.parent().unwrap_or(link);
    std::fs::create_dir_all(dir).doing(|| format!("make directory {}", dir.display()))?;
    symlink(target, link).doing(|| format!("make the link {}", link.display()))
}
