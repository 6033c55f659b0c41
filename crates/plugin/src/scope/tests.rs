//! Translations, and the verification against this machine's own mount table.

use super::*;
use error::Kind;
use host::linux::Linux;
use host::{MountRequest, Mounts, Ownership, What};
use std::sync::mpsc;
use testkit::root::is_root;

fn managed(propagated: &str, binds: &[(&str, &str)]) -> Scope {
    let pair = |(inside, host): &(&str, &str)| (PathBuf::from(inside), PathBuf::from(host));
    Scope::Managed {
        propagated: (propagated.into(), "/host/prop".into()),
        binds: binds.iter().map(pair).collect(),
    }
}

#[test]
fn a_legacy_plugins_paths_are_the_hosts() {
    assert_eq!(Scope::Host.on_host(Path::new("/a/b")).unwrap(), Path::new("/a/b"));
    Scope::Host.verify(None, Path::new("/a/b"), Path::new("/a/b")).unwrap();
}

#[test]
fn paths_are_translated_by_components_propagated_first_then_the_longest_bind() {
    let scope = managed("/mnt/p", &[("/mnt", "/one"), ("/mnt/deep", "/two"), ("/mnt/p/x", "/no")]);
    for (inside, host) in [
        ("/mnt/p", "/host/prop"),
        ("/mnt/p/", "/host/prop"),
        ("/mnt/p//v/./w", "/host/prop/v/w"),
        ("/mnt/p/x/y", "/host/prop/x/y"),
        ("/mnt/property", "/one/property"),
        ("/mnt/deep/v", "/two/v"),
    ] {
        let translated = scope.on_host(Path::new(inside)).unwrap();
        assert_eq!(translated.as_os_str(), host, "{inside}");
    }
}

proptest::proptest! {
    #[test]
    fn no_path_leads_out_of_the_shared_directory(
        parts in proptest::collection::vec("mnt|\\.\\.|\\.|a|", 0..6),
        is_absolute in proptest::bool::ANY,
    ) {
        let inside = format!("{}{}", if is_absolute { "/" } else { "" }, parts.join("/"));
        if let Ok(host) = managed("/mnt", &[]).on_host(Path::new(&inside)) {
            let rest = host.strip_prefix("/host/prop").unwrap();
            assert!(rest.components().all(|part| matches!(part, Component::Normal(_))), "{inside}");
        }
    }
}

#[test]
fn a_path_of_the_plugins_own_root_file_system_is_refused() {
    for scope in [managed("/mnt", &[]), managed("", &[("/mnt", "/host")])] {
        let error = scope.on_host(Path::new("/mntx/v")).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.to_string().contains("root file system"), "{error}");
        let inside = Path::new("/elsewhere");
        assert!(scope.verify(Some(1), inside, inside).is_err(), "never a bare directory there");
    }
    let error = managed("", &[]).on_host(Path::new("/v")).unwrap_err().to_string();
    assert!(error.contains("config.json names none"), "{error}");
}

#[test]
fn empty_relative_and_climbing_paths_are_refused() {
    for scope in [Scope::Host, managed("/mnt", &[])] {
        for path in ["", "mnt/v", "/mnt/../etc", "/mnt/v/..", "."] {
            let error = scope.on_host(Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{path}");
        }
    }
}

fn own_pid() -> Option<i32> {
    Some(std::process::id().cast_signed())
}

#[test]
fn a_bare_directory_of_the_shared_mount_is_the_same_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path().join("v");
    std::fs::create_dir(&volume).unwrap();
    let scope =
        Scope::Managed { propagated: (dir.path().into(), dir.path().into()), binds: Vec::new() };
    scope.verify(own_pid(), &volume, &volume).unwrap();
    let missing = dir.path().join("missing");
    let error = scope.verify(own_pid(), &missing, &missing).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    let error = scope.verify(None, &volume, &volume).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let error = scope.verify(Some(i32::MAX), &volume, &volume).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[test]
fn a_link_of_the_plugin_leads_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", dir.path().join("v")).unwrap();
    let scope =
        Scope::Managed { propagated: (dir.path().into(), dir.path().into()), binds: Vec::new() };
    for path in ["v", "v/ssl"] {
        let path = dir.path().join(path);
        let error = scope.verify(own_pid(), &path, &path).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
}

/// Whoever asks while the plugin exchanges a directory for a link gets an answer about one of both.
#[test]
fn a_directory_that_becomes_a_link_and_back_is_refused_while_it_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let (volume, lure) = (dir.path().join("v"), dir.path().join("lure"));
    std::fs::create_dir_all(volume.join("data")).unwrap();
    std::os::unix::fs::symlink("/etc", &lure).unwrap();
    let scope =
        Scope::Managed { propagated: (dir.path().into(), dir.path().into()), binds: Vec::new() };
    let verify = || scope.verify(own_pid(), &volume.join("data"), &volume.join("data"));
    let exchange = || {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(rustix::fs::CWD, &volume, rustix::fs::CWD, &lure, flags).unwrap();
    };
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| (0..20_000).for_each(|_| exchange()));
        while !swapper.is_finished() {
            if let Err(error) = verify() {
                assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
            }
        }
    });
    verify().unwrap();
    exchange();
    assert!(verify().unwrap_err().to_string().contains("symbolic link"));
}

/// Inside, `/proc` is a mount; on the host side of this scope there is only a directory.
#[test]
fn a_mount_that_the_host_does_not_see_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("proc")).unwrap();
    let inside = Path::new("/proc");
    let scope = Scope::Managed { propagated: ("/".into(), dir.path().into()), binds: Vec::new() };
    let host = scope.on_host(inside).unwrap();
    let error = scope.verify(own_pid(), inside, &host).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition);
    assert!(error.to_string().contains("not visible on the host"), "{error}");
    let same = Scope::Managed { propagated: ("/".into(), "/".into()), binds: Vec::new() };
    same.verify(own_pid(), inside, inside).unwrap();
    same.verify(own_pid(), Path::new("/proc/sys"), Path::new("/proc/sys")).unwrap();
}

fn bind(from: &Path, to: &Path) {
    let request = MountRequest {
        what: What::Directory(from.to_owned()),
        target: to.to_owned(),
        options: Vec::new(),
        read_only: false,
        subpath: None,
        ownership: Ownership::default(),
        drop_empty: Vec::new(),
    };
    Linux::default().mount(&request).unwrap();
}

/// The calling thread, which has a mount table like a process.
fn own_thread() -> i32 {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    thread.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// A plugin whose mounts do not propagate, `plugin` being its thread. It has `data` mounted at
/// `prop/v`, and nothing at `prop/bare`.
fn with_lost_propagation(check: impl FnOnce(&Path, i32) + Send + 'static) {
    let host = std::thread::spawn(|| {
        host::sandbox::private_mounts().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for directory in ["data", "other", "prop/v", "prop/bare"] {
            std::fs::create_dir_all(dir.join(directory)).unwrap();
        }
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let inside = dir.clone();
        let plugin = std::thread::spawn(move || {
            host::sandbox::private_mounts().unwrap();
            bind(&inside.join("data"), &inside.join("prop/v"));
            tell.send(own_thread()).unwrap();
            let _ = ended.recv();
            Linux::default().unmount(&inside.join("prop/v")).unwrap();
        });
        check(&dir, told.recv().unwrap());
        drop(end);
        plugin.join().unwrap();
    });
    host.join().unwrap();
}

#[test]
fn a_mount_whose_propagation_was_lost_is_refused_until_the_host_has_the_same() {
    if !is_root() {
        return;
    }
    with_lost_propagation(|dir, plugin| {
        let prop = dir.join("prop");
        let scope = Scope::Managed { propagated: (prop.clone(), prop.clone()), binds: Vec::new() };
        let verify = |name: &str| {
            let path = prop.join(name);
            scope.verify(Some(plugin), &path, &path)
        };
        verify("bare").unwrap();
        let error = verify("v").unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.to_string().contains("mounted inside the plugin but not visible"), "{error}");
        for (source, is_same) in [("other", false), ("data", true)] {
            bind(&dir.join(source), &prop.join("v"));
            assert_eq!(verify("v").is_ok(), is_same, "{source}");
            Linux::default().unmount(&prop.join("v")).unwrap();
        }
    });
}
