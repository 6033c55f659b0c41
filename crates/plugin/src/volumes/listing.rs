//! One list out of what all drivers answered and what is recorded. A name is shown once.

use super::calls::Found;
use super::records::Record;
use super::{Driver, Volume};
use crate::id::PluginId;
use crate::ledger::Ledger;
use error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a driver answered, with its scope.
pub(super) type Answer = Result<(Vec<Found>, String), (Error, String)>;

/// A volume in the list.
pub(super) struct Entry {
    pub(super) volume: Volume,
    plugin: Option<PluginId>,
}

/// A list in the making.
pub(super) struct Listing {
    records: BTreeMap<String, Record>,
    entries: BTreeMap<String, Entry>,
    heard: HashSet<String>,
    warnings: Vec<String>,
}

impl Listing {
    pub(super) fn new(records: Vec<Record>) -> Self {
        let records = records.into_iter().map(|record| (record.name.clone(), record)).collect();
        Self { records, entries: BTreeMap::new(), heard: HashSet::new(), warnings: Vec::new() }
    }

    /// Adds what a driver answered; instead of no answer, what is recorded.
    pub(super) fn add(&mut self, driver: &Driver, answer: Answer) {
        self.heard.insert(driver.name.clone());
        let (found, scope) = answer.unwrap_or_else(|(error, scope)| {
            self.warnings.push(format!("{}: {error}", driver.name));
            let own = self.records.values().filter(|record| record.driver == driver.name);
            (own.map(|record| Found::named(&record.name)).collect(), scope)
        });
        for found in found {
            self.add_one(driver, found, scope.clone());
        }
    }

    /// A name of two drivers is that of the recorded one, else of the first.
    fn add_one(&mut self, driver: &Driver, found: Found, scope: String) {
        let record = self.records.get(&found.name).filter(|record| record.driver == driver.name);
        let is_recorded = record.is_some();
        let name = found.name.clone();
        let volume = found.show(driver, record, scope);
        let entry = Entry { volume, plugin: driver.id.clone() };
        let Some(known) = self.entries.get_mut(&name) else {
            self.entries.insert(name, entry);
            return;
        };
        if known.volume.driver == entry.volume.driver {
            return;
        }
        let (shown, hidden) = if is_recorded {
            (&entry.volume.driver, &known.volume.driver)
        } else {
            (&known.volume.driver, &entry.volume.driver)
        };
        self.warnings.push(format!(
            "{shown} and {hidden} both have a volume {name}; the one of {shown} is shown"
        ));
        if is_recorded {
            *known = entry;
        }
    }

    /// Tells of what could not be asked at all.
    pub(super) fn warn(&mut self, error: &Error) {
        self.warnings.push(error.to_string());
    }

    /// Adds recorded volumes of drivers that do not run, as far as these are wanted.
    pub(super) fn add_orphans(&mut self, is_wanted: impl Fn(&str) -> bool) {
        let mut orphans: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in self.records.values() {
            let is_orphan = !self.heard.contains(&record.driver) && is_wanted(&record.driver);
            if is_orphan && !self.entries.contains_key(&record.name) {
                orphans.entry(record.driver.clone()).or_default().push(record.name.clone());
                let entry = Entry { volume: show_orphan(record), plugin: None };
                self.entries.insert(record.name.clone(), entry);
            }
        }
        for (driver, names) in orphans {
            self.warnings.push(format!(
                "{driver}: it does not run, so nothing is known of {}; a volume whose driver is \
                 gone for good is forgotten with rm --force",
                names.join(", ")
            ));
        }
    }

    /// The volumes by name, and the warnings.
    pub(super) fn finish(self) -> (Vec<Entry>, Vec<String>) {
        (self.entries.into_values().collect(), self.warnings)
    }
}

fn show_orphan(record: &Record) -> Volume {
    Volume {
        created_at: None,
        driver: record.driver.clone(),
        labels: Some(record.labels.clone()),
        mountpoint: String::new(),
        name: record.name.clone(),
        options: Some(record.options.clone()),
        scope: "local".to_owned(),
        status: None,
    }
}

/// Those that nobody has mounted, or that somebody has. Of a legacy plugin's volume nobody knows; it
/// counts as in use while it has a mount point.
pub(super) async fn retain_dangling(
    entries: Vec<Entry>,
    ledger: Ledger,
    dangling: bool,
) -> Result<Vec<Entry>> {
    let retain = move || {
        let plugins: BTreeSet<_> =
            entries.iter().filter_map(|entry| entry.plugin.clone()).collect();
        let mut used: BTreeMap<PluginId, HashSet<String>> = BTreeMap::new();
        for plugin in plugins {
            let holders = ledger.holders(&plugin)?.into_iter();
            used.insert(plugin, holders.map(|holder| holder.volume).collect());
        }
        let is_used = |entry: &Entry| match &entry.plugin {
            Some(plugin) => used.get(plugin).is_some_and(|used| used.contains(&entry.volume.name)),
            None => !entry.volume.mountpoint.is_empty(),
        };
        Ok(entries.into_iter().filter(|entry| is_used(entry) != dangling).collect())
    };
    tokio::task::spawn_blocking(retain)
        .await
        .map_err(|error| Error::internal("look for users of volumes").because(error))?
}
