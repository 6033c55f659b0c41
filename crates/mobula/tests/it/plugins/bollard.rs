//! bollard, Rust's client of Docker's API, against both engines: what programs do with plugins,
//! volumes and events, decoded by types that are made of Docker's own description.

use super::bed::{Bed, Kind};
use super::image::{Image, probe};
use super::{on_both, on_ours};
use crate::fixture::PATIENCE;
use ::bollard::models::{EventMessage, VolumeCreateRequest};
use ::bollard::query_parameters::{
    DisablePluginOptionsBuilder, EnablePluginOptionsBuilder, EventsOptionsBuilder,
    GetPluginPrivilegesOptionsBuilder, InstallPluginOptionsBuilder, ListPluginsOptionsBuilder,
    ListVolumesOptions, ListVolumesOptionsBuilder, RemovePluginOptionsBuilder, RemoveVolumeOptions,
};
use ::bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde_json::json;
use std::collections::HashMap;

on_both!(
    a_program_looks_at_the_engine,
    a_program_installs_changes_and_removes_a_plugin,
    a_program_makes_and_removes_volumes_and_hears_of_them,
);

/// On this thread, whose mounts are the test's own.
fn run(bed: &Bed, work: impl AsyncFnOnce(Docker)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let seconds = PATIENCE.as_secs();
        let docker = Docker::connect_with_unix(&bed.host(), seconds, API_DEFAULT_VERSION).unwrap();
        work(docker.negotiate_version().await.unwrap()).await;
    });
}

/// The probe as bollard can decode it: it knows no variable without a value, and no `Status` of a
/// volume that is not made of objects.
fn plain() -> Image {
    let variable = |name: &str, value: &str| json!({ "name": name, "description": "", "value": value, "settable": ["value"] });
    probe().with("env", json!([variable("PROBE_STATUS", "no"), variable("DEBUG", "0")]))
}

fn filters(key: &'static str, value: &str) -> HashMap<&'static str, Vec<String>> {
    HashMap::from([(key, vec![value.to_owned()])])
}

fn a_program_looks_at_the_engine(kind: Kind) {
    let bed = Bed::start(kind);
    run(&bed, async |docker| {
        assert_eq!(docker.ping().await.unwrap(), "OK");
        let version = docker.version().await.unwrap();
        assert_eq!(version.os.as_deref(), Some("linux"));
        assert_eq!(version.api_version, Some(docker.client_version().to_string()));
        let info = docker.info().await.unwrap();
        assert!(info.plugins.unwrap().volume.is_some());
        assert_eq!(docker.list_plugins(None).await.unwrap(), []);
        let error = docker.inspect_plugin("nope").await.unwrap_err();
        assert!(error.to_string().contains("plugin \"nope\" not found"), "{error}");
    });
}

fn a_program_installs_changes_and_removes_a_plugin(kind: Kind) {
    let bed = Bed::start(kind);
    let remote = bed.publish("me/probe:v1", &plain());
    run(&bed, async |docker| {
        let asked = GetPluginPrivilegesOptionsBuilder::default().remote(&remote).build();
        let privileges = docker.get_plugin_privileges(asked).await.unwrap();
        assert_eq!(privileges[0].value, Some(vec!["CAP_SYS_ADMIN".to_owned()]));
        let wish = InstallPluginOptionsBuilder::default().remote(&remote).name("probe").build();
        let progress = docker.install_plugin(wish, privileges, None);
        let progress: Vec<_> = progress.try_collect().await.unwrap();
        assert!(progress.iter().any(|step| step.status.is_some()), "{progress:?}");

        docker.set_plugin_config("probe", vec!["DEBUG=1".to_owned()]).await.unwrap();
        let enable = EnablePluginOptionsBuilder::default().timeout(30).build();
        docker.enable_plugin("probe", Some(enable)).await.unwrap();
        let plugin = docker.inspect_plugin("probe").await.unwrap();
        assert_eq!((plugin.name.as_str(), plugin.enabled), ("probe:latest", true));
        assert_eq!(plugin.plugin_reference, Some(remote.clone()));
        assert!(plugin.settings.env.contains(&"DEBUG=1".to_owned()), "{:?}", plugin.settings);
        assert_eq!(plugin.config.interface.socket, "probe.sock");
        let enabled = filters("enabled", "true");
        let enabled = ListPluginsOptionsBuilder::default().filters(&enabled).build();
        assert_eq!(docker.list_plugins(Some(enabled)).await.unwrap(), [plugin]);

        let disable = DisablePluginOptionsBuilder::default().force(true).build();
        docker.disable_plugin("probe", Some(disable)).await.unwrap();
        let remove = RemovePluginOptionsBuilder::default().force(true).build();
        let removed = docker.remove_plugin("probe", Some(remove)).await;
        // Docker's description of the call has the plugin in the answer; dockerd answers nothing.
        if bed.is_ours() {
            assert_eq!(removed.unwrap().name, "probe:latest");
        }
        assert_eq!(docker.list_plugins(None).await.unwrap(), []);
    });
}

/// The next event of a volume.
async fn next(
    events: &mut (impl Stream<Item = Result<EventMessage, ::bollard::errors::Error>> + Unpin),
) -> (String, String) {
    let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    (event.action.unwrap(), event.actor.unwrap().id.unwrap())
}

fn a_program_makes_and_removes_volumes_and_hears_of_them(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &plain());
    bed.ok("plugin enable probe");
    run(&bed, async |docker| {
        let about = filters("type", "volume");
        let about = EventsOptionsBuilder::default().since("0").filters(&about).build();
        let mut events = Box::pin(docker.events(Some(about)));
        let wish = VolumeCreateRequest {
            name: Some("v".to_owned()),
            driver: Some("probe".to_owned()),
            driver_opts: Some(HashMap::from([("fs".to_owned(), "tmpfs".to_owned())])),
            labels: Some(HashMap::from([("a".to_owned(), "b".to_owned())])),
            ..VolumeCreateRequest::default()
        };
        let made = docker.create_volume(wish).await.unwrap();
        assert_eq!((made.name.as_str(), made.driver.as_str()), ("v", "probe:latest"));
        assert_eq!(next(&mut events).await, ("create".to_owned(), "v".to_owned()));
        let seen = docker.inspect_volume("v").await.unwrap();
        assert_eq!(seen.labels, HashMap::from([("a".to_owned(), "b".to_owned())]));
        assert_eq!(seen.options, HashMap::from([("fs".to_owned(), "tmpfs".to_owned())]));
        let listed =
            docker.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes.unwrap();
        assert_eq!(listed.iter().map(|volume| &volume.name).collect::<Vec<_>>(), ["v"]);
        let other = filters("driver", "local");
        let other = ListVolumesOptionsBuilder::default().filters(&other).build();
        let listed = docker.list_volumes(Some(other)).await.unwrap();
        assert_eq!(listed.volumes.unwrap_or_default(), []);
        docker.remove_volume("v", None::<RemoveVolumeOptions>).await.unwrap();
        assert_eq!(next(&mut events).await, ("destroy".to_owned(), "v".to_owned()));
        let error = docker.inspect_volume("v").await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("no such volume"), "{error}");
    });
}
