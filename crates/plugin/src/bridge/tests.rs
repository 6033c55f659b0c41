//! What dockerd and Podman get at a published socket, with a fake plugin behind it.

use super::*;
use crate::id::PluginId;
use crate::rpc::fake::{Call, Fake, Said, ok};
use crate::scope::Scope;
use futures_util::FutureExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// A plugin whose propagated mount is `/mnt` inside and `prop` below the directory on the host. Its
/// mount table is that of this process, which has nothing at `/mnt`.
struct Bridge {
    dir: TempDir,
    fake: Fake,
    driver: Driver,
    ledger: Ledger,
}

fn bridge(fake: Fake) -> Bridge {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("prop/v")).unwrap();
    let driver = Driver {
        name: "probe:latest".to_owned(),
        id: Some(PluginId::random()),
        client: fake.client(),
        scope: Scope::Managed {
            propagated: ("/mnt".into(), dir.path().join("prop")),
            binds: Vec::new(),
        },
        pid: Some(std::process::id().cast_signed()),
        long: Duration::from_secs(60),
        short: Duration::from_secs(60),
    };
    let ledger = Ledger::open(&dir.path().join("ledger")).unwrap();
    Bridge { dir, fake, driver, ledger }
}

impl Bridge {
    async fn ask(&self, method: &str, body: &Value) -> (u16, Value) {
        self.ask_raw(method, body.to_string().as_bytes()).await
    }

    async fn ask_raw(&self, method: &str, body: &[u8]) -> (u16, Value) {
        let method = format!("VolumeDriver.{method}");
        let answer = answer(&self.driver, &self.ledger, &method, body, None).await;
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    async fn mount(&self, id: &str) -> (u16, Value) {
        self.ask("Mount", &json!({ "Name": "v", "ID": id })).await
    }

    fn host(&self) -> PathBuf {
        self.dir.path().join("prop/v")
    }

    fn plugin(&self) -> &PluginId {
        self.driver.id.as_ref().unwrap()
    }

    fn noted(&self) -> Vec<(String, PathBuf)> {
        let holders = self.ledger.users(self.plugin(), "v").unwrap();
        holders.into_iter().map(|holder| (holder.id, holder.mountpoint)).collect()
    }
}

/// A plugin that mounts its volumes at `/mnt/<name>`.
fn mounts(call: &Call) -> Said {
    let mountpoint = |call: &Call| format!("/mnt/{}", call.name());
    match call.method.as_str() {
        "VolumeDriver.Mount" | "VolumeDriver.Path" => {
            ok(json!({ "mountpoint": mountpoint(call), "Err": "", "More": 1 }))
        }
        "VolumeDriver.Get" => {
            ok(json!({ "Volume": { "Name": call.name(), "Mountpoint": mountpoint(call) } }))
        }
        "VolumeDriver.List" => ok(json!({ "Volumes": [
            { "Name": "v", "Mountpoint": "/mnt/v" },
            { "Name": "idle", "Mountpoint": "" },
            { "Name": "lost", "Mountpoint": "/elsewhere/lost" },
        ]})),
        _ => ok(json!({ "Err": "" })),
    }
}

fn working() -> Bridge {
    bridge(Fake::start(|call| mounts(&call)))
}

#[tokio::test]
async fn an_activation_is_answered_without_the_plugin() {
    let bridge = working();
    let answer = answer(&bridge.driver, &bridge.ledger, "Plugin.Activate", b"", None).await;
    let expected = json!({ "Implements": ["VolumeDriver"] });
    assert_eq!(answer, Answer::ok(&expected));
    assert!(bridge.fake.calls().is_empty());
    let types = ["docker.volumedriver/1.0", "docker.LogDriver/1.0", "docker.dummy/1.0", "x/1"];
    let types = types.map(str::to_owned);
    let expected = json!({ "Implements": ["VolumeDriver", "LogDriver"] });
    assert_eq!(activation(&types), Answer::ok(&expected));
}

#[tokio::test]
async fn mount_points_are_the_hosts_in_every_answer() {
    let bridge = working();
    let host = bridge.host();
    for method in ["Mount", "Path"] {
        let (status, body) = bridge.ask(method, &json!({ "Name": "v", "ID": "1" })).await;
        assert_eq!((status, &body["mountpoint"]), (200, &json!(host)), "{method}");
        assert_eq!(body["More"], 1, "what else the plugin says stays");
    }
    let (_, body) = bridge.ask("Get", &json!({ "Name": "v" })).await;
    assert_eq!(body["Volume"]["Mountpoint"], json!(host));
    let (_, body) = bridge.ask("List", &json!({})).await;
    let shown: Vec<_> = body["Volumes"].as_array().unwrap().iter().collect();
    assert_eq!(shown[0]["Mountpoint"], json!(host));
    assert_eq!((&shown[1]["Mountpoint"], &shown[2]["Mountpoint"]), (&json!(""), &json!("")));
}

#[tokio::test]
async fn the_plugins_error_is_no_success_whatever_its_status() {
    for status in [200, 500] {
        let words = json!({ "Err": "no such disk" }).to_string();
        let bridge = bridge(Fake::start(move |_| (status, words.clone())));
        for method in ["Create", "Get", "List", "Path", "Mount", "Unmount", "Remove"] {
            let answer = bridge.ask(method, &json!({ "Name": "v", "ID": "1" })).await;
            assert_eq!(answer, (500, json!({ "Err": "no such disk" })), "{method}");
        }
    }
}

#[tokio::test]
async fn requests_without_what_they_need_are_refused_before_the_plugin_sees_them() {
    let bridge = working();
    for method in ["Create", "Get", "Path", "Mount", "Unmount", "Remove"] {
        for body in ["", "{}", "[]", "nonsense", r#"{"Name": ""}"#, r#"{"Name": 7, "ID": "1"}"#] {
            let (status, answer) = bridge.ask_raw(method, body.as_bytes()).await;
            assert_eq!(status, 400, "{method} {body}");
            assert!(!answer["Err"].as_str().unwrap().is_empty());
        }
    }
    for method in ["Mount", "Unmount"] {
        assert_eq!(bridge.ask(method, &json!({ "Name": "v" })).await.0, 400);
    }
    assert!(bridge.fake.calls().is_empty());
}

#[tokio::test]
async fn podmans_empty_list_becomes_an_object_and_unknown_keys_go_through() {
    let bridge = working();
    assert_eq!(bridge.ask_raw("List", b"").await.0, 200);
    let wish = json!({ "Name": "v", "Opts": null, "Extra": { "a": [1] } });
    assert_eq!(bridge.ask("Create", &wish).await, (200, json!({ "Err": "" })));
    let calls = bridge.fake.calls();
    assert_eq!((calls[0].body(), calls[1].body()), (json!({}), wish));
}

#[tokio::test]
async fn an_empty_answer_to_get_stays_one() {
    let bridge = bridge(Fake::start(|_| ok(json!({}))));
    assert_eq!(bridge.ask("Get", &json!({ "Name": "v" })).await, (200, json!({})));
}

#[tokio::test]
async fn a_mount_is_noted_and_forgotten_with_its_unmount() {
    let bridge = working();
    for _ in 0..2 {
        assert_eq!(bridge.mount("1").await.0, 200);
        assert_eq!(bridge.noted(), [("1".to_owned(), bridge.host())]);
    }
    assert_eq!(bridge.mount("2").await.0, 200);
    assert_eq!(bridge.noted().len(), 2);
    bridge.ask("Unmount", &json!({ "Name": "v", "ID": "1" })).await;
    assert_eq!(bridge.noted(), [("2".to_owned(), bridge.host())]);
    bridge.ask("Remove", &json!({ "Name": "v" })).await;
    assert!(bridge.noted().is_empty());
}

#[tokio::test]
async fn a_failed_unmount_stays_noted_and_an_unknown_id_is_passed_on() {
    let bridge = bridge(Fake::start(|call| match call.method.as_str() {
        "VolumeDriver.Unmount" => (500, json!({ "Err": "busy" }).to_string()),
        _ => mounts(&call),
    }));
    bridge.mount("1").await;
    for id in ["1", "unknown"] {
        let (status, _) = bridge.ask("Unmount", &json!({ "Name": "v", "ID": id })).await;
        assert_eq!(status, 500);
    }
    assert_eq!(bridge.fake.count("Unmount"), 2);
    assert_eq!(bridge.noted().len(), 1);
}

#[tokio::test]
async fn a_failed_mount_is_not_noted_and_never_followed_by_an_unmount() {
    let bridge = bridge(Fake::start(|_| ok(json!({ "Err": "no such disk" }))));
    assert_eq!(bridge.mount("1").await.0, 500);
    assert_eq!(bridge.fake.methods(), ["Mount"]);
    assert!(bridge.noted().is_empty());
}

#[tokio::test]
async fn a_mount_that_the_host_does_not_see_is_refused_and_given_back() {
    for mountpoint in ["/rootfs/v", "/mnt/missing", "/mnt/../v", "v", ""] {
        let bridge = bridge(Fake::start(move |call| match call.method.as_str() {
            "VolumeDriver.Mount" => ok(json!({ "Mountpoint": mountpoint })),
            _ => ok(json!({})),
        }));
        let (status, body) = bridge.mount("1").await;
        assert!(status >= 400, "{mountpoint}: {body}");
        assert_eq!(bridge.fake.methods(), ["Mount", "Unmount"], "{mountpoint}");
        assert!(bridge.noted().is_empty());
    }
}

#[tokio::test]
async fn a_refused_mount_does_not_take_away_what_its_id_has_already() {
    let bridge = working();
    bridge.mount("1").await;
    std::fs::remove_dir(bridge.host()).unwrap();
    assert_eq!(bridge.mount("1").await.0, 412);
    assert_eq!(bridge.fake.count("Unmount"), 0);
    assert_eq!(bridge.noted().len(), 1);
}

/// A plugin that mounts when it is allowed to.
fn gated() -> (Bridge, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let fake = Fake::start_slow(move |call| {
        let gate = Arc::clone(&closed);
        let said = mounts(&call);
        async move {
            if call.method == "VolumeDriver.Mount" {
                gate.acquire().await.unwrap().forget();
            }
            said
        }
        .boxed()
    });
    (bridge(fake), gate)
}

async fn until(is_true: impl Fn() -> bool) {
    while !is_true() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_same_mount_again_joins_the_one_under_way() {
    let (bridge, gate) = gated();
    let both = async { tokio::join!(bridge.mount("1"), bridge.mount("1")) };
    let open = async {
        until(|| bridge.fake.count("Mount") == 1).await;
        gate.add_permits(1);
    };
    let ((one, other), ()) = tokio::join!(both, open);
    assert_eq!((one.0, &one), (200, &other));
    assert_eq!(bridge.fake.count("Mount"), 1);
}

#[tokio::test]
async fn mounts_under_other_ids_do_not_wait_for_each_other() {
    let (bridge, gate) = gated();
    let both = async { tokio::join!(bridge.mount("1"), bridge.mount("2")) };
    let open = async {
        until(|| bridge.fake.count("Mount") == 2).await;
        gate.add_permits(2);
    };
    let ((one, other), ()) = tokio::join!(both, open);
    assert_eq!((one.0, other.0), (200, 200));
}

#[tokio::test]
async fn a_mount_goes_on_when_its_caller_is_gone_and_an_unmount_waits_for_it() {
    let (bridge, gate) = gated();
    assert!(bridge.mount("1").now_or_never().is_none());
    until(|| bridge.fake.count("Mount") == 1).await;
    let unmount = json!({ "Name": "v", "ID": "1" });
    let mut unmounting = std::pin::pin!(bridge.ask("Unmount", &unmount));
    assert!((&mut unmounting).now_or_never().is_none());
    gate.add_permits(1);
    assert_eq!(unmounting.await.0, 200);
    assert_eq!(bridge.fake.methods(), ["Mount", "Unmount"]);
    assert!(bridge.noted().is_empty());
}

#[tokio::test]
async fn other_interfaces_pass_through_as_they_are() {
    let bridge = bridge(Fake::start(|call| (418, call.text)));
    for method in ["LogDriver.StartLogging", "AuthZPlugin.AuthZReq", "VolumeDriver.Unheard"] {
        let body = b"{ \"File\":  \"x\" } trailing";
        let answer = answer(&bridge.driver, &bridge.ledger, method, body, None).await;
        assert_eq!(answer, Answer { status: 418, body: body.to_vec() });
    }
}

#[tokio::test]
async fn a_plugin_that_is_gone_is_an_error_in_json() {
    let mut bridge = working();
    std::fs::remove_file(bridge.fake.socket()).unwrap();
    bridge.driver.short = Duration::from_millis(20);
    let (status, body) = bridge.ask("Get", &json!({ "Name": "v" })).await;
    assert_eq!(status, 503);
    let words = body["Err"].as_str().unwrap();
    assert!(words.starts_with("plugin probe:latest: no plugin listens at"), "{words}");
}

#[tokio::test]
async fn a_legacy_plugins_paths_pass_and_nothing_is_noted() {
    let mut bridge = working();
    bridge.driver = Driver { id: None, scope: Scope::Host, pid: None, ..bridge.driver };
    let (status, body) = bridge.mount("1").await;
    assert_eq!((status, &body["mountpoint"]), (200, &json!(Path::new("/mnt/v"))));
    assert_eq!(bridge.ask("Unmount", &json!({ "Name": "v", "ID": "1" })).await.0, 200);
}
