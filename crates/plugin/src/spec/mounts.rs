//! A plugin's mounts, in dockerd's order: the standard ones, the propagated one, the
//! configuration's, its sockets, and files of the machine for the network.

use super::{Input, SOCKETS};
use crate::config::{self, refused};
use error::Result;
use oci_spec::runtime::Mount;
use std::path::{Path, PathBuf};

/// Options that say how mounts propagate (mount(8)).
const PROPAGATION: [&str; 8] =
    ["shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"];

/// What every container has: destination, type, source, options.
const STANDARD: [(&str, &str, &str, &str); 7] = [
    ("/proc", "proc", "proc", "nosuid,noexec,nodev"),
    ("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
    ("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
    ("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
    ("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777"),
];

pub(super) fn all(input: &Input<'_>) -> Result<Vec<Mount>> {
    let mut configured = Vec::new();
    for (index, mount) in input.settings.mounts.iter().enumerate() {
        configured.extend(one(mount, &format!("mounts[{index}]"))?);
    }
    let mut all = standard(&configured);
    let propagated = &input.config.propagated_mount;
    if !propagated.is_empty() {
        below_root(propagated, "propagatedMount")?;
        all.push(bind(input.propagated, Path::new(propagated), &["rbind", "rw", "rshared"]));
    }
    all.extend(configured);
    all.push(bind(input.sockets, Path::new(SOCKETS), &["rbind", "rprivate"]));
    if !input.config.network.kind.is_empty() {
        all.extend(input.hosts.iter().map(|file| bind(file, file, &["rbind", "ro", "rslave"])));
    }
    Ok(all)
}

/// The standard mounts that no configured one would hide.
fn standard(configured: &[Mount]) -> Vec<Mount> {
    let is_hidden = |destination: &str| {
        configured.iter().any(|mount| Path::new(destination).starts_with(mount.destination()))
    };
    STANDARD
        .iter()
        .filter(|(destination, ..)| !is_hidden(destination))
        .map(|(destination, kind, source, options)| {
            let options = options.split(',').map(str::to_owned).collect();
            make(destination.into(), kind, source.into(), options)
        })
        .collect()
}

/// A mount of the configuration. `None` for a bind whose source is empty and may be set: its author
/// leaves it to the user whether there is one (vieux/sshfs does so with the keys). dockerd would
/// mount the directory that the runtime happens to stand in.
fn one(mount: &config::Mount, entry: &str) -> Result<Option<Mount>> {
    below_root(&mount.destination, &format!("{entry}.destination"))?;
    let destination = PathBuf::from(&mount.destination);
    let mut options = mount.options.to_vec();
    if !mount.is_bind() {
        // Nobody was asked about a mount without a source: what it shows must be the plugin's own.
        if mount.source.is_none() && mount.kind != "tmpfs" {
            return Err(refused(&format!("{entry}.source"), "mount source is not specified"));
        }
        // The source of a file system without a device is but a label; runtimes want one.
        let source = mount.source.as_deref().filter(|source| !source.is_empty());
        let source = source.unwrap_or(&mount.kind).into();
        return Ok(Some(make(destination, &mount.kind, source, options)));
    }
    let entry = format!("{entry}.source");
    let source = match mount.source.as_deref() {
        None => return Err(refused(&entry, "mount source is not specified")),
        Some("") if mount.settable.iter().any(|field| field == "source") => return Ok(None),
        Some("") => return Err(refused(&entry, "is empty and may not be set")),
        Some(path) if !path.starts_with('/') => {
            return Err(refused(&entry, &format!("{path:?} must be an absolute path")));
        }
        Some(path) => PathBuf::from(path),
    };
    if !options.iter().any(|option| option == "bind" || option == "rbind") {
        options.insert(0, "rbind".to_owned());
    }
    // With the root shared every bind would be a peer of the machine's mount: what the plugin
    // unmounts there would be gone here.
    if !options.iter().any(|option| PROPAGATION.contains(&option.as_str())) {
        options.push("rslave".to_owned());
    }
    Ok(Some(make(destination, "bind", source, options)))
}

fn below_root(path: &str, entry: &str) -> Result<()> {
    let is_root = || Path::new(path).components().count() < 2;
    if !path.starts_with('/') || is_root() {
        return Err(refused(entry, &format!("{path:?} must be an absolute path below /")));
    }
    Ok(())
}

fn bind(source: &Path, destination: &Path, options: &[&str]) -> Mount {
    let options = options.iter().map(|&option| option.to_owned()).collect();
    make(destination.to_owned(), "bind", source.to_owned(), options)
}

fn make(destination: PathBuf, kind: &str, source: PathBuf, options: Vec<String>) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination)
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source))
        .set_options(Some(options));
    mount
}
