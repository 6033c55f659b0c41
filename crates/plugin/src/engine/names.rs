//! Which plugin is meant, and which names are taken.

use super::slot::Slot;
use super::{Engine, install, locked};
use crate::id::PluginId;
use crate::reference::Reference;
use error::{Error, Result};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Names that are being installed.
pub(super) type Names = Arc<Mutex<HashSet<String>>>;

/// A name that nobody else can install meanwhile.
#[derive(Debug)]
pub(super) struct Reserved {
    name: String,
    names: Names,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        locked(&self.names).remove(&self.name);
    }
}

impl Engine {
    /// The name that [`pull`](Self::pull) will install under; `AlreadyExists` if it is taken,
    /// `InvalidArgument` for a bad reference.
    pub fn name_for(&self, remote: &str, name: &str) -> Result<String> {
        let remote = Reference::parse(remote)?;
        let name = match name {
            "" => remote.local_name(),
            name => Reference::parse(name)?.local_name(),
        };
        match self.find_named(&name) {
            None => Ok(name),
            Some(_) => Err(install::taken(&name)),
        }
    }

    /// Takes a name until the plugin is installed under it.
    pub(super) fn reserve(&self, name: &str) -> Result<Reserved> {
        let mut names = locked(&self.names);
        if self.find_named(name).is_some() || !names.insert(name.to_owned()) {
            return Err(install::taken(name));
        }
        Ok(Reserved { name: name.to_owned(), names: Arc::clone(&self.names) })
    }

    /// The installed plugins, in the order of their IDs.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.values().cloned().collect()
    }

    pub(super) fn ids(&self) -> Vec<PluginId> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.keys().cloned().collect()
    }

    pub(super) fn remember(&self, slot: &Arc<Slot>) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.insert(slot.record().id.clone(), Arc::clone(slot));
    }

    pub(super) fn forget(&self, id: &PluginId) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.remove(id);
    }

    pub(super) fn find_id(&self, id: &PluginId) -> Option<Arc<Slot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(id).cloned()
    }

    fn find_named(&self, name: &str) -> Option<Arc<Slot>> {
        self.slots().into_iter().find(|slot| slot.record().name == name)
    }

    /// `NotFound` for one that was removed while its turn was waited for.
    pub(super) fn still_there(&self, slot: &Slot) -> Result<()> {
        let record = slot.record();
        self.find_id(&record.id).map(drop).ok_or_else(|| missing(&record.name))
    }

    /// The plugin that `text` means: its name with or without tag, its full reference, its ID or a
    /// unique prefix of it.
    pub(super) fn slot(&self, text: &str) -> Result<Arc<Slot>> {
        let named = Reference::parse(text).ok().filter(|reference| reference.digest.is_none());
        if let Some(slot) = named.and_then(|named| self.find_named(&named.local_name())) {
            return Ok(slot);
        }
        let is_prefix = !text.is_empty() && text.len() <= 64;
        let mut matching = self
            .slots()
            .into_iter()
            .filter(|slot| is_prefix && slot.record().id.as_str().starts_with(text));
        match (matching.next(), matching.next()) {
            (Some(slot), None) => Ok(slot),
            (Some(_), Some(_)) => {
                Err(Error::invalid_argument(format!("multiple plugins found for {text:?}")))
            }
            (None, _) => Err(missing(text)),
        }
    }
}

/// The error for a plugin that is not installed.
pub(super) fn missing(name: &str) -> Error {
    Error::not_found(format!("plugin {name:?} not found"))
}
