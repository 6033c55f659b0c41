//! Which mounts are of which plugin: the engine tells where each plugin's propagated mount is.

use crate::cli::plugin::engine;
use crate::cli::terminal::note;
use error::{Error, Kind, Result};
use plugin::engine::Description;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The mount table is wanted most when something hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// The propagated mounts of plugins, by directory.
#[derive(Debug, Default)]
pub(super) struct Plugins(HashMap<PathBuf, String>);

impl Plugins {
    /// Asks the engine. Where none runs, there are no plugins.
    pub(super) async fn ask() -> Self {
        match tokio::time::timeout(PATIENCE, descriptions()).await {
            Ok(Ok(plugins)) => Self::of(plugins),
            Ok(Err(error)) if matches!(error.kind(), Kind::Unavailable | Kind::NotFound) => {
                Self::default()
            }
            Ok(Err(error)) => unknown(&error),
            Err(_) => unknown(&Error::deadline_exceeded("the engine does not answer")),
        }
    }

    /// Those of `plugins`.
    pub(super) fn of(plugins: Vec<Description>) -> Self {
        let place = |plugin: Description| Some((plugin.propagated_mount?, plugin.name));
        Self(plugins.into_iter().filter_map(place).collect())
    }

    /// The plugin at or below whose propagated mount `target` is.
    pub(super) fn owner(&self, target: &Path) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        target.ancestors().find_map(|dir| self.0.get(dir)).map(String::as_str)
    }
}

async fn descriptions() -> Result<Vec<Description>> {
    engine(None)?.get("/mobula/plugins").await
}

fn unknown(error: &Error) -> Plugins {
    note(&format!("mounts of plugins are not marked: {error}"));
    Plugins::default()
}
