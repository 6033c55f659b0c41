//! Who makes which mount of a built-in container. When all mounts are made, libcontainer puts links
//! and devices into the container's `/dev`, by paths of the machine; were anything of the machine
//! mounted there, it would be changed. So libcontainer sees only file systems that are new and
//! belong to the container. Everything from the first other mount on is made afterwards, in the
//! same order, by a hook: ourselves again, in the container's mount namespace, where the machine's
//! paths still lead to what they name.

use super::records::Files;
use error::{Error, Result};
use host::exec::OWN;
use host::mount::{Inside, clean_destination, mount_inside};
use oci_spec::runtime::{Hook, LinuxDevice, Mount, Spec};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The record of why the hook failed.
pub(super) const FAILURE: &str = "mounting";

/// Types whose mounts show nothing of the machine's files.
const OWNED: [&str; 7] = ["proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup", "cgroup2"];

/// What the hook mounts, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mounts {
    root: PathBuf,
    mounts: Vec<Mount>,
}

/// Leaves only harmless mounts in `spec`, and has the hook make those that are returned. What can't
/// be done safely → `FailedPrecondition`.
pub(super) fn split(spec: &mut Spec, run: &Path) -> Result<Mounts> {
    let root = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    let devices = spec.linux().as_ref().and_then(|linux| linux.devices().as_deref());
    devices.unwrap_or_default().iter().try_for_each(check_device)?;
    let mut early = spec.mounts().clone().unwrap_or_default();
    early.iter().try_for_each(check)?;
    let first = early.iter().position(|mount| !is_owned(mount)).unwrap_or(early.len());
    let mounts = early.split_off(first);
    mounts.iter().try_for_each(check_late)?;
    if !early.iter().any(|mount| clean_destination(mount.destination()) == Path::new("/dev")) {
        early.insert(0, hidden_devices());
    }
    spec.set_mounts(Some(early));
    if !mounts.is_empty() {
        add_hook(spec, run);
    }
    Ok(Mounts { root, mounts })
}

fn refuse(what: &str) -> Result<()> {
    Err(Error::failed_precondition(format!(
        "{what}, which the built-in runtime can't do; use another one: \
         set engine.runtime to a program such as runc"
    )))
}

fn check_device(device: &LinuxDevice) -> Result<()> {
    let path = device.path();
    if clean_destination(path) == *path && path.starts_with("/dev") && path != Path::new("/dev") {
        return Ok(());
    }
    refuse(&format!("the plugin's device {} is not below /dev", path.display()))
}

fn check(mount: &Mount) -> Result<()> {
    if clean_destination(mount.destination()) == Path::new("/") {
        return refuse(&format!("the plugin wants {} mounted over its root", named(mount)));
    }
    Ok(())
}

/// A mount of control groups is no mount of one file system.
fn check_late(mount: &Mount) -> Result<()> {
    match mount.typ().as_deref() {
        Some("cgroup") if !is_bind(mount) => refuse(&format!(
            "the plugin wants {} mounted on {} after other mounts",
            named(mount),
            mount.destination().display()
        )),
        _ => Ok(()),
    }
}

fn named(mount: &Mount) -> String {
    let source = mount.source().as_deref().unwrap_or(Path::new(""));
    match mount.typ().as_deref() {
        Some(typ) if !is_bind(mount) => typ.to_owned(),
        _ => source.display().to_string(),
    }
}

fn is_bind(mount: &Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or_default();
    mount.typ().as_deref() == Some("bind")
        || options.iter().any(|option| option == "bind" || option == "rbind")
}

fn is_owned(mount: &Mount) -> bool {
    !is_bind(mount) && mount.typ().as_deref().is_some_and(|typ| OWNED.contains(&typ))
}

/// A `/dev` for libcontainer to fill where the spec has none, since another one will hide it.
fn hidden_devices() -> Mount {
    let mut mount = Mount::default();
    let options = ["nosuid", "strictatime", "mode=755", "size=65536k"].map(str::to_owned);
    mount
        .set_destination("/dev".into())
        .set_typ(Some("tmpfs".to_owned()))
        .set_source(Some("tmpfs".into()))
        .set_options(Some(options.to_vec()));
    mount
}

fn add_hook(spec: &mut Spec, run: &Path) {
    let mut hook = Hook::default();
    let args = ["mobula".to_owned(), "__mounts".to_owned(), run.display().to_string()];
    hook.set_path(OWN.into()).set_args(Some(args.to_vec()));
    let mut hooks = spec.hooks().clone().unwrap_or_default();
    let mut present = hooks.create_container().clone().unwrap_or_default();
    present.insert(0, hook);
    hooks.set_create_container(Some(present));
    spec.set_hooks(Some(hooks));
}

/// The hook: makes the mounts of the plugin whose order lies in `run`.
pub(super) fn main(run: &Path) -> i32 {
    let files = Files::new(run);
    match mount_all(&files) {
        Ok(()) => 0,
        Err(error) => {
            let _ = files.write_failure(FAILURE, &error);
            1
        }
    }
}

fn mount_all(files: &Files) -> Result<()> {
    let order =
        files.mounts()?.ok_or_else(|| Error::not_found("the hook has no mounts to make"))?;
    order.mounts.iter().try_for_each(|mount| {
        let options = mount.options().as_deref().unwrap_or_default();
        let inside = Inside {
            fstype: mount.typ().as_deref().filter(|_| !is_bind(mount)),
            source: mount.source().as_deref().unwrap_or(Path::new("")),
            destination: mount.destination(),
            options,
        };
        mount_inside(&order.root, &inside).map_err(|error| {
            let destination = mount.destination().display();
            let text = format!("mount {} on {destination} in the plugin", named(mount));
            Error::new(error.kind(), text).because(error)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxBuilder, LinuxDeviceBuilder, RootBuilder, SpecBuilder};

    fn mount(destination: &str, typ: &str, options: &[&str]) -> Mount {
        let mut mount = Mount::default();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        mount
            .set_destination(destination.into())
            .set_typ(Some(typ.to_owned()))
            .set_source(Some("/x".into()))
            .set_options(Some(options));
        mount
    }

    fn spec(root: &Path, mounts: &[Mount]) -> Spec {
        let root = RootBuilder::default().path(root).build().unwrap();
        SpecBuilder::default().root(root).mounts(mounts).build().unwrap()
    }

    fn destinations(mounts: &[Mount]) -> Vec<&str> {
        mounts.iter().map(|mount| mount.destination().to_str().unwrap()).collect()
    }

    #[test]
    fn from_the_first_mount_of_the_machine_on_all_are_ours_in_their_order() {
        for first in [mount("/b", "bind", &[]), mount("/b", "tmpfs", &["rbind"])] {
            let dir = tempfile::tempdir().unwrap();
            let mounts =
                [mount("/proc", "proc", &[]), first, mount("/dev", "bind", &[]), hidden_devices()];
            let mut spec = spec(dir.path(), &mounts);
            let ours = split(&mut spec, Path::new("/run/x")).unwrap();
            assert_eq!(destinations(&ours.mounts), ["/b", "/dev", "/dev"]);
            let left = spec.mounts().as_deref().unwrap();
            assert_eq!(destinations(left), ["/dev", "/proc"]);
            assert_eq!(left[0].typ().as_deref(), Some("tmpfs"));
            let hooks = spec.hooks().clone().unwrap();
            let args = hooks.create_container().as_ref().unwrap()[0].args().clone().unwrap();
            assert_eq!(args, ["mobula", "__mounts", "/run/x"]);
        }
    }

    #[test]
    fn the_machines_device_file_system_is_never_libcontainers() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = spec(dir.path(), &[mount("/dev", "devtmpfs", &[])]);
        let ours = split(&mut spec, Path::new("/run/x")).unwrap();
        assert_eq!(ours.mounts[0].typ().as_deref(), Some("devtmpfs"));
        assert_eq!(spec.mounts().as_ref().unwrap()[0].typ().as_deref(), Some("tmpfs"));
    }

    #[test]
    fn without_mounts_of_the_machine_there_is_no_hook() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = spec(dir.path(), &[hidden_devices(), mount("/t", "tmpfs", &[])]);
        assert!(split(&mut spec, Path::new("/run/x")).unwrap().mounts.is_empty());
        assert_eq!(destinations(spec.mounts().as_ref().unwrap()), ["/dev", "/t"]);
        assert!(spec.hooks().is_none());
    }

    #[test]
    fn what_would_be_dangerous_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = |mut spec: Spec| {
            split(&mut spec, Path::new("/run/x")).unwrap_err().message().to_owned()
        };
        for over in ["/", "/..", "/dev/.."] {
            let said = refusal(spec(dir.path(), &[mount(over, "bind", &[])]));
            assert!(said.starts_with("the plugin wants /x mounted over its root"), "{said}");
            assert!(said.contains("engine.runtime"), "{said}");
        }
        let late = [mount("/b", "bind", &[]), mount("/c", "cgroup", &[])];
        let said = refusal(spec(dir.path(), &late));
        assert!(said.contains("cgroup mounted on /c after other mounts"), "{said}");
        for path in ["/dev/../etc/x", "/opt/x"] {
            let mut spec = spec(dir.path(), &[]);
            let device = LinuxDeviceBuilder::default().path(path).build().unwrap();
            spec.set_linux(Some(LinuxBuilder::default().devices([device]).build().unwrap()));
            assert!(refusal(spec).contains("is not below /dev"), "{path}");
        }
    }
}
