//! The agent and the plugin engine as services of the machine: what systemd, OpenRC or SysV init
//! need to know of them, written, removed, and told to start and stop.
//!
//! Only the init system starts and stops anything; what a package brought stays the package's.

mod control;
mod enable;
mod init;
mod text;
mod users;

pub use control::Status;
pub use init::Init;

use crate::paths::Paths;
use error::{Error, IoContext, Kind, Result};
use host::file::Durability;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Which of the two daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Volumes: `mobula start`.
    Agent,
    /// Managed plugins: `mobula engine`.
    Engine,
}

impl Part {
    /// The name of its service.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "mobula",
            Self::Engine => "mobula-engine",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Agent => "start",
            Self::Engine => "engine",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Agent => "Mobula: volumes for containers",
            Self::Engine => "Mobula: managed plugins for containers",
        }
    }

    fn socket(self, paths: &Paths) -> PathBuf {
        match self {
            Self::Agent => paths.socket(),
            Self::Engine => paths.engine_socket(),
        }
    }
}

/// One daemon as a service of one machine.
#[derive(Debug)]
pub struct Service {
    part: Part,
    init: Init,
    root: PathBuf,
}

/// What a verb did, line by line; nothing when all was as wanted.
pub type Changes = Vec<String>;

impl Service {
    /// The service of the machine whose root directory is `root`; `init` when its init system is
    /// not to be looked for. No init system known to us → `FailedPrecondition`.
    pub fn find(part: Part, root: &Path, init: Option<Init>) -> Result<Self> {
        let init = init.map_or_else(|| Init::find(root), Ok)?;
        Ok(Self { part, init, root: root.to_owned() })
    }

    /// The init system.
    #[must_use]
    pub fn init(&self) -> Init {
        self.init
    }

    /// The name of the service.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.part.name()
    }

    /// Whether `root` is this machine, and not the image of one.
    fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A path of that machine.
    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where we write what the init system reads.
    fn file(&self) -> PathBuf {
        let name = self.name();
        match self.init {
            Init::Systemd => self.at(format!("etc/systemd/system/{name}.service")),
            Init::OpenRc | Init::SysV => self.at(format!("etc/init.d/{name}")),
        }
    }

    /// The file that a package brought, if one did.
    fn find_packaged(&self) -> Option<PathBuf> {
        if self.init == Init::Systemd {
            let dirs = ["usr/lib/systemd/system", "lib/systemd/system"];
            let files = dirs.map(|dir| self.at(dir).join(format!("{}.service", self.name())));
            return files.into_iter().find(|file| file.exists());
        }
        let list = std::fs::read_to_string(self.at("var/lib/dpkg/info/mobula.list")).ok()?;
        let own = format!("/etc/init.d/{}", self.name());
        list.lines().any(|line| line == own).then(|| self.file())
    }

    fn is_installed(&self) -> bool {
        self.file().exists() || self.find_packaged().is_some()
    }

    /// Writes the service, has it started at boot and, on a running machine, starts it.
    ///
    /// What is so already is left alone; `program` is the path of this program on that machine.
    pub fn install(&self, program: &Path, start: bool) -> Result<Changes> {
        self.permitted("install")?;
        let mut changes = Changes::new();
        if self.find_packaged().is_none() && self.write(program)? {
            changes.push(format!("wrote {}", self.file().display()));
            self.reread()?;
        }
        if self.enable()? {
            changes.push(format!("{} is started at boot ({})", self.name(), self.init));
        }
        if start && self.is_live() {
            match self.start() {
                Ok(true) => changes.push(format!("{} is started", self.name())),
                Ok(false) => {}
                // Somebody's own agent is no reason to fail: it serves, and the service is ready.
                Err(error) if error.kind() == Kind::FailedPrecondition => {
                    changes.push(format!("{} is not started: {error}", self.name()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(changes)
    }

    /// Stops the service, and removes what [`install`](Self::install) wrote. Volumes and
    /// configuration stay.
    ///
    /// Something is mounted, and no `force` → `FailedPrecondition`, naming it: without the program
    /// nobody could unmount it.
    pub fn uninstall(&self, force: bool) -> Result<Changes> {
        self.permitted("uninstall")?;
        if let Some(file) = self.find_packaged() {
            return Err(Error::failed_precondition(format!(
                "{} belongs to the package mobula; remove that: apt-get remove mobula, or dnf remove \
                 mobula",
                file.display()
            )));
        }
        if self.is_live() && !force {
            self.unused()?;
        }
        let mut changes = Changes::new();
        if !self.file().exists() {
            return Ok(changes);
        }
        if self.is_live() && self.stop()? {
            changes.push(format!("{} is stopped", self.name()));
        }
        self.disable()?;
        std::fs::remove_file(self.file()).doing(|| format!("remove {}", self.file().display()))?;
        changes.push(format!("removed {}", self.file().display()));
        self.reread()?;
        Ok(changes)
    }

    /// Fails with the names of what is mounted.
    fn unused(&self) -> Result<()> {
        let used = users::mounted(self.part, &Paths::at("/"))?;
        if used.is_empty() {
            return Ok(());
        }
        Err(Error::failed_precondition(format!(
            "still mounted: {}; stop the containers that use it and unmount it (`mobula mounts` \
             shows by whom), or pass --force and leave it mounted",
            used.join(", ")
        )))
    }

    /// Writes the file unless it is as it shall be; whether it was written.
    fn write(&self, program: &Path) -> Result<bool> {
        let (file, text) = (self.file(), text::render(self.part, self.init, program)?);
        if std::fs::read_to_string(&file).is_ok_and(|old| old == text) {
            return Ok(false);
        }
        let dir = file.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(dir).doing(|| format!("make directory {}", dir.display()))?;
        host::file::write_atomic(&file, text.as_bytes(), Durability::Synced)?;
        let mode = if self.init == Init::Systemd { 0o644 } else { 0o755 };
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))
            .doing(|| format!("set the mode of {}", file.display()))?;
        Ok(true)
    }

    /// Only root changes the services of a machine; an image is its owner's.
    fn permitted(&self, verb: &str) -> Result<()> {
        let own = std::fs::metadata("/proc/self").doing(|| "look at /proc/self")?;
        if own.uid() == 0 || !self.is_live() {
            return Ok(());
        }
        Err(Error::permission_denied(format!(
            "only root may {verb} a service; try `sudo mobula service {verb}`"
        )))
    }
}

/// The service file of a part as a package brings it, with its path.
pub fn packaged(part: Part, init: Init, program: &Path) -> Result<(String, String)> {
    let path = match init {
        Init::Systemd => format!("lib/systemd/system/{}.service", part.name()),
        Init::OpenRc | Init::SysV => format!("etc/init.d/{}", part.name()),
    };
    Ok((path, text::render(part, init, program)?))
}

#[cfg(test)]
mod tests;
