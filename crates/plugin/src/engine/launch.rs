//! What has to be there before a plugin's process can run. Blocking.

use super::Options;
use super::slot::Installed;
use crate::config::Config;
use crate::home::PluginHome;
use crate::rootfs::Layers;
use crate::runtime::{Instance, Launch, Runtime};
use crate::settings::Settings;
use crate::spec::{self, Confinement};
use error::{IoContext, Result};
use host::Mounts;
use host::file::make_dir;
use host::linux::Linux;
use host::root::Root;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files of the machine that a plugin with a network sees.
const NETWORK_FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// Starts the plugin; its socket may come later.
pub(super) fn launch(
    options: &Options,
    layers: &Layers,
    installed: &Installed,
    home: &PluginHome,
) -> Result<Instance> {
    let (record, config) = (&installed.record, installed.config()?);
    Instance::clean(&home.run, &record.id, &options.runtime)?;
    super::open::remove_temporaries(&home.run);
    let owner = owner(&config, &record.choices.confinement);
    make_run_directory(home, owner)?;
    let credentials = host::secret::credentials();
    let settings = Settings::effective(&config, &record.overrides, credentials.as_deref())?;
    super::sources::ensure(&record.name, &settings.mounts)?;
    if !config.propagated_mount.is_empty() {
        share(&home.propagated(), owner)?;
    }
    layers.mount(&record.chain(), &record.changes(home), &home.rootfs())?;
    make_work_directory(&home.rootfs(), &config.work_dir)?;
    let hosts: Vec<_> =
        NETWORK_FILES.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    let mut spec = spec::build(&spec::Input {
        id: &record.id,
        config: &config,
        settings: &settings,
        devices: &spec::devices(&settings)?,
        rootfs: &home.rootfs(),
        passwd: &spec::passwd(&home.rootfs())?,
        sockets: &home.sockets(),
        propagated: &home.propagated(),
        hosts: &hosts,
        confinement: &record.choices.confinement,
    })?;
    if options.runtime == Runtime::BuiltIn {
        spec::for_libcontainer(&mut spec)?;
    }
    Instance::launch(&Launch {
        id: record.id.clone(),
        runtime: options.runtime.clone(),
        run: home.run.clone(),
        spec,
        log: home.log(),
        log_limits: options.log,
        shim: None,
    })
}

/// Makes the directory that the program begins in, if the image has none.
fn make_work_directory(rootfs: &Path, dir: &str) -> Result<()> {
    if dir.is_empty() {
        return Ok(());
    }
    let doing = || format!("make the work directory {dir} in the plugin's root");
    Root::open(rootfs).doing(doing)?.make_dirs(Path::new(dir)).doing(doing)
}

/// Who the plugin's program runs as: what is made for it has to be its own.
fn owner(config: &Config, confinement: &Confinement) -> (u32, u32) {
    if confinement.user { (config.user.uid, config.user.gid) } else { (0, 0) }
}

/// An empty directory for the plugin's sockets: one that an earlier run left would pass for this
/// run's until it is replaced.
fn make_run_directory(home: &PluginHome, owner: (u32, u32)) -> Result<()> {
    let sockets = home.sockets();
    host::file::remove_tree(&sockets)?;
    make_dir(&sockets, 0o700)?;
    for dir in [&home.run, &sockets] {
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(dir, mode).doing(|| format!("protect {}", dir.display()))?;
    }
    give(&sockets, owner)
}

/// Makes what the plugin mounts below `dir` visible on the host, whatever the host's own mounts are.
fn share(dir: &Path, owner: (u32, u32)) -> Result<()> {
    if !dir.exists() {
        std::fs::create_dir(dir).doing(|| format!("make {}", dir.display()))?;
        // Whoever uses a volume, as whatever user, has to come through here.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir, mode).doing(|| format!("open up {}", dir.display()))?;
        give(dir, owner)?;
    }
    Linux::default().ensure_shared(dir).map(drop)
}

fn give(dir: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    std::os::unix::fs::lchown(dir, Some(uid), Some(gid))
        .doing(|| format!("give {} to the plugin's user {uid}:{gid}", dir.display()))
}
