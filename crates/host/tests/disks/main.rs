//! The disk half of the machine, on the real kernel: loop devices, real mkfs, real mounts. Each test
//! runs on a thread with a mount namespace of its own.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod blank;
mod devices;
mod files;
mod filesystems;
mod labels;
mod loops;
mod options;

use host::linux::Linux;
use host::{Attach, Content, Disks, Format, Fstype, MountRequest, Mounts, Ownership, What};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use uuid::Uuid;

const MIB: u64 = 1 << 20;

thread_local! {
    /// Of each test its own: the kernel and mkfs don't take two btrfs of the same UUID.
    static UUIDS: [Uuid; 2] = [Uuid::new_v4(), Uuid::new_v4()];
}

/// The UUID that this test's file systems are made with.
fn uuid() -> Uuid {
    UUIDS.with(|uuids| uuids[0])
}

/// Another one.
fn other() -> Uuid {
    UUIDS.with(|uuids| uuids[1])
}

/// Runs `test` with a temporary directory in a mount namespace of its own; what it leaves attached
/// by kernel or by keeping is detached.
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
        let dir = tempfile::tempdir().unwrap();
        test(dir.path());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Tries again for a while: programs that other tests start have all descriptors of this process
/// until they run, and with them what is to be unmounted or detached here.
fn patiently(mut is_done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "somebody still has it");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The same for what is refused while somebody has it.
fn unless_busy<T>(mut attempt: impl FnMut() -> error::Result<T>) -> error::Result<T> {
    let mut last = None;
    patiently(|| {
        let result = attempt();
        let busy = ["(os error 16)", " is in use by "];
        let is_busy =
            matches!(&result, Err(error) if busy.iter().any(|why| error.chain().contains(why)));
        last = Some(result);
        !is_busy
    });
    last.unwrap()
}

/// Runs the test `name` of this binary in a process of its own, which sees `ALONE` = `value`.
fn child(name: &str, value: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("ALONE", value);
    command
}

fn alone() -> Option<PathBuf> {
    std::env::var_os("ALONE").map(PathBuf::from)
}

fn linux() -> Linux {
    Linux::default()
}

fn image(dir: &Path, name: &str, size: u64) -> PathBuf {
    let path = dir.join(name);
    File::create(&path).unwrap().set_len(size).unwrap();
    path
}

/// Attached for as long as `machine` lives.
fn attach(machine: &Linux, image: &Path) -> PathBuf {
    machine.attach_image(image, Attach::default()).unwrap().into_inner()
}

fn format(fstype: Fstype) -> Format {
    Format { fstype, uuid: uuid(), options: Vec::new() }
}

fn formatted(dir: &Path, name: &str, fstype: Fstype, size: u64) -> PathBuf {
    let path = image(dir, name, size);
    linux().format(&path, &format(fstype)).unwrap();
    path
}

fn mount(machine: &Linux, device: &Path, fstype: Fstype, target: &Path) {
    let request = MountRequest {
        what: What::Device { device: device.to_owned(), fstype: fstype.name().to_owned() },
        target: target.to_owned(),
        options: Vec::new(),
        read_only: false,
        subpath: None,
        ownership: Ownership::default(),
        drop_empty: Vec::new(),
    };
    machine.mount(&request).unwrap();
}

fn superblock(path: &Path) -> host::Superblock {
    match linux().probe(path).unwrap() {
        Content::Filesystem(found) => found,
        other => panic!("{} holds {other}", path.display()),
    }
}

/// Runs a program that must succeed.
fn run(program: &str, args: &[&str], paths: &[&Path]) {
    let mut command = Command::new(program);
    let output = command.args(args).args(paths).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The loop devices that are attached to files in `dir`.
fn attached_in(dir: &Path) -> Vec<String> {
    let names = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
    names
        .filter_map(|path| fs::read_to_string(path.join("loop/backing_file")).ok())
        .filter(|backing| Path::new(backing).starts_with(dir))
        .collect()
}
