//! Volumes that REX-Ray made: found by their name, mounted with their data, and then this program's.

use crate::devices::{Machine, image, read, write};
use crate::lab::{FAST, HERE, Lab, named, refused};
use error::Kind;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use testkit::root::is_root;
use testkit::service::request;
use volume::{Parameters, Size};

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

/// What REX-Ray leaves on a disk: mkfs on the whole of it, `/data` with mode 0700.
fn as_rexray_leaves_it(lab: &Lab, disk: &Path, fstype: &str) {
    let shown = disk.to_str().unwrap();
    let force = if fstype == "ext4" { "-F" } else { "-f" };
    run(&format!("mkfs.{fstype}"), &["-q", force, shown]);
    let at = lab.dir.path().join("rexray");
    fs::create_dir_all(at.join("x")).unwrap();
    run("mount", &["-o", "loop", shown, at.to_str().unwrap()]);
    fs::create_dir(at.join("data")).unwrap();
    fs::set_permissions(at.join("data"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(at.join("data/file"), "of REX-Ray").unwrap();
    // Whoever makes a mount namespace just now has a copy of this mount, which would keep it back.
    run("sync", &["-f", at.to_str().unwrap()]);
    run("umount", &[at.to_str().unwrap()]);
}

/// A machine as `mobula migrate rexray` configures it.
fn compatible(lab: &Lab) -> Machine {
    let (sub_path, mode) = (Some("data".to_owned()), Some(0o700));
    let defaults = Parameters { sub_path, mode, ..Parameters::default() };
    Machine::configured(lab, HERE, &FAST, defaults)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_rexray_is_mounted_with_its_data_and_adopted() {
    if !is_root() {
        return;
    }
    for fstype in ["ext4", "xfs"] {
        let lab = Lab::new().await;
        let machine = compatible(&lab);
        let id = lab.foreign(Some("pg"), 1).await;
        as_rexray_leaves_it(&lab, &image(&lab, id.as_str()), fstype);
        refused(machine.driver.delete(&id).await, Kind::FailedPrecondition, "another program");
        for _ in 0..2 {
            let target = machine.mount("pg").await.unwrap();
            assert_eq!(read(&target), "of REX-Ray", "{fstype}");
            assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o700, "{fstype}");
            machine.unmount("pg").await;
        }
        let adopted = machine.driver.find(&named("pg")).await.unwrap().unwrap();
        let filesystem = adopted.filesystem.unwrap();
        assert_eq!((filesystem.fstype.name(), filesystem.unrecorded), (fstype, false));
        assert_eq!(adopted.size, Some(Size::gib(1)));
        assert_eq!(adopted.parameters.sub_path.as_deref(), Some("data"), "it stays so");
        // From now on it is one of ours: created again it is found, and it can be removed.
        assert!(!machine.service.create(request("pg")).await.unwrap().is_done());
        machine.service.remove(&named("pg"), false).await.unwrap();
        assert!(lab.sim.volumes().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_rexray_is_adopted_as_it_is_where_nothing_is_configured() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let machine = Machine::new(&lab, HERE);
    let id = lab.foreign(Some("pg"), 1).await;
    as_rexray_leaves_it(&lab, &image(&lab, id.as_str()), "ext4");
    // By Docker's way: created, which finds it, and mounted.
    assert!(!machine.service.create(request("pg")).await.unwrap().is_done());
    let target = machine.mount("pg").await.unwrap();
    assert_eq!(read(&target.join("data")), "of REX-Ray");
    machine.unmount("pg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_rexray_without_a_file_system_is_formatted() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let machine = Machine::new(&lab, HERE);
    lab.foreign(Some("blank"), 1).await;
    let target = machine.mount("blank").await.unwrap();
    assert_eq!(fs::metadata(&target).unwrap().uid(), 0);
    write(&target, "new");
    machine.unmount("blank").await;
    assert_eq!(read(&machine.mount("blank").await.unwrap()), "new");
    machine.unmount("blank").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_holds_something_else_is_left_untouched() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let machine = Machine::new(&lab, HERE);
    // A LUKS header, and an MBR with one partition of Linux.
    let luks = b"LUKS\xba\xbe\x00\x01".to_vec();
    let mut mbr = vec![0; 512];
    mbr[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 16, 0]);
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    for (name, header) in [("luks", luks), ("parted", mbr)] {
        let id = lab.foreign(Some(name), 1).await;
        let disk = image(&lab, id.as_str());
        let file = fs::File::options().write(true).open(&disk).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &header, 0).unwrap();
        let error = refused(machine.mount(name).await, Kind::FailedPrecondition, "untouched");
        assert!(error.message().contains("zeros by hand"), "{error}");
        let mut now = vec![0; header.len()];
        let file = fs::File::open(&disk).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut now, 0).unwrap();
        assert_eq!(now, header);
        assert!(lab.holders(&id).is_empty(), "it is detached again");
        assert!(!lab.volume(&id).tags.contains_key("mobula:record"), "nor is it adopted");
    }
}
