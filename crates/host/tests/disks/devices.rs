//! Waiting for devices.

use super::*;
use error::Kind;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

#[test]
fn a_device_that_is_there_is_found_through_a_link() {
    isolated(|dir| {
        let machine = linux();
        let device = attach(&machine, &image(dir, "image", 16 * MIB));
        let link = dir.join("by-id");
        symlink(&device, &link).unwrap();
        let found = machine.wait_for(&[dir.join("none"), link], None, Duration::ZERO).unwrap();
        assert_eq!(found, device);
    });
}

#[test]
fn a_device_that_comes_late_is_noticed_at_once() {
    isolated(|dir| {
        let machine = linux();
        let device = attach(&machine, &image(dir, "image", 16 * MIB));
        let link = dir.join("by-id");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let candidates = [link.clone()];
                let found = machine.wait_for(&candidates, None, Duration::from_secs(10));
                (found.unwrap(), Instant::now())
            });
            std::thread::sleep(Duration::from_millis(330));
            let came = Instant::now();
            symlink(&device, &link).unwrap();
            let (found, noticed) = waiting.join().unwrap();
            assert_eq!(found, device);
            assert!(noticed - came < Duration::from_millis(90), "{:?}", noticed - came);
        });
    });
}

#[test]
fn a_directory_that_comes_late_is_noticed_too() {
    isolated(|dir| {
        let machine = linux();
        let device = attach(&machine, &image(dir, "image", 16 * MIB));
        let link = dir.join("disk/by-id");
        let candidates = [link.clone()];
        std::thread::scope(|scope| {
            let waiting = scope
                .spawn(|| machine.wait_for(&candidates, None, Duration::from_secs(10)).unwrap());
            std::thread::sleep(Duration::from_millis(50));
            fs::create_dir(dir.join("disk")).unwrap();
            symlink(&device, &link).unwrap();
            assert_eq!(waiting.join().unwrap(), device);
        });
    });
}

#[test]
fn a_stale_link_is_replaced_by_the_right_one() {
    isolated(|dir| {
        let machine = linux();
        let device = attach(&machine, &image(dir, "image", 16 * MIB));
        let link = dir.join("by-id");
        symlink("/dev/mobula-gone", &link).unwrap();
        let candidates = [link.clone()];
        std::thread::scope(|scope| {
            let waiting = scope
                .spawn(|| machine.wait_for(&candidates, None, Duration::from_secs(10)).unwrap());
            std::thread::sleep(Duration::from_millis(50));
            symlink(&device, dir.join("new")).unwrap();
            fs::rename(dir.join("new"), &link).unwrap();
            assert_eq!(waiting.join().unwrap(), device);
        });
    });
}

#[test]
fn a_device_without_the_serial_is_not_accepted() {
    isolated(|dir| {
        let machine = linux();
        let device = attach(&machine, &image(dir, "image", 16 * MIB));
        let wait = Duration::from_millis(50);
        let error = machine.wait_for(&[device], Some("vol-1"), wait).unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
        assert!(error.message().contains("has no serial"), "{error}");
    });
}

#[test]
fn a_serial_that_the_kernel_knows_is_compared() {
    isolated(|_| {
        let disks = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
        let known = disks.into_iter().find_map(|path| {
            let serial = fs::read_to_string(path.join("serial"))
                .or_else(|_| fs::read_to_string(path.join("device/serial")));
            let serial = serial.ok()?.trim().to_owned();
            (!serial.is_empty())
                .then(|| (Path::new("/dev").join(path.file_name().unwrap()), serial))
        });
        let Some((device, serial)) = known else {
            println!("skipped: no disk of this machine has a serial");
            return;
        };
        let candidates = [device.clone()];
        assert_eq!(linux().wait_for(&candidates, Some(&serial), Duration::ZERO).unwrap(), device);
        let error = linux().wait_for(&candidates, Some("other"), Duration::ZERO).unwrap_err();
        assert!(error.message().contains(&format!("has serial {serial}")), "{error}");
    });
}
