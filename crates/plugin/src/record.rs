//! An installed plugin's record: `<state>/plugins/<id>/plugin.json`. Its one atomic write is what
//! installs, upgrades, enables and disables a plugin; everything else can be made again from it.

use crate::config::Config;
use crate::digest::Digest;
use crate::engine::Choices;
use crate::home::PluginHome;
use crate::id::PluginId;
use crate::privileges::Privilege;
use crate::registry::Descriptor;
use crate::settings::Overrides;
use crate::store::Store;
use error::Result;
use host::file::Durability;
use host::record::{self, Read};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The largest configuration taken, in bytes.
pub const CONFIG_LIMIT: u64 = 1 << 20;

/// What is known about an installed plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its identity.
    pub id: PluginId,
    /// `name:tag`.
    pub name: String,
    /// Where it came from, in full.
    pub reference: String,
    /// The manifest it came with; none when it was created here.
    pub manifest: Option<Digest>,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Counts the versions it was upgraded to; what the plugin writes over its layers is kept per
    /// version.
    #[serde(default)]
    pub generation: u32,
    /// Whether it is wanted to run.
    pub enabled: bool,
    /// What its user set.
    #[serde(default)]
    pub overrides: Overrides,
    /// What its user granted.
    #[serde(default)]
    pub privileges: Vec<Privilege>,
    /// What its operator chose.
    #[serde(default)]
    pub choices: Choices,
    /// When it was installed.
    pub created: Timestamp,
}

impl Record {
    /// Reads the record of the plugin at `home`.
    pub fn read(home: &PluginHome) -> Result<Read<Self>> {
        record::read(&home.record())
    }

    /// Writes it, durably.
    pub fn write(&self, home: &PluginHome) -> Result<()> {
        record::write(&home.record(), self, Durability::Synced)
    }

    /// The digests of its layers, lowest first.
    #[must_use]
    pub fn chain(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.digest.clone()).collect()
    }

    /// Every blob it needs.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        let layers = self.layers.iter().map(|layer| &layer.digest);
        self.manifest.iter().chain([&self.config.digest]).chain(layers)
    }

    /// Its configuration, from the store.
    pub fn configuration(&self, store: &Store) -> Result<Config> {
        Config::decode(&store.read(&self.config.digest, CONFIG_LIMIT)?)
    }

    /// Where what it writes over its layers is kept.
    #[must_use]
    pub fn changes(&self, home: &PluginHome) -> PathBuf {
        home.state.join(format!("changes-{}", self.generation))
    }
}
