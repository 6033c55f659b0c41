//! From what the orchestrator knows to what the API shows.

use crate::api::{
    ActionInfo, ConsumerInfo, DriverInfo, MountInfo, OptionInfo, ServiceInfo, SnapshotInfo,
    VolumeInfo,
};
use crate::app::App;
use std::collections::{BTreeMap, HashSet};
use volume::driver::{Action, Spec, Subject};
use volume::ledger::{Consumer, State};
use volume::orchestrator::View;
use volume::{Capabilities, OptionSpec, Orchestrator, Origin, Snapshot};

/// A volume.
pub(super) fn volume(service: &Orchestrator, view: View) -> VolumeInfo {
    let status = status(&view).to_owned();
    let View { volume, entry, mountpoint, fault, elsewhere } = view;
    VolumeInfo {
        service: service.service().to_string(),
        name: volume.name.to_string(),
        id: volume.id.to_string(),
        driver: service.spec().name.to_owned(),
        status,
        attached_to: elsewhere.iter().map(ToString::to_string).collect(),
        size: volume.size.map(|size| size.0),
        fs_type: volume.filesystem.map(|filesystem| filesystem.fstype.to_string()),
        created: volume.created,
        mountpoint,
        device: entry.as_ref().and_then(|entry| entry.device.clone()),
        consumers: entry.iter().flat_map(|entry| &entry.consumers).map(consumer).collect(),
        fault,
        options: volume.parameters.spelled(),
        labels: volume.labels,
        origin: volume.origin.map(|origin| match origin {
            Origin::Snapshot(name) => format!("snapshot {name}"),
            Origin::Volume(name) => format!("volume {name}"),
        }),
        details: volume.details,
    }
}

/// What is in use here, though its volume is gone: shown, so that it can be let go of.
pub(super) fn vanished(service: &Orchestrator, known: &[VolumeInfo]) -> Vec<VolumeInfo> {
    let names: HashSet<&str> = known.iter().map(|volume| volume.name.as_str()).collect();
    let entries = service.in_use().into_iter();
    let gone = entries.filter(|entry| !names.contains(entry.name.as_str()));
    gone.map(|entry| VolumeInfo {
        service: service.service().to_string(),
        name: entry.name.to_string(),
        id: entry.id.to_string(),
        driver: service.spec().name.to_owned(),
        status: "faulty".to_owned(),
        attached_to: Vec::new(),
        size: None,
        fs_type: None,
        created: entry.consumers.iter().map(|consumer| consumer.since).min().unwrap_or_default(),
        mountpoint: Some(service.target(&entry.name)),
        device: entry.device.clone(),
        consumers: entry.consumers.iter().map(consumer).collect(),
        fault: Some("removed by somebody else while it is in use here".to_owned()),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        origin: None,
        details: BTreeMap::new(),
    })
    .collect()
}

fn status(view: &View) -> &'static str {
    match &view.entry {
        _ if view.fault.is_some() => "faulty",
        None if !view.elsewhere.is_empty() => "elsewhere",
        None => "available",
        Some(entry) => state(entry.state),
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Preparing => "preparing",
        State::Attached => "attached",
        State::Mounted => "mounted",
        State::Releasing => "releasing",
    }
}

fn consumer(consumer: &Consumer) -> ConsumerInfo {
    ConsumerInfo {
        id: consumer.id.clone(),
        since: consumer.since,
        pid: consumer.caller.map(|caller| caller.pid),
    }
}

/// A snapshot.
pub(super) fn snapshot(service: &Orchestrator, snapshot: Snapshot) -> SnapshotInfo {
    SnapshotInfo {
        service: service.service().to_string(),
        name: snapshot.name.to_string(),
        volume: snapshot.volume.to_string(),
        size: snapshot.size.0,
        created: snapshot.created,
        fs_type: snapshot.filesystem.map(|filesystem| filesystem.fstype.to_string()),
        details: snapshot.details,
    }
}

/// What a service has in use.
pub(super) fn mounts(service: &Orchestrator) -> Vec<MountInfo> {
    let info = |entry: std::sync::Arc<volume::ledger::Entry>| MountInfo {
        service: service.service().to_string(),
        volume: entry.name.to_string(),
        target: service.target(&entry.name),
        state: state(entry.state).to_owned(),
        consumers: entry.consumers.iter().map(consumer).collect(),
    };
    service.in_use().into_iter().map(info).collect()
}

/// A driver.
pub(super) fn driver(spec: &'static Spec) -> DriverInfo {
    DriverInfo {
        name: spec.name.to_owned(),
        summary: spec.summary.to_owned(),
        description: spec.description.to_owned(),
        service_options: spec.service_options.iter().copied().map(option).collect(),
        volume_options: spec.volume_options().map(option).collect(),
        actions: spec.actions.iter().map(action).collect(),
    }
}

fn action(action: &Action) -> ActionInfo {
    let subject = match action.subject {
        Subject::Service => "service",
        Subject::Volume => "volume",
        Subject::Snapshot => "snapshot",
    };
    ActionInfo {
        name: action.name.to_owned(),
        help: action.help.to_owned(),
        subject: subject.to_owned(),
        options: action.options.iter().copied().map(option).collect(),
    }
}

fn option(option: OptionSpec) -> OptionInfo {
    OptionInfo {
        name: option.name.to_owned(),
        help: option.help.to_owned(),
        value: option.unit.describe(),
        default: option.default.map(str::to_owned),
        secret: option.secret,
    }
}

/// Every service, usable or not.
pub(super) fn services(app: &App) -> Vec<ServiceInfo> {
    let services = app.services();
    let info = |(name, driver, opened): (&volume::ServiceName, &str, error::Result<_>)| {
        let opened: error::Result<std::sync::Arc<Orchestrator>> = opened;
        ServiceInfo {
            name: name.to_string(),
            driver: driver.to_owned(),
            mounted: opened.as_ref().map_or(0, |service| service.mounted()),
            capabilities: opened
                .as_ref()
                .map(|service| capabilities(&service.capabilities()))
                .unwrap_or_default(),
            error: opened.err().map(|error| error.to_string()),
        }
    };
    services.list().map(info).collect()
}

fn capabilities(capabilities: &Capabilities) -> Vec<String> {
    let words = [
        (capabilities.size, "size"),
        (capabilities.expand, "expand"),
        (capabilities.snapshots, "snapshots"),
        (capabilities.clones, "clones"),
        (capabilities.shared, "shared"),
        (capabilities.ephemeral, "ephemeral"),
    ];
    words.into_iter().filter(|(can, _)| *can).map(|(_, word)| word.to_owned()).collect()
}
