//! Containers: other mount namespaces that hold a volume.

use super::{Machine, mounted, of, unmounted};
use error::Kind;
use host::Fstype;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::root::is_root;
use testkit::service::{dead, engine, request, volume};
use volume::{Orchestrator, drivers};

/// A process that has a volume mounted at another place in a mount namespace of its own.
struct Container(Child);

impl Container {
    /// Binds `target` to `elsewhere`, and keeps nothing of the rest.
    fn start(target: &Path, elsewhere: &Path) -> Self {
        let (target, elsewhere) = (target.display(), elsewhere.display());
        let script = format!(
            "mount --bind {target} {elsewhere} && umount {target} && echo ready && read end"
        );
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Its mount namespace ends a moment after the process.
async fn removed_soon(service: &Orchestrator, name: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = service.remove(&volume(name), false).await {
        assert!(Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_volume_that_a_container_holds_is_not_removed_until_it_ends() {
    if !is_root() {
        return;
    }
    for is_device in [true, false] {
        let machine = Machine::new();
        let service = if is_device {
            machine.service()
        } else {
            machine.service_of(machine.driver(&drivers::local::SPEC))
        };
        let asked = if is_device { of("a", Fstype::Ext4) } else { request("a") };
        service.create(asked).await.unwrap();
        let target = mounted(&service, "a").await;
        super::write(&target, "in use");
        let elsewhere = machine.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        let container = Container::start(&target, &elsewhere);

        unmounted(&service, "a").await;
        let error = service.remove(&volume("a"), true).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        let named = format!("(pid {}) at {}", container.pid(), elsewhere.display());
        assert!(error.message().contains(&named), "{error}");
        assert!(service.find(&volume("a")).await.unwrap().is_some());
        let seen = format!("/proc/{}/root{}/file", container.pid(), elsewhere.display());
        assert_eq!(std::fs::read_to_string(seen).unwrap(), "in use");

        drop(container);
        removed_soon(&service, "a").await;
        machine.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_volume_of_a_dead_engine_stays_while_its_container_runs() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    service.create(of("a", Fstype::Ext4)).await.unwrap();
    let target = service.mount(&volume("a"), engine("1", dead())).await.unwrap();
    let elsewhere = machine.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let container = Container::start(&target, &elsewhere);
    service.sweep().await;
    assert_eq!(machine.mounts(), [target]);
    drop(container);
    let until = Instant::now() + Duration::from_secs(20);
    while !service.in_use().is_empty() {
        assert!(Instant::now() < until);
        service.sweep().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    machine.assert_nothing_left();
}
