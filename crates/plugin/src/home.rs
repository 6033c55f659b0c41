//! Where everything of the engine lives.

use crate::id::PluginId;
use std::path::{Path, PathBuf};

/// The directories of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// What survives a reboot: `/var/lib/mobula`.
    pub state: PathBuf,
    /// What does not: `/run/mobula`.
    pub run: PathBuf,
    /// Where legacy plugins have their sockets and where enabled ones are published:
    /// `/run/docker/plugins`.
    pub sockets: PathBuf,
    /// Where `.spec` and `.json` files of legacy plugins are: `/etc/docker/plugins`,
    /// `/usr/lib/docker/plugins`.
    pub specs: Vec<PathBuf>,
}

impl Home {
    /// The standard directories below `root` (`/` for the machine itself).
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            state: root.join("var/lib/mobula"),
            run: root.join("run/mobula"),
            sockets: root.join("run/docker/plugins"),
            specs: vec![root.join("etc/docker/plugins"), root.join("usr/lib/docker/plugins")],
        }
    }

    /// Content-addressed blobs.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.state.join("blobs")
    }

    /// Unpacked layers, shared between plugins.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.state.join("layers")
    }

    /// One directory per installed plugin.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.state.join("plugins")
    }

    /// What the engine knows about volumes that were made through it.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.state.join("plugin-volumes")
    }

    /// The directories of one plugin.
    #[must_use]
    pub fn plugin(&self, id: &PluginId) -> PluginHome {
        PluginHome {
            state: self.plugins().join(id.as_str()),
            run: self.run.join("plugins").join(id.as_str()),
        }
    }
}

/// The directories of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginHome {
    /// `/var/lib/mobula/plugins/<id>`.
    pub state: PathBuf,
    /// `/run/mobula/plugins/<id>`.
    pub run: PathBuf,
}

impl PluginHome {
    /// The plugin's record.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.state.join("plugin.json")
    }

    /// What the plugin mounts below its `propagatedMount` appears below this on the host.
    #[must_use]
    pub fn propagated(&self) -> PathBuf {
        self.state.join("propagated-mount")
    }

    /// The plugin's root file system, mounted while it is enabled.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.state.join("rootfs")
    }

    /// What the plugin said on its output streams.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("log")
    }

    /// Is `/run/docker/plugins` inside the plugin; its sockets appear here.
    #[must_use]
    pub fn sockets(&self) -> PathBuf {
        self.run.join("sockets")
    }
}
