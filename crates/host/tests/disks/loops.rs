//! Loop devices: one per image, and none left behind.

use super::*;
use error::Kind;
use host::Outcome;
use std::collections::BTreeSet;
use std::io::Read;
use std::time::{Duration, Instant};

const KEEP: Attach = Attach { read_only: false, keep: true };
const READ_ONLY: Attach = Attach { read_only: true, keep: false };

fn autoclears(device: &Path) -> bool {
    let name = device.file_name().unwrap();
    let path = Path::new("/sys/block").join(name).join("loop/autoclear");
    fs::read_to_string(path).unwrap().trim() == "1"
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_image_is_attached_found_and_detached() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        let machine = linux();
        assert_eq!(machine.find_image(&path).unwrap(), None);
        let device = attach(&machine, &path);
        assert_eq!(machine.size(&device).unwrap(), 16 * MIB);
        assert!(autoclears(&device));
        assert_eq!(machine.find_image(&path).unwrap(), Some(device.clone()));
        assert_eq!(linux().find_image(&path).unwrap(), Some(device.clone()));
        let again = machine.attach_image(&path, Attach::default()).unwrap();
        assert_eq!(again, Outcome::AlreadyDone(device));
        assert!(machine.detach_image(&path).unwrap().is_done());
        assert!(!machine.detach_image(&path).unwrap().is_done());
        assert_eq!(machine.find_image(&path).unwrap(), None);
    });
}

#[test]
fn an_image_is_found_by_its_identity_and_not_by_its_name() {
    isolated(|dir| {
        let (path, moved) = (image(dir, "image", 16 * MIB), dir.join("moved"));
        let machine = linux();
        let device = attach(&machine, &path);
        fs::hard_link(&path, &moved).unwrap();
        assert_eq!(machine.find_image(&moved).unwrap(), Some(device.clone()));
        // Another file of the attached one's name is another image.
        fs::remove_file(&path).unwrap();
        image(dir, "image", 16 * MIB);
        assert_eq!(machine.find_image(&path).unwrap(), None);
        let other = attach(&machine, &path);
        assert_ne!(other, device);
        machine.detach_image(&path).unwrap();
        machine.detach_image(&moved).unwrap();
    });
}

#[test]
fn a_deleted_image_can_still_be_detached() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        let machine = linux();
        let device = attach(&machine, &path);
        fs::remove_file(&path).unwrap();
        assert_eq!(machine.find_image(&path).unwrap(), Some(device));
        assert!(machine.detach_image(&path).unwrap().is_done());
        assert!(!machine.detach_image(&path).unwrap().is_done());
    });
}

#[test]
fn threads_that_attach_one_image_get_one_device() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        for _ in 0..20 {
            let machine = linux();
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let attach = || machine.attach_image(&path, Attach::default()).unwrap();
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(attach)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_done()).count(), 1);
            let devices: BTreeSet<_> = outcomes.into_iter().map(Outcome::into_inner).collect();
            assert_eq!(devices.len(), 1);
            assert_eq!(attached_in(dir).len(), 1);
            machine.detach_image(&path).unwrap();
        }
    });
}

/// Not a test of its own: what [`processes_that_attach_one_image_get_one_device`] starts.
#[test]
fn a_process_attaches_the_image_it_is_given() {
    let Some(path) = alone() else { return };
    let machine = linux();
    println!("device={}", attach(&machine, &path).display());
    // Until the parent closes the pipe or kills this process.
    let _ = std::io::stdin().read(&mut [0]);
}

fn attaching_child(image: &Path) -> std::process::Child {
    let mut command = child("loops::a_process_attaches_the_image_it_is_given", image);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn processes_that_attach_one_image_get_one_device() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        let mut children: Vec<_> = (0..4).map(|_| attaching_child(&path)).collect();
        wait_until("attached", || !attached_in(dir).is_empty());
        for _ in 0..100 {
            assert!(attached_in(dir).len() <= 1);
            std::thread::sleep(Duration::from_millis(2));
        }
        for child in &mut children {
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
        }
        wait_until("detached", || attached_in(dir).is_empty());
    });
}

#[test]
fn a_killed_process_leaves_nothing_attached() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        let mut child = attaching_child(&path);
        wait_until("attached", || !attached_in(dir).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("detached", || attached_in(dir).is_empty());
    });
}

#[test]
fn two_hundred_cycles_leave_nothing_behind() {
    let Some(dir) = alone() else {
        return isolated(|dir| {
            let mut child = child("loops::two_hundred_cycles_leave_nothing_behind", dir);
            assert!(child.stdout(Stdio::null()).status().unwrap().success());
            assert_eq!(attached_in(dir), [] as [String; 0]);
        });
    };
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let path = image(&dir, "image", 16 * MIB);
    let machine = linux();
    let before = descriptors();
    for cycle in 0..200 {
        let attach = Attach { read_only: cycle % 3 == 0, keep: cycle % 2 == 0 };
        assert!(machine.attach_image(&path, attach).unwrap().is_done());
        assert!(machine.detach_image(&path).unwrap().is_done());
    }
    assert_eq!(descriptors(), before);
    assert_eq!(attached_in(&dir), [] as [String; 0]);
}

#[test]
fn a_kept_device_outlives_its_process_and_can_be_given_up() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        let device = linux().attach_image(&path, KEEP).unwrap().into_inner();
        assert!(!autoclears(&device));
        let machine = linux();
        assert_eq!(machine.find_image(&path).unwrap(), Some(device.clone()));
        let again = machine.attach_image(&path, Attach::default()).unwrap();
        assert_eq!(again, Outcome::AlreadyDone(device.clone()));
        assert!(autoclears(&device));
        machine.attach_image(&path, KEEP).unwrap();
        assert!(!autoclears(&device));
        drop(machine);
        assert_eq!(attached_in(dir).len(), 1);
        assert!(linux().detach_image(&path).unwrap().is_done());
        assert_eq!(attached_in(dir), [] as [String; 0]);
    });
}

#[test]
fn an_autoclear_device_lives_as_long_as_its_mount() {
    isolated(|dir| {
        let (path, target) = (formatted(dir, "image", Fstype::Ext4, 16 * MIB), dir.join("m"));
        let machine = linux();
        let device = attach(&machine, &path);
        assert!(!machine.is_held(&path).unwrap());
        mount(&machine, &device, Fstype::Ext4, &target);
        drop(machine);
        let machine = linux();
        assert!(machine.is_held(&path).unwrap() && machine.is_held(&device).unwrap());
        let found = machine.attach_image(&path, Attach::default()).unwrap();
        assert_eq!(found, Outcome::AlreadyDone(device));
        drop(machine);
        linux().unmount(&target).unwrap();
        wait_until("detached", || attached_in(dir).is_empty());
    });
}

#[test]
fn a_mounted_image_is_not_detached_and_nothing_changes() {
    isolated(|dir| {
        let (path, target) = (formatted(dir, "image", Fstype::Ext4, 16 * MIB), dir.join("m"));
        let machine = linux();
        let device = machine.attach_image(&path, KEEP).unwrap().into_inner();
        mount(&machine, &device, Fstype::Ext4, &target);
        let error = machine.detach_image(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(!autoclears(&device));
        fs::write(target.join("f"), "still there").unwrap();
        machine.unmount(&target).unwrap();
        assert_eq!(machine.find_image(&path).unwrap(), Some(device));
        assert!(machine.detach_image(&path).unwrap().is_done());
    });
}

#[test]
fn a_read_only_device_refuses_writes_and_is_not_taken_for_writing() {
    isolated(|dir| {
        let path = formatted(dir, "image", Fstype::Ext4, 16 * MIB);
        let machine = linux();
        let device = machine.attach_image(&path, READ_ONLY).unwrap().into_inner();
        assert!(
            File::options().write(true).open(&device).is_err() || {
                let flag = Path::new("/sys/block").join(device.file_name().unwrap()).join("ro");
                fs::read_to_string(flag).unwrap().trim() == "1"
            }
        );
        let error = machine.attach_image(&path, Attach::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("read-only; detach it first"), "{error}");
        machine.detach_image(&path).unwrap();
        let device = attach(&machine, &path);
        assert_eq!(machine.attach_image(&path, READ_ONLY).unwrap(), Outcome::AlreadyDone(device));
        machine.detach_image(&path).unwrap();
    });
}

#[test]
fn a_device_that_shows_only_a_part_of_the_image_is_refused() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        run("losetup", &["--find", "--offset", "1048576"], &[&path]);
        let machine = linux();
        let error = machine.attach_image(&path, Attach::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(machine.detach_image(&path).unwrap().is_done());
    });
}

#[test]
fn a_missing_image_and_a_directory_are_refused() {
    isolated(|dir| {
        let machine = linux();
        let missing = machine.attach_image(&dir.join("none"), Attach::default()).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        assert!(machine.attach_image(dir, READ_ONLY).is_err());
        assert!(!machine.detach_image(&dir.join("none")).unwrap().is_done());
    });
}

#[test]
fn an_image_on_a_tmpfs_is_attached_without_direct_io() {
    isolated(|dir| {
        run("mount", &["-t", "tmpfs", "none"], &[dir]);
        let path = image(dir, "image", 16 * MIB);
        let machine = linux();
        machine.format(&attach(&machine, &path), &format(Fstype::Ext4)).unwrap();
        machine.detach_image(&path).unwrap();
        assert_eq!(superblock(&path).uuid, uuid());
        run("umount", &[], &[dir]);
    });
}

#[test]
fn an_image_never_becomes_shorter() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        let machine = linux();
        let error = machine.resize_image(&path, 8 * MIB).unwrap_err();
        assert_eq!(error.kind(), Kind::OutOfRange);
        machine.resize_image(&path, 16 * MIB).unwrap();
        assert_eq!(machine.size(&path).unwrap(), 16 * MIB);
    });
}

#[test]
fn a_missing_device_node_is_made() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        // A /dev that has nothing but the control node, as in a small container.
        let control = fs::metadata("/dev/loop-control").unwrap();
        run("mount", &["-t", "tmpfs", "none"], &[Path::new("/dev")]);
        let number = std::os::unix::fs::MetadataExt::rdev(&control);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, "/dev/loop-control", kind, mode, number).unwrap();
        let machine = linux();
        let device = attach(&machine, &path);
        assert_eq!(machine.size(&device).unwrap(), 16 * MIB);
        machine.detach_image(&path).unwrap();
    });
}
