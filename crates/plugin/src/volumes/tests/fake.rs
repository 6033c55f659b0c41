//! An engine with fake plugins, each with a store of volumes.

use super::super::*;
use crate::rpc::fake::{Call, Fake, Said, ok};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Mutex;
use tempfile::TempDir;

/// What a fake plugin has, and which calls it refuses with which words. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Store {
    names: Arc<Mutex<Vec<String>>>,
    refused: Arc<Mutex<HashMap<String, String>>>,
}

impl Store {
    pub(super) fn insert(&self, name: &str) {
        self.names.lock().unwrap().push(name.to_owned());
    }

    pub(super) fn clear(&self) {
        self.names.lock().unwrap().clear();
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.lock().unwrap().iter().any(|known| known == name)
    }

    pub(super) fn refuse(&self, method: &str, words: &str) {
        self.refused.lock().unwrap().insert(format!("VolumeDriver.{method}"), words.to_owned());
    }

    #[allow(clippy::needless_pass_by_value, reason = "what a fake plugin hands over")]
    fn answer(&self, call: Call) -> Said {
        if let Some(words) = self.refused.lock().unwrap().get(&call.method) {
            return (500, json!({ "Err": words }).to_string());
        }
        let show = |name: &str| json!({ "Name": name, "Mountpoint": "", "Status": {} });
        match call.method.as_str() {
            "VolumeDriver.Get" if self.has(&call.name()) => {
                ok(json!({ "Volume": show(&call.name()), "Err": "" }))
            }
            "VolumeDriver.Get" => ok(json!({ "Err": "no such volume" })),
            "VolumeDriver.List" => {
                let names = self.names.lock().unwrap();
                let volumes: Vec<Value> = names.iter().map(|name| show(name)).collect();
                ok(json!({ "Volumes": volumes, "Err": "" }))
            }
            "VolumeDriver.Create" => {
                self.insert(&call.name());
                ok(json!({ "Err": "" }))
            }
            "VolumeDriver.Remove" => {
                self.names.lock().unwrap().retain(|name| *name != call.name());
                ok(json!({ "Err": "" }))
            }
            "VolumeDriver.Capabilities" => ok(json!({ "Capabilities": { "Scope": "local" } })),
            other => (404, format!("no method {other}")),
        }
    }
}

/// Volumes over fake plugins.
pub(super) struct Engine {
    dir: TempDir,
    pub(super) volumes: Volumes,
    pub(super) ledger: Ledger,
    fakes: Vec<Fake>,
    stores: Vec<Store>,
    drivers: Mutex<Vec<Arc<Driver>>>,
    silent: Mutex<Vec<String>>,
}

impl Engine {
    /// Plugins of these names that work.
    pub(super) fn new(names: &[&str]) -> Self {
        let stores: Vec<Store> = names.iter().map(|_| Store::default()).collect();
        let fakes = names.iter().zip(&stores).map(|(name, store)| (*name, store.fake())).collect();
        Self { stores, ..Self::of(fakes) }
    }

    /// These plugins; no call may take long.
    pub(super) fn of(fakes: Vec<(&str, Fake)>) -> Self {
        Self::with_deadline(fakes, Duration::from_millis(200))
    }

    /// These plugins; calls may take long.
    pub(super) fn of_patient(fakes: Vec<(&str, Fake)>) -> Self {
        Self::with_deadline(fakes, Duration::from_secs(60))
    }

    fn with_deadline(fakes: Vec<(&str, Fake)>, within: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let driver = |(name, fake): &(&str, Fake)| {
            Arc::new(Driver {
                name: (*name).to_owned(),
                id: Some(PluginId::random()),
                client: fake.client(),
                scope: Scope::Managed {
                    propagated: ("/mnt".into(), "/host/prop".into()),
                    binds: Vec::new(),
                },
                pid: Some(1),
                long: within,
                short: within,
            })
        };
        Self {
            drivers: Mutex::new(fakes.iter().map(driver).collect()),
            silent: Mutex::default(),
            volumes: Volumes::open(&dir.path().join("volumes")).unwrap(),
            ledger: Ledger::open(&dir.path().join("ledger")).unwrap(),
            fakes: fakes.into_iter().map(|(_, fake)| fake).collect(),
            stores: Vec::new(),
            dir,
        }
    }

    /// The same after the engine was ended and started.
    pub(super) fn restarted(mut self) -> Self {
        self.volumes = Volumes::open(&self.dir.path().join("volumes")).unwrap();
        self.ledger = Ledger::open(&self.dir.path().join("ledger")).unwrap();
        self
    }

    pub(super) fn plugin(&self, index: usize) -> &Fake {
        &self.fakes[index]
    }

    pub(super) fn store(&self, index: usize) -> &Store {
        &self.stores[index]
    }

    pub(super) fn records(&self) -> std::path::PathBuf {
        self.dir.path().join("volumes")
    }

    pub(super) fn id(&self, index: usize) -> PluginId {
        self.drivers.lock().unwrap()[index].id.clone().unwrap()
    }

    /// Nobody listens any more.
    pub(super) fn kill(&self, index: usize) {
        std::fs::remove_file(self.fakes[index].socket()).unwrap();
    }

    pub(super) fn uninstall(&self, name: &str) {
        self.drivers.lock().unwrap().retain(|driver| driver.name != name);
    }

    /// Something of this name is there that may be a driver and does not answer.
    pub(super) fn add_silent(&self, name: &str) {
        self.silent.lock().unwrap().push(name.to_owned());
    }

    pub(super) fn set_pid(&self, index: usize, pid: i32) {
        let mut drivers = self.drivers.lock().unwrap();
        drivers[index] = Arc::new(Driver { pid: Some(pid), ..Driver::clone(&drivers[index]) });
    }

    pub(super) async fn create(&self, wish: Create) -> Result<Volume> {
        self.volumes.create(self, wish).await
    }

    pub(super) async fn get(&self, name: &str) -> Result<Volume> {
        self.volumes.get(self, name).await
    }

    pub(super) async fn remove(&self, name: &str, force: bool) -> Result<()> {
        self.volumes.remove(self, name, force).await
    }

    pub(super) async fn list(&self, filter: Filter) -> (Vec<Volume>, Vec<String>) {
        self.volumes.list(self, &self.ledger, &filter).await.unwrap()
    }

    /// The names of the volumes in the list.
    pub(super) async fn names(&self, filter: Filter) -> Vec<String> {
        self.list(filter).await.0.into_iter().map(|volume| volume.name).collect()
    }
}

impl Store {
    fn fake(&self) -> Fake {
        let store = self.clone();
        Fake::start(move |call| store.answer(call))
    }
}

impl Drivers for Engine {
    fn driver<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Driver>>> {
        let drivers = self.drivers.lock().unwrap();
        let is_it = |driver: &&Arc<Driver>| {
            driver.name == name || driver.name.strip_suffix(":latest") == Some(name)
        };
        let found = drivers.iter().find(is_it).cloned();
        let found = found.ok_or_else(|| Error::not_found(format!("plugin {name:?} not found")));
        Box::pin(std::future::ready(found))
    }

    fn drivers(&self) -> BoxFuture<'_, Running> {
        let drivers = self.drivers.lock().unwrap().clone();
        let silent = self.silent.lock().unwrap();
        let error = |name: &String| (name.clone(), Error::unavailable(format!("{name} is silent")));
        let silent = silent.iter().map(error).collect();
        Box::pin(std::future::ready(Running { drivers, silent }))
    }
}
