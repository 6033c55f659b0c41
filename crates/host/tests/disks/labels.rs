//! Loop devices with a label, and taking a disk away from whoever still has it mounted.

use super::*;
use error::Kind;
use host::loopdev::{Detached, Labelled, attach_labelled, labelled};
use host::shutdown::{shut_down, shut_down_device};
use std::io::Write;
use std::time::Duration;

/// A label that no other test uses.
fn label() -> String {
    let id = uuid().simple().to_string();
    format!("vol{}", &id[..17])
}

fn wait_for(device: &Path, serial: &str) -> error::Result<PathBuf> {
    linux().wait_for(&[device.to_owned()], Some(serial), Duration::from_millis(50))
}

/// Writes to an open file until it is on the device.
fn write(file: &mut File) -> std::io::Result<()> {
    file.write_all(b"written")?;
    file.sync_all()
}

/// Formats, mounts and opens a file, which was written once.
fn in_use(dir: &Path, device: &Labelled, fstype: Fstype) -> (PathBuf, File) {
    let machine = linux();
    machine.format(&device.device, &format(fstype)).unwrap();
    let target = dir.join("target");
    mount(&machine, &device.device, fstype, &target);
    let mut file = File::create(target.join("file")).unwrap();
    write(&mut file).unwrap();
    (target, file)
}

fn unmount(target: &Path) {
    let flags = rustix::mount::UnmountFlags::empty();
    patiently(|| match rustix::mount::unmount(target, flags) {
        Err(rustix::io::Errno::BUSY) => false,
        other => other.map(|()| true).unwrap(),
    });
}

fn detach(device: &Labelled) {
    patiently(|| device.detach().unwrap() == Detached::Gone);
}

#[test]
fn the_label_of_a_loop_device_is_its_serial() {
    isolated(|dir| {
        let (path, label) = (image(dir, "image", 16 * MIB), label());
        let device = attach_labelled(&path, &label).unwrap();
        assert!(labelled().unwrap().contains(&device));
        assert!(device.is_of(&path).unwrap());
        assert_eq!(wait_for(&device.device, &label).unwrap(), device.device);
        let error = wait_for(&device.device, "vol9").unwrap_err();
        assert!(error.message().contains(&format!("has serial {label}")), "{error}");
        assert_eq!(device.detach().unwrap(), Detached::Gone);
        assert!(!device.is_attached().unwrap());
        assert_eq!(device.detach().unwrap(), Detached::Gone);
    });
}

#[test]
fn a_longer_image_is_a_larger_disk() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        let device = attach_labelled(&path, &label()).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(32 * MIB).unwrap();
        device.take_new_size().unwrap();
        assert_eq!(linux().size(&device.device).unwrap(), 32 * MIB);
        detach(&device);
    });
}

#[test]
fn a_mounted_disk_is_held_until_it_is_unmounted() {
    isolated(|dir| {
        let path = image(dir, "image", 64 * MIB);
        let device = attach_labelled(&path, &label()).unwrap();
        let (target, file) = in_use(dir, &device, Fstype::Ext4);
        assert_eq!(device.detach().unwrap(), Detached::Held);
        drop(file);
        unmount(&target);
        detach(&device);
    });
}

#[test]
fn a_disk_that_was_taken_away_takes_no_write_whatever_is_on_it() {
    for fstype in [Fstype::Ext4, Fstype::Xfs, Fstype::Btrfs] {
        isolated(move |dir| {
            let (path, label) = (image(dir, "image", 512 * MIB), label());
            let old = attach_labelled(&path, &label).unwrap();
            let (target, mut file) = in_use(dir, &old, fstype);
            match shut_down_device(&old.device) {
                Ok(mounts) => assert_eq!(mounts, 1),
                Err(error) => assert_eq!(error.kind(), Kind::Unimplemented, "{fstype:?}: {error}"),
            }
            old.take_away().unwrap();
            // Somebody else has the same image now.
            let new = attach_labelled(&path, &label).unwrap();
            assert_ne!(new.device, old.device);
            let before = fs::read(&path).unwrap();
            write(&mut file).unwrap_err();
            drop(file);
            unmount(&target);
            assert!(before == fs::read(&path).unwrap(), "{fstype:?}: the old holder wrote");
            // What was synced is there, and the file system is whole.
            linux().check(&new.device, fstype).unwrap();
            mount(&linux(), &new.device, fstype, &target);
            assert!(fs::read(target.join("file")).unwrap().starts_with(b"written"));
            unmount(&target);
            detach(&new);
        });
    }
}

#[test]
fn a_file_system_that_was_shut_down_refuses_writes_everywhere() {
    for fstype in [Fstype::Ext4, Fstype::Xfs] {
        isolated(move |dir| {
            let device = attach_labelled(&image(dir, "image", 512 * MIB), &label()).unwrap();
            let (target, mut file) = in_use(dir, &device, fstype);
            shut_down(&target).unwrap();
            write(&mut file).unwrap_err();
            File::create(target.join("another")).unwrap_err();
            // As often as one likes.
            shut_down(&target).unwrap();
            drop(file);
            // It is still found, and unmounted like any other.
            assert!(linux().at(&target).unwrap().is_some());
            assert!(unless_busy(|| linux().unmount(&target)).unwrap().is_done());
            detach(&device);
        });
    }
}

#[test]
fn what_was_synced_is_there_after_a_shutdown_also_what_was_just_being_synced() {
    for fstype in [Fstype::Ext4, Fstype::Xfs] {
        isolated(move |dir| {
            let device = attach_labelled(&image(dir, "image", 512 * MIB), &label()).unwrap();
            let (target, file) = in_use(dir, &device, fstype);
            drop(file);
            let mut synced = 0;
            // The kernel's own shutdown loses something every sixth time or so.
            for _ in 0..15 {
                let log = target.join("log");
                let (tell, told) = std::sync::mpsc::channel();
                let writer = std::thread::spawn(move || {
                    let mut file = File::options().create(true).append(true).open(log).unwrap();
                    for number in synced.. {
                        let line = format!("\n{number}\n");
                        if file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).is_err() {
                            return number;
                        }
                        let _ = tell.send(());
                    }
                    unreachable!("it is shut down");
                });
                told.iter().take(4).for_each(drop);
                shut_down(&target).unwrap();
                synced = writer.join().unwrap();
                unmount(&target);
                mount(&linux(), &device.device, fstype, &target);
                let log = fs::read_to_string(target.join("log")).unwrap();
                let lost =
                    (0..synced).find(|number| log.lines().all(|line| line != number.to_string()));
                assert_eq!(lost, None, "{fstype:?}: synced, and lost");
            }
            unmount(&target);
            detach(&device);
        });
    }
}

#[test]
fn a_file_system_whose_device_hangs_is_shut_down_all_the_same() {
    isolated(|dir| {
        // A disk within a disk: that hangs while the one around it is frozen.
        let around = attach_labelled(&image(dir, "around", 512 * MIB), &label()).unwrap();
        let (outer, file) = in_use(dir, &around, Fstype::Ext4);
        drop(file);
        fs::create_dir(dir.join("inner")).unwrap();
        let device = attach_labelled(&image(&outer, "image", 128 * MIB), &label()).unwrap();
        let (target, mut file) = in_use(&dir.join("inner"), &device, Fstype::Ext4);
        file.write_all(b"not synced").unwrap();
        let frozen = linux().freeze(&outer).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let (shut, written) = (target.clone(), std::thread::spawn(move || write(&mut file)));
        let shuts = std::thread::spawn(move || tell.send(shut_down(&shut)).unwrap());
        let result = told.recv_timeout(Duration::from_secs(60)).expect("it does not wait for it");
        if let Err(error) = result {
            assert_eq!(error.kind(), Kind::DeadlineExceeded, "{error}");
        }
        drop(frozen);
        shuts.join().unwrap();
        let _ = written.join().unwrap();
        File::create(target.join("another")).unwrap_err();
        assert!(unless_busy(|| linux().unmount(&target)).unwrap().is_done());
        detach(&device);
        unmount(&outer);
        detach(&around);
    });
}
