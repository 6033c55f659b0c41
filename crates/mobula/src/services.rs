//! The services of a running program: each an orchestrator, or the reason why it has none. A service
//! that is misconfigured answers every call with its exact error; it stops nothing else.

use crate::config::{Config, Service};
use crate::paths::Paths;
use error::{Error, Kind, Result};
use host::Host;
use std::collections::BTreeMap;
use std::sync::Arc;
use volume::metrics::Metrics;
use volume::orchestrator::Opening;
use volume::{Orchestrator, ServiceName};

/// The services that are open now.
#[derive(Default)]
pub struct Services {
    services: BTreeMap<ServiceName, Opened>,
}

#[derive(Clone)]
struct Opened {
    config: Service,
    state: State,
}

#[derive(Clone)]
enum State {
    Ready(Arc<Orchestrator>),
    /// Cannot be used, for this reason; what volumes it has can be told all the same, if it opens
    /// without the settings that are wrong.
    Broken(Kind, String, Option<Arc<Orchestrator>>),
}

/// What services are opened with, the same for all of them.
#[derive(Clone)]
pub struct Surroundings {
    /// Where things are.
    pub paths: Paths,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// Shared counters.
    pub metrics: Metrics,
    /// The boot ID.
    pub boot: String,
}

impl Surroundings {
    /// This machine, with everything at `paths`.
    pub fn of(paths: Paths) -> Result<Self> {
        let boot = host::process::boot_id()?;
        let host = Arc::new(host::linux::Linux::default());
        Ok(Self { paths, host, metrics: Metrics::default(), boot })
    }
}

impl Services {
    /// Opens the services of `config`, but for those of `before` that are to be `kept`.
    pub fn open(
        around: &Surroundings,
        config: &Config,
        before: &Self,
        kept: &[ServiceName],
    ) -> Self {
        let mut services: BTreeMap<_, _> = kept
            .iter()
            .filter_map(|name| Some((name.clone(), before.services.get(name)?.clone())))
            .collect();
        for (name, service) in &config.services {
            services.entry(name.clone()).or_insert_with(|| open(around, name, service));
        }
        Self { services }
    }

    /// The services that work and are configured in `config` as they are now.
    pub fn unchanged(&self, config: &Config) -> Vec<ServiceName> {
        let unchanged = self.services.iter().filter(|(name, opened)| {
            config.services.get(name) == Some(&opened.config)
                && matches!(opened.state, State::Ready(_))
        });
        unchanged.map(|(name, _)| name.clone()).collect()
    }

    /// The services that work and are configured otherwise, or no longer, in `config`.
    pub fn changed(&self, config: &Config) -> Vec<(ServiceName, Arc<Orchestrator>)> {
        let unchanged = self.unchanged(config);
        let changed = self.list().filter(|(name, ..)| !unchanged.contains(name));
        changed.filter_map(|(name, _, service)| Some((name.clone(), service.ok()?))).collect()
    }

    /// The service called `name`.
    pub fn get(&self, name: &ServiceName) -> Result<Arc<Orchestrator>> {
        let opened = self.services.get(name).ok_or_else(|| {
            Error::not_found(format!(
                "there is no service {name}; services are {}",
                self.names().join(", ")
            ))
        })?;
        opened.ready(name)
    }

    /// The service called `name`, to see whether it has a volume, and for nothing else: also one that
    /// cannot be used. To dockerd a volume that its driver does not find is gone, and the container
    /// gets an empty one of dockerd's own.
    pub fn look(&self, name: &ServiceName) -> Result<Arc<Orchestrator>> {
        match self.services.get(name).map(|opened| &opened.state) {
            Some(State::Broken(_, _, Some(orchestrator))) => Ok(Arc::clone(orchestrator)),
            _ => self.get(name),
        }
    }

    /// The service called `name`; without a name the only one, or the one called `mobula`.
    pub fn choose(&self, name: Option<&str>) -> Result<Arc<Orchestrator>> {
        if let Some(name) = name {
            return self.get(&ServiceName::parse(name)?);
        }
        let mut names = self.services.keys();
        if let (Some(only), None) = (names.next(), names.next()) {
            return self.get(only);
        }
        let default = ServiceName::parse("mobula")?;
        if self.services.contains_key(&default) {
            return self.get(&default);
        }
        Err(Error::invalid_argument(format!(
            "say which service is meant (--service, or \"service\" in the request); services are {}",
            self.names().join(", ")
        )))
    }

    /// Every service: its name, its driver's name, and its orchestrator or why it has none.
    pub fn list(&self) -> impl Iterator<Item = (&ServiceName, &str, Result<Arc<Orchestrator>>)> {
        self.services
            .iter()
            .map(|(name, opened)| (name, opened.config.driver.as_str(), opened.ready(name)))
    }

    /// The services that can be used.
    pub fn ready(&self) -> impl Iterator<Item = Arc<Orchestrator>> {
        self.list().filter_map(|(_, _, service)| service.ok())
    }

    fn names(&self) -> Vec<&str> {
        self.services.keys().map(ServiceName::as_str).collect()
    }
}

impl Opened {
    fn ready(&self, name: &ServiceName) -> Result<Arc<Orchestrator>> {
        match &self.state {
            State::Ready(orchestrator) => Ok(Arc::clone(orchestrator)),
            State::Broken(kind, why, _) => {
                Err(Error::new(*kind, format!("service {name} cannot be used: {why}")))
            }
        }
    }
}

fn open(around: &Surroundings, name: &ServiceName, service: &Service) -> Opened {
    let state = match orchestrator(around, name, service) {
        Ok(orchestrator) => State::Ready(orchestrator),
        Err(error) => {
            tracing::error!(service = %name, %error, "service cannot be opened");
            let kind = match error.kind() {
                // To whoever asks for a volume, a driver that is missing is no missing volume.
                Kind::NotFound => Kind::FailedPrecondition,
                kind => kind,
            };
            let innocent = Service { problem: None, volume: BTreeMap::new(), ..service.clone() };
            let looked_into = orchestrator(around, name, &innocent).ok();
            State::Broken(kind, error.to_string(), looked_into)
        }
    };
    Opened { config: service.clone(), state }
}

fn orchestrator(
    around: &Surroundings,
    name: &ServiceName,
    service: &Service,
) -> Result<Arc<Orchestrator>> {
    let (spec, options, defaults) = service.parsed()?;
    let driver = (spec.open)(&volume::driver::Opening {
        volumes: around.paths.volumes().join(name.as_str()),
        options,
        host: Arc::clone(&around.host),
        calls: around.metrics.calls(name.as_str()),
    })?;
    Orchestrator::open(Opening {
        service: name.clone(),
        driver,
        host: Arc::clone(&around.host),
        ledger: around.paths.ledger().join(name.as_str()),
        mounts: around.paths.mounts().join(name.as_str()),
        defaults,
        boot: around.boot.clone(),
        metrics: around.metrics.clone(),
    })
}
