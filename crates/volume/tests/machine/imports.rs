//! Disks that another program left, taken over: as REX-Ray left them, and such as cannot be.

use super::{Machine, mounted, unmounted};
use error::Kind;
use host::{Attach, Content, Disks, Fstype};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::root::is_root;
use testkit::service::{request, volume};
use volume::Parameters;
use volume::orchestrator::Request;

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

/// A disk as REX-Ray leaves it: mkfs on the whole of it, `/data` of root and mode 0700, unmounted.
fn rexrays(machine: &Machine, fstype: Fstype) -> PathBuf {
    let image = machine.path().join(format!("{fstype}.img"));
    let shown = image.to_str().unwrap();
    fs::File::create(&image).unwrap().set_len(super::small(fstype).0).unwrap();
    match fstype {
        Fstype::Ext4 => run("mkfs.ext4", &["-q", "-F", shown]),
        Fstype::Xfs => run("mkfs.xfs", &["-q", "-f", shown]),
        Fstype::Btrfs => run("mkfs.btrfs", &["-q", "-f", shown]),
    }
    let at = machine.path().join("rexray");
    fs::create_dir_all(&at).unwrap();
    run("mount", &["-o", "loop", shown, at.to_str().unwrap()]);
    let data = at.join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(data.join("file"), "of REX-Ray").unwrap();
    fs::write(at.join("outside"), "not for users").unwrap();
    run("umount", &[at.to_str().unwrap()]);
    image
}

/// As `mobula migrate rexray` configures it.
fn compat(name: &str) -> Request {
    let (sub_path, mode) = (Some("data".to_owned()), Some(0o700));
    Request { asked: Parameters { sub_path, mode, ..Parameters::default() }, ..request(name) }
}

fn content(machine: &Machine, device: &Path) -> Content {
    machine.linux.probe(device).unwrap()
}

#[tokio::test]
async fn a_volume_of_rexray_opens_with_its_data_and_the_original_stays_as_it_is() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let image = rexrays(&machine, fstype);
        let before = (content(&machine, &image), fs::read(&image).unwrap());
        let name = fstype.name();
        let made = service.import(compat(name), &image).await.unwrap();
        assert!(made.is_done());
        assert_eq!(made.into_inner().parameters.fs_type, Some(fstype));
        for _ in 0..2 {
            let target = mounted(&service, name).await;
            let file = target.join("file");
            assert_eq!(fs::read_to_string(&file).unwrap(), "of REX-Ray", "{fstype}");
            assert!(!target.join("outside").exists(), "users see the directory data only");
            let found = fs::metadata(&target).unwrap();
            assert_eq!((found.mode() & 0o7777, found.uid()), (0o700, 0), "{fstype}");
            fs::write(target.join("new"), "writable").unwrap();
            unmounted(&service, name).await;
        }
        assert!(before == (content(&machine, &image), fs::read(&image).unwrap()), "{fstype}");
        let again = service.import(compat(name), &image).await.unwrap();
        assert!(!again.is_done(), "the same import again changes nothing");
    }
    machine.assert_nothing_left();
}

#[tokio::test]
async fn a_block_device_is_imported_and_both_can_be_mounted() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in [Fstype::Ext4, Fstype::Xfs] {
        let image = rexrays(&machine, fstype);
        let name = fstype.name();
        let device = machine.linux.attach_image(&image, Attach::default()).unwrap().into_inner();
        service.import(compat(name), &device).await.unwrap();
        let target = mounted(&service, name).await;
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "of REX-Ray");
        // The copy has a UUID of its own: xfs mounts no two file systems with the same one.
        let at = machine.path().join("rexray");
        run("mount", &[device.to_str().unwrap(), at.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(at.join("data/file")).unwrap(), "of REX-Ray");
        let error = service.import(compat("busy"), &device).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
        assert!(error.message().contains("in use"), "{error}");
        let error = service.import(compat("busy"), &image).await.unwrap_err();
        assert!(error.message().contains("in use"), "by its loop device: {error}");
        run("umount", &[at.to_str().unwrap()]);
        unmounted(&service, name).await;
        machine.linux.detach_image(&image).unwrap();
    }
    machine.assert_nothing_left();
}

#[tokio::test]
async fn what_holds_no_file_system_of_ours_is_refused_and_left_untouched() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for (name, bytes) in [
        ("blank", vec![0_u8; 16 << 20]),
        ("luks", [&b"LUKS\xba\xbe\x00\x02"[..], &[0; 16 << 20]].concat()),
        ("text", b"no disk at all".repeat(100_000)),
    ] {
        let image = machine.path().join(name);
        fs::write(&image, &bytes).unwrap();
        let error = service.import(compat(name), &image).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition, "{name}: {error}");
        assert!(fs::read(&image).unwrap() == bytes, "{name} was written to");
        assert!(service.find(&volume(name)).await.unwrap().is_none());
        assert!(!machine.volumes().join(name).exists());
    }
    let missing = service.import(compat("a"), &machine.path().join("none")).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
    machine.assert_nothing_left();
}

#[tokio::test]
async fn an_import_contradicts_neither_what_is_there_nor_what_is_asked() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    let image = rexrays(&machine, Fstype::Ext4);
    let asked = |parameters: Parameters| Request { asked: parameters, ..request("a") };
    let xfs = Parameters { fs_type: Some(Fstype::Xfs), ..Parameters::default() };
    let size = Parameters { size: Some(volume::Size::gib(1)), ..Parameters::default() };
    for parameters in [xfs, size] {
        let error = service.import(asked(parameters), &image).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    }
    service.create(super::of("a", Fstype::Ext4)).await.unwrap();
    let error = service.import(asked(Parameters::default()), &image).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    assert!(error.message().contains("was not imported from"), "{error}");
    let local = machine.service_of(
        machine.driver_in(&volume::drivers::local::SPEC, &machine.path().join("local")),
    );
    let error = local.import(request("b"), &image).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unimplemented, "{error}");
    // Its directory is locked as long as it is open.
    drop(local);
    machine.assert_nothing_left();
}
