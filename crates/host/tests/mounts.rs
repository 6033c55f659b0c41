//! The mount half of the machine, on the real kernel: each test in a mount namespace of its own,
//! on a thread of its own.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use error::Kind;
use host::linux::Linux;
use host::{Mount, MountRequest, Mounts, Outcome, Ownership, What, mountinfo};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change};
use rustix::thread::UnshareFlags;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Runs `test` with a temporary directory in a mount namespace of its own.
fn isolated(test: impl FnOnce(&Path) + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI must run as root");
        println!("skipped: needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        // SAFETY: a mount namespace of the thread's own; no descriptor table is unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let dir = Emptied(tempfile::tempdir().unwrap());
        test(dir.0.path());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A temporary directory that can be removed in the end: nothing is mounted in it any more.
struct Emptied(tempfile::TempDir);

impl Drop for Emptied {
    fn drop(&mut self) {
        for mount in linux().table().unwrap().iter().rev() {
            if mount.target.starts_with(self.0.path()) {
                let _ = rustix::mount::unmount(&mount.target, UnmountFlags::DETACH);
            }
        }
    }
}

fn linux() -> Linux {
    Linux::default()
}

fn request(what: What, target: &Path) -> MountRequest {
    MountRequest {
        what,
        target: target.to_owned(),
        options: Vec::new(),
        read_only: false,
        subpath: None,
        ownership: Ownership::default(),
        drop_empty: Vec::new(),
    }
}

fn tmpfs(target: &Path) -> MountRequest {
    request(What::Network { fstype: "tmpfs".into(), source: "x".into() }, target)
}

fn options(options: &[&str]) -> Vec<String> {
    options.iter().copied().map(str::to_owned).collect()
}

/// A directory of a tmpfs that stands for the volume's data.
fn directory(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    fs::create_dir(&data).unwrap();
    data
}

/// A child process that ends with the test.
struct Background(Child);

impl Background {
    /// Starts a shell and waits for the line it prints when it is ready.
    fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self(child)
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A loop device with a file system, detached in the end.
struct Loop(PathBuf);

impl Loop {
    fn attach(image: &Path, read_only: bool) -> Self {
        let image = image.to_str().unwrap();
        let flags: &[&str] = if read_only { &["-r"] } else { &[] };
        let output =
            Command::new("losetup").args(flags).args(["--find", "--show", image]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Self(String::from_utf8(output.stdout).unwrap().trim().into())
    }

    fn what(&self) -> What {
        What::Device { device: self.0.clone(), fstype: "ext4".into() }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        assert!(Command::new("losetup").arg("-d").arg(&self.0).status().unwrap().success());
    }
}

fn ext4_image(dir: &Path) -> PathBuf {
    let image = dir.join("image");
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let status = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status().unwrap();
    assert!(status.success());
    image
}

fn xfs_image(dir: &Path) -> PathBuf {
    let image = dir.join("xfs-image");
    fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
    assert!(Command::new("mkfs.xfs").arg("-q").arg(&image).status().unwrap().success());
    image
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/thread-self/fd").unwrap().count()
}

#[test]
fn a_tmpfs_is_mounted_found_and_unmounted() {
    isolated(|dir| {
        let target = dir.join("parent/volume");
        let mount = linux().mount(&tmpfs(&target)).unwrap();
        assert_eq!((mount.fstype.as_str(), mount.source.as_str()), ("tmpfs", "x"));
        assert_eq!(mount.target, target);
        assert_eq!(linux().at(&target).unwrap(), Some(mount));
        assert_eq!(fs::metadata(dir.join("parent")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(linux().unmount(&target).unwrap(), Outcome::Done(()));
        assert!(!target.exists(), "the mount point is removed");
        assert!(dir.join("parent").exists());
        assert_eq!(linux().unmount(&target).unwrap(), Outcome::AlreadyDone(()));
    });
}

#[test]
fn at_and_the_table_tell_the_same_about_real_mounts() {
    isolated(|dir| {
        let data = directory(dir);
        fs::create_dir(data.join("space and \\ and # in it")).unwrap();
        let shared = dir.join("shared");
        linux().ensure_shared(&shared).unwrap();
        let mut requests = vec![
            tmpfs(&dir.join("plain tmpfs")),
            tmpfs(&shared.join("tmpfs")),
            request(What::Directory(data.clone()), &dir.join("bind")),
            request(What::Directory(data.join("space and \\ and # in it")), &dir.join("a\tb\nc")),
        ];
        requests[0].options =
            options(&["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "size=1m"]);
        requests[1].options = options(&["strictatime", "sync", "dirsync", "lazytime", "mode=711"]);
        requests[2].read_only = true;
        for request in &requests {
            let made = linux().mount(request).unwrap();
            let table = mountinfo::table().unwrap();
            let listed: Vec<&Mount> = table.iter().filter(|m| m.target == request.target).collect();
            assert_eq!(listed, [&made]);
            assert_eq!(made.root.as_os_str(), listed[0].root.as_os_str());
        }
        let propagated = linux().at(&shared.join("tmpfs")).unwrap().unwrap();
        assert!(propagated.shared.is_some());
    });
}

#[test]
fn attributes_and_parameters_reach_the_kernel() {
    isolated(|dir| {
        let target = dir.join("volume");
        let mut wanted = tmpfs(&target);
        wanted.options = options(&["nosuid", "nodev", "noatime", "size=1m", "lazytime"]);
        let mount = linux().mount(&wanted).unwrap();
        assert_eq!(mount.options, "rw,nosuid,nodev,noatime");
        assert!(mount.super_options.contains("size=1024k"), "{}", mount.super_options);
        assert!(mount.super_options.contains("lazytime"), "{}", mount.super_options);
    });
}

#[test]
fn a_refused_option_carries_the_kernels_text_and_leaves_nothing() {
    isolated(|dir| {
        let target = dir.join("volume");
        let mut wanted = tmpfs(&target);
        wanted.options = options(&["nosuchopt=7"]);
        let error = linux().mount(&wanted).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert_eq!(
            error.message(),
            "mount tmpfs from x: option nosuchopt: tmpfs: Unknown parameter 'nosuchopt'"
        );
        assert!(!target.exists());
    });
}

#[test]
fn an_unknown_file_system_is_named() {
    isolated(|dir| {
        let what = What::Network { fstype: "nosuchfs".into(), source: "x".into() };
        let error = linux().mount(&request(what, &dir.join("volume"))).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("modprobe nosuchfs"), "{error}");
    });
}

#[test]
fn a_directory_is_bound_without_what_is_mounted_below_it() {
    isolated(|dir| {
        let data = directory(dir);
        fs::write(data.join("file"), "x").unwrap();
        linux().mount(&tmpfs(&data.join("below"))).unwrap();
        let target = dir.join("volume");
        let mut wanted = request(What::Directory(data.clone()), &target);
        wanted.options = options(&["nosuid", "noexec"]);
        let mount = linux().mount(&wanted).unwrap();
        assert!(mount.options.contains("nosuid") && mount.options.contains("noexec"));
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "x");
        assert_eq!(linux().at(&target.join("below")).unwrap(), None);
        assert!(!linux().at(&data.join("below")).unwrap().unwrap().options.contains("nosuid"));
        linux().unmount(&target).unwrap();
        assert!(data.join("file").exists());
    });
}

#[test]
fn a_directory_takes_no_options_of_file_systems_and_is_no_link() {
    isolated(|dir| {
        let data = directory(dir);
        let mut wanted = request(What::Directory(data.clone()), &dir.join("volume"));
        wanted.options = options(&["size=1m"]);
        assert_eq!(linux().mount(&wanted).unwrap_err().kind(), Kind::InvalidArgument);
        symlink(&data, dir.join("link")).unwrap();
        let wanted = request(What::Directory(dir.join("link")), &dir.join("volume"));
        assert_eq!(linux().mount(&wanted).unwrap_err().kind(), Kind::FailedPrecondition);
        let wanted = request(What::Directory(dir.join("missing")), &dir.join("volume"));
        assert_eq!(linux().mount(&wanted).unwrap_err().kind(), Kind::NotFound);
        assert!(!dir.join("volume").exists());
    });
}

#[test]
fn owner_and_mode_are_set_and_only_what_differs() {
    isolated(|dir| {
        let ownership = Ownership { uid: Some(1234), gid: Some(567), mode: Some(0o2770) };
        let target = dir.join("volume");
        linux().mount(&MountRequest { ownership, ..tmpfs(&target) }).unwrap();
        let stat = fs::metadata(&target).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (1234, 567, 0o2770));

        let bound = dir.join("bound");
        let bind = request(What::Directory(target.clone()), &bound);
        linux().mount(&MountRequest { ownership, ..bind.clone() }).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().ctime_nsec(), stat.ctime_nsec());
        linux().unmount(&bound).unwrap();

        let ownership = Ownership { uid: Some(1), ..Ownership::default() };
        linux().mount(&MountRequest { ownership, ..bind }).unwrap();
        let stat = fs::metadata(&bound).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (1, 567, 0o2770));
    });
}

#[test]
fn a_sub_directory_is_made_and_mounted_alone() {
    isolated(|dir| {
        let image = ext4_image(dir);
        let device = Loop::attach(&image, false);
        let target = dir.join("volume");
        let mut wanted = request(device.what(), &target);
        wanted.subpath = Some("a/b".into());
        wanted.ownership.mode = Some(0o711);
        let mount = linux().mount(&wanted).unwrap();
        assert_eq!(mount.root, Path::new("/a/b"));
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o711);
        let table = linux().table().unwrap();
        assert_eq!(table.iter().filter(|other| other.device == mount.device).count(), 1);
        linux().unmount(&target).unwrap();
        assert!(!target.exists());

        wanted = request(device.what(), &target);
        linux().mount(&wanted).unwrap();
        assert!(target.join("a/b").is_dir());
        linux().unmount(&target).unwrap();
    });
}

#[test]
fn a_missing_sub_directory_is_not_made_read_only_and_leaves_nothing() {
    isolated(|dir| {
        let target = dir.join("volume");
        let mut wanted = tmpfs(&target);
        wanted.subpath = Some("missing".into());
        wanted.read_only = true;
        let error = linux().mount(&wanted).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(error.message(), "the volume has no directory missing");
        assert_eq!(linux().at(&target).unwrap(), None);
        assert!(!target.exists());
    });
}

#[test]
fn a_sub_directory_of_a_directory_is_bound() {
    isolated(|dir| {
        let data = directory(dir);
        let mut wanted = request(What::Directory(data.clone()), &dir.join("volume"));
        wanted.subpath = Some("sub".into());
        let mount = linux().mount(&wanted).unwrap();
        assert!(mount.root.ends_with("data/sub"), "{}", mount.root.display());
        assert!(data.join("sub").is_dir());
    });
}

#[test]
fn a_link_in_the_volume_does_not_lead_out_of_it() {
    isolated(|dir| {
        let data = directory(dir);
        fs::create_dir(dir.join("outside")).unwrap();
        fs::write(dir.join("outside/secret"), "x").unwrap();
        fs::create_dir(data.join("etc")).unwrap();
        symlink("/etc", data.join("absolute")).unwrap();
        symlink("../outside", data.join("relative")).unwrap();
        let mut wanted = request(What::Directory(data.clone()), &dir.join("volume"));

        wanted.subpath = Some("absolute".into());
        let mount = linux().mount(&wanted).unwrap();
        assert!(mount.root.ends_with("data/etc"), "{}", mount.root.display());
        linux().unmount(&wanted.target).unwrap();

        wanted.subpath = Some("relative".into());
        assert_eq!(linux().mount(&wanted).unwrap_err().kind(), Kind::NotFound);
        fs::create_dir(data.join("outside")).unwrap();
        linux().mount(&wanted).unwrap();
        assert_eq!(fs::read_dir(&wanted.target).unwrap().count(), 0);
        linux().unmount(&wanted.target).unwrap();

        for path in ["../outside", "/outside"] {
            wanted.subpath = Some(path.into());
            assert_eq!(linux().mount(&wanted).unwrap_err().kind(), Kind::InvalidArgument);
        }
    });
}

#[test]
fn a_read_only_mount_refuses_writes() {
    isolated(|dir| {
        let data = directory(dir);
        for what in
            [What::Network { fstype: "tmpfs".into(), source: "x".into() }, What::Directory(data)]
        {
            let target = dir.join("volume");
            let mut wanted = request(what, &target);
            wanted.read_only = true;
            wanted.ownership.mode = Some(0o700);
            assert!(linux().mount(&wanted).unwrap().is_read_only());
            let error = fs::write(target.join("file"), "x").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            linux().unmount(&target).unwrap();
        }
    });
}

#[test]
fn a_file_system_on_a_read_only_device_is_mounted_read_only() {
    isolated(|dir| {
        read_only_device(dir, &ext4_image(dir), "ext4");
        read_only_device(dir, &xfs_image(dir), "xfs");
    });
}

fn read_only_device(dir: &Path, image: &Path, fstype: &str) {
    let device = Loop::attach(image, true);
    let what = What::Device { device: device.0.clone(), fstype: fstype.into() };
    let mut wanted = request(what, &dir.join("volume"));
    let error = linux().mount(&wanted).unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
    wanted.read_only = true;
    let mount = linux().mount(&wanted).unwrap();
    assert!(mount.super_options.starts_with("ro"), "{}", mount.super_options);
    linux().unmount(&wanted.target).unwrap();
}

#[test]
fn an_occupied_target_is_refused() {
    isolated(|dir| {
        let target = dir.join("volume");
        linux().mount(&tmpfs(&target)).unwrap();
        let error = linux().mount(&tmpfs(&target)).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("already mounted"), "{error}");

        let full = dir.join("full");
        fs::create_dir(&full).unwrap();
        fs::write(full.join("file"), "x").unwrap();
        let error = linux().mount(&tmpfs(&full)).unwrap_err();
        assert!(error.message().contains("would be hidden"), "{error}");
        assert!(full.join("file").exists());

        symlink(dir.join("elsewhere"), dir.join("link")).unwrap();
        linux().mount(&tmpfs(&dir.join("link"))).unwrap_err();
        let error = linux().mount(&tmpfs(Path::new("relative"))).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
    });
}

#[test]
fn a_closed_mount_point_that_was_left_behind_is_removed_and_others_stay() {
    isolated(|dir| {
        let (closed, open) = (dir.join("closed"), dir.join("open"));
        for (path, mode) in [(&closed, 0), (&open, 0o755)] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(linux().unmount(path).unwrap(), Outcome::AlreadyDone(()));
        }
        assert!(!closed.exists() && open.exists());
        linux().mount(&tmpfs(&open)).unwrap();
        linux().unmount(&open).unwrap();
        assert!(!open.exists());
    });
}

#[test]
fn nothing_is_written_beside_a_volume_that_is_not_mounted() {
    isolated(|dir| {
        let target = dir.join("volume");
        linux().mount(&tmpfs(&target)).unwrap();
        rustix::mount::unmount(&target, UnmountFlags::empty()).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0);
    });
}

#[test]
fn a_busy_mount_names_its_holder() {
    isolated(|dir| {
        let target = dir.join("volume");
        linux().mount(&tmpfs(&target)).unwrap();
        let script = format!("cd {} && echo ready && exec sleep 60", target.display());
        let holder = Background::start("sh", &["-c", &script]);
        let error = linux().unmount(&target).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        let named = format!("sleep (pid {})", holder.pid());
        assert!(error.message().contains(&named), "{error}");
        drop(holder);
        linux().unmount(&target).unwrap();
    });
}

#[test]
fn a_mount_below_is_named_as_holder() {
    isolated(|dir| {
        let target = dir.join("volume");
        linux().mount(&tmpfs(&target)).unwrap();
        linux().mount(&tmpfs(&target.join("below"))).unwrap();
        let error = linux().unmount(&target).unwrap_err();
        assert!(error.message().contains("volume/below"), "{error}");
    });
}

#[test]
fn a_file_closed_in_time_does_not_hinder() {
    isolated(|dir| {
        let target = dir.join("volume");
        linux().mount(&tmpfs(&target)).unwrap();
        let file = fs::File::create(target.join("file")).unwrap();
        let closer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(file);
        });
        linux().unmount(&target).unwrap();
        closer.join().unwrap();
    });
}

#[test]
fn only_the_top_of_a_stack_is_unmounted() {
    isolated(|dir| {
        let target = dir.join("volume");
        linux().mount(&tmpfs(&target)).unwrap();
        assert!(
            Command::new("mount")
                .args(["-t", "tmpfs", "top"])
                .arg(&target)
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(linux().at(&target).unwrap().unwrap().source, "top");
        linux().unmount(&target).unwrap();
        assert_eq!(linux().at(&target).unwrap().unwrap().source, "x");
    });
}

#[test]
fn ensure_shared_is_idempotent_and_shows_each_mount_once() {
    isolated(|dir| {
        // The usual host: everything is one shared tree.
        mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).unwrap();
        let shared = dir.join("home/mounts");
        assert_eq!(linux().ensure_shared(&shared).unwrap(), Outcome::Done(()));
        assert_eq!(fs::metadata(&shared).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(linux().ensure_shared(&shared).unwrap(), Outcome::AlreadyDone(()));
        let target = shared.join("volume");
        linux().mount(&tmpfs(&target)).unwrap();
        assert_eq!(mounts_at(&target), 1);
        linux().unmount(&target).unwrap();
        assert_eq!(mounts_at(&target), 0);
    });
}

#[test]
fn ensure_shared_mends_a_bind_that_is_its_parents_peer() {
    isolated(|dir| {
        mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).unwrap();
        let shared = dir.join("mounts");
        fs::create_dir(&shared).unwrap();
        rustix::mount::mount_bind(&shared, &shared).unwrap();
        let target = shared.join("volume");
        linux().mount(&tmpfs(&target)).unwrap();
        assert_eq!(mounts_at(&target), 2);
        linux().unmount(&target).unwrap();
        assert_eq!(linux().ensure_shared(&shared).unwrap(), Outcome::Done(()));
        linux().mount(&tmpfs(&target)).unwrap();
        assert_eq!(mounts_at(&target), 1);
    });
}

fn mounts_at(target: &Path) -> usize {
    linux().table().unwrap().iter().filter(|mount| mount.target == target).count()
}

#[test]
fn mounts_propagate_to_namespaces_that_receive() {
    isolated(|dir| {
        let shared = dir.join("mounts");
        linux().ensure_shared(&shared).unwrap();
        let args = ["-m", "--propagation", "slave", "sh", "-c", "echo ready; exec sleep 60"];
        let receiver = Background::start("unshare", &args);
        let target = shared.join("volume");
        let sees = |wanted: bool| {
            let table = mountinfo::table_of(receiver.pid()).unwrap();
            assert_eq!(table.iter().any(|mount| mount.target == target), wanted);
        };
        let mut wanted = tmpfs(&target);
        wanted.subpath = Some("part".into());
        let mount = linux().mount(&wanted).unwrap();
        sees(true);
        assert_eq!(linux().other_users(&mount).unwrap(), []);
        linux().unmount(&target).unwrap();
        sees(false);
    });
}

#[test]
fn users_in_another_namespace_are_seen_and_inherited_copies_are_not() {
    isolated(|dir| {
        let (target, elsewhere) = (dir.join("volume"), dir.join("elsewhere"));
        fs::create_dir(&elsewhere).unwrap();
        let mount = linux().mount(&tmpfs(&target)).unwrap();
        assert_eq!(linux().other_users(&mount).unwrap(), []);
        let script = format!(
            "mount --bind {} {} && echo ready && exec sleep 60",
            target.display(),
            elsewhere.display()
        );
        let user = Background::start("unshare", &["-m", "sh", "-c", &script]);
        // It is ready a moment before it has become the program that it stays.
        let name = format!("/proc/{}/comm", user.pid());
        while fs::read_to_string(&name).unwrap().trim() != "sleep" {
            std::thread::yield_now();
        }
        let users = linux().other_users(&mount).unwrap();
        assert_eq!(users.len(), 1, "{users:?}");
        assert_eq!((users[0].pid, users[0].command.as_str()), (user.pid(), "sleep"));
        assert_eq!(users[0].target, elsewhere);
        drop(user);
        assert_eq!(linux().other_users(&mount).unwrap(), []);
    });
}

#[test]
fn a_second_place_in_the_own_namespace_is_a_user() {
    isolated(|dir| {
        let data = directory(dir);
        fs::create_dir(data.join("sub")).unwrap();
        let mount = linux().mount(&request(What::Directory(data.clone()), &dir.join("a"))).unwrap();
        assert_eq!(linux().other_users(&mount).unwrap(), []);
        linux().mount(&request(What::Directory(data.join("sub")), &dir.join("b"))).unwrap();
        let users = linux().other_users(&mount).unwrap();
        let targets: Vec<_> = users.iter().map(|user| user.target.as_path()).collect();
        assert_eq!(targets, [dir.join("b")]);
    });
}

#[test]
fn a_thousand_cycles_leave_nothing_behind() {
    isolated(|dir| {
        let target = dir.join("volume");
        let mut wanted = tmpfs(&target);
        wanted.subpath = Some("part".into());
        wanted.ownership.mode = Some(0o700);
        let before = (linux().table().unwrap(), open_descriptors());
        for _ in 0..1000 {
            linux().mount(&wanted).unwrap();
            linux().unmount(&target).unwrap();
        }
        // Other tests of this process open files of their own.
        let after = linux().table().unwrap();
        assert_eq!(after.len(), before.0.len());
        assert!(open_descriptors() < before.1 + 100, "descriptors leak");
        assert!(!target.exists());
    });
}

#[test]
fn ten_thousand_mounts_are_read() {
    isolated(|dir| {
        let data = directory(dir);
        let all = dir.join("all");
        linux().mount(&tmpfs(&all)).unwrap();
        for number in 0..10_000 {
            let target = all.join(number.to_string());
            linux().mount(&request(What::Directory(data.clone()), &target)).unwrap();
        }
        let began = Instant::now();
        let table = linux().table().unwrap();
        let whole = began.elapsed();
        let began = Instant::now();
        let found = linux().at(&all.join("7777")).unwrap().unwrap();
        println!("{} mounts: table {whole:?}, at {:?}", table.len(), began.elapsed());
        assert!(table.len() > 10_000);
        assert!(table.contains(&found));
    });
}

#[test]
fn a_frozen_file_system_takes_no_write_until_it_is_thawed() {
    isolated(|dir| {
        let image = ext4_image(dir);
        let device = Loop::attach(&image, false);
        let target = dir.join("volume");
        linux().mount(&request(device.what(), &target)).unwrap();
        let frozen = linux().freeze(&target).unwrap();
        assert_eq!(linux().freeze(&target).err().unwrap().kind(), Kind::FailedPrecondition);
        let (done, is_done) = mpsc::channel();
        let file = target.join("file");
        let writer = std::thread::spawn(move || {
            fs::write(file, "x").unwrap();
            done.send(()).unwrap();
        });
        assert!(is_done.recv_timeout(Duration::from_millis(300)).is_err(), "written while frozen");
        drop(frozen);
        is_done.recv_timeout(Duration::from_secs(30)).unwrap();
        writer.join().unwrap();
        linux().unmount(&target).unwrap();
    });
}

#[test]
fn what_cannot_be_frozen_says_so() {
    isolated(|dir| {
        let target = dir.join("volume");
        fs::create_dir(&target).unwrap();
        let error = linux().freeze(&target).err().unwrap();
        assert!(error.message().contains("nothing is mounted there"), "{error}");
        linux().mount(&tmpfs(&target)).unwrap();
        assert_eq!(linux().freeze(&target).err().unwrap().kind(), Kind::Unimplemented);
    });
}

#[test]
fn usage_is_that_of_the_mounted_file_system() {
    isolated(|dir| {
        let target = dir.join("volume");
        let mut wanted = tmpfs(&target);
        wanted.options = options(&["size=4m"]);
        linux().mount(&wanted).unwrap();
        let before = linux().usage(&target).unwrap();
        assert_eq!((before.total, before.available), (4 << 20, 4 << 20));
        fs::File::create(target.join("file")).unwrap().write_all(&[1; 1 << 20]).unwrap();
        assert_eq!(linux().usage(&target).unwrap().available, 3 << 20);
    });
}

#[test]
fn a_file_system_that_never_answers_is_found_at_once() {
    isolated(|dir| {
        let Ok(server) = fs::File::options().read(true).write(true).open("/dev/fuse") else {
            println!("skipped: no /dev/fuse");
            return;
        };
        let target = dir.join("hung");
        fs::create_dir(&target).unwrap();
        mount_fuse(&server, &target);
        let (done, found) = mpsc::channel();
        let asked = target.clone();
        // The new thread lives in the mount namespace of this one.
        std::thread::spawn(move || {
            done.send((linux().at(&asked), linux().table())).unwrap();
        });
        let answer = found.recv_timeout(Duration::from_secs(1));
        drop(server);
        rustix::mount::unmount(&target, UnmountFlags::DETACH).unwrap();
        let (at, table) = answer.unwrap();
        let found = at.unwrap().unwrap();
        assert_eq!(found.fstype, "fuse.never");
        assert!(table.unwrap().contains(&found));
    });
}

fn mount_fuse(server: &fs::File, target: &Path) {
    use rustix::mount as api;
    use std::os::fd::AsRawFd;
    let context = api::fsopen("fuse", api::FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for (key, value) in [
        ("source", "never"),
        ("subtype", "never"),
        ("rootmode", "40000"),
        ("user_id", "0"),
        ("group_id", "0"),
        ("fd", &server.as_raw_fd().to_string()),
    ] {
        api::fsconfig_set_string(&context, key, value).unwrap();
    }
    api::fsconfig_create(&context).unwrap();
    let attributes = api::MountAttrFlags::empty();
    let mount = api::fsmount(&context, api::FsMountFlags::FSMOUNT_CLOEXEC, attributes).unwrap();
    let flags = api::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    api::move_mount(&mount, "", rustix::fs::CWD, target, flags).unwrap();
}
