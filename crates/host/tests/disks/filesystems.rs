//! mkfs, check, UUIDs of clones and growing, with real file systems.

use super::*;
use error::Kind;
use host::file::{self, Copy};

/// A size that each file system can have, in bytes.
const SIZE: u64 = 320 * MIB;

#[test]
fn each_file_system_can_be_made_at_its_minimum_size_and_not_below() {
    isolated(|dir| {
        for fstype in Fstype::ALL {
            let path = formatted(dir, fstype.name(), fstype, fstype.minimum_size());
            let machine = linux();
            mount(&machine, &attach(&machine, &path), fstype, &dir.join("m"));
            fs::write(dir.join("m/file"), "x").unwrap();
            machine.unmount(&dir.join("m")).unwrap();
            let small = image(dir, "small", fstype.minimum_size() - MIB);
            let error = machine.format(&small, &format(fstype)).unwrap_err();
            assert_eq!(error.kind(), Kind::OutOfRange);
        }
    });
}

#[test]
fn a_failed_mkfs_tells_its_last_words() {
    isolated(|dir| {
        let path = image(dir, "image", SIZE);
        let options = vec!["-b".to_owned(), "nonsense".to_owned()];
        let wanted = Format { fstype: Fstype::Ext4, uuid: uuid(), options };
        let error = linux().format(&path, &wanted).unwrap_err();
        assert!(error.chain().contains("invalid block size"), "{error}");
    });
}

#[test]
fn the_options_of_the_user_are_used() {
    isolated(|dir| {
        let path = image(dir, "image", SIZE);
        let options = vec!["-m".to_owned(), "reflink=0".to_owned()];
        linux().format(&path, &Format { fstype: Fstype::Xfs, uuid: uuid(), options }).unwrap();
        assert_eq!(superblock(&path).uuid, uuid());
    });
}

#[test]
fn a_new_file_system_takes_little_space() {
    isolated(|dir| {
        for (fstype, most) in [(Fstype::Ext4, 8), (Fstype::Xfs, 80), (Fstype::Btrfs, 8)] {
            let path = formatted(dir, fstype.name(), fstype, 10 << 30);
            let taken = file::allocated(&path).unwrap();
            assert!(taken < most * MIB, "{fstype} takes {taken} bytes");
        }
    });
}

/// How the source of a clone was left.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Left {
    Frozen,
    /// Cloned while in use, as after a power cut: the journal holds what was written last.
    Torn,
}

/// A mounted source, and a clone of its image, taken while it was mounted and left so.
fn clone_of_mounted(dir: &Path, machine: &Linux, fstype: Fstype, left: Left) -> PathBuf {
    let (source, target) = (formatted(dir, "source", fstype, SIZE), dir.join("source.mnt"));
    mount(machine, &attach(machine, &source), fstype, &target);
    let frozen = if left == Left::Frozen {
        fs::write(target.join("data"), "content").unwrap();
        Some(machine.freeze(&target).unwrap())
    } else {
        fs::create_dir(target.join("dir")).unwrap();
        fs::write(target.join("data"), "content").unwrap();
        File::open(target.join("data")).unwrap().sync_all().unwrap();
        // The copy takes a while; nothing may be written meanwhile for it to be one moment's.
        std::thread::sleep(std::time::Duration::from_millis(200));
        None
    };
    let clone = dir.join("clone");
    file::copy_image(&source, &clone).unwrap();
    drop(frozen);
    clone
}

fn clone_gets_its_own_uuid(fstype: Fstype, left: Left) {
    isolated(move |dir| {
        let machine = linux();
        let clone = clone_of_mounted(dir, &machine, fstype, left);
        assert!(machine.set_uuid(&clone, fstype, other()).unwrap().is_done());
        assert!(!machine.set_uuid(&clone, fstype, other()).unwrap().is_done());
        assert_eq!(superblock(&clone).uuid, other());
        assert_eq!(machine.find_image(&clone).unwrap(), None);
        machine.check(&clone, fstype).unwrap();
        mount(&machine, &attach(&machine, &clone), fstype, &dir.join("clone.mnt"));
        assert_eq!(fs::read_to_string(dir.join("clone.mnt/data")).unwrap(), "content");
        fs::write(dir.join("source.mnt/more"), "x").unwrap();
        assert!(!dir.join("clone.mnt/more").exists());
        machine.unmount(&dir.join("clone.mnt")).unwrap();
        machine.unmount(&dir.join("source.mnt")).unwrap();
        assert_eq!(superblock(&dir.join("source")).uuid, uuid());
        // A second time, clean.
        machine.set_uuid(&clone, fstype, Uuid::new_v4()).unwrap();
        machine.check(&clone, fstype).unwrap();
    });
}

#[test]
fn a_clone_of_a_frozen_ext4_mounts_beside_its_source() {
    clone_gets_its_own_uuid(Fstype::Ext4, Left::Frozen);
}

#[test]
fn a_clone_of_a_frozen_xfs_mounts_beside_its_source() {
    clone_gets_its_own_uuid(Fstype::Xfs, Left::Frozen);
}

#[test]
fn a_clone_of_a_frozen_btrfs_mounts_beside_its_source() {
    clone_gets_its_own_uuid(Fstype::Btrfs, Left::Frozen);
}

#[test]
fn a_torn_clone_of_ext4_is_replayed_before_it_gets_its_uuid() {
    clone_gets_its_own_uuid(Fstype::Ext4, Left::Torn);
}

#[test]
fn a_torn_clone_of_xfs_is_replayed_before_it_gets_its_uuid() {
    clone_gets_its_own_uuid(Fstype::Xfs, Left::Torn);
}

#[test]
fn a_torn_clone_of_btrfs_keeps_what_was_synced() {
    clone_gets_its_own_uuid(Fstype::Btrfs, Left::Torn);
}

#[test]
fn an_ext4_without_checksum_seed_gets_a_new_uuid_too() {
    isolated(|dir| {
        let path = image(dir, "image", SIZE);
        run("mkfs.ext4", &["-q", "-F", "-O", "^metadata_csum_seed"], &[&path]);
        let machine = linux();
        mount(&machine, &attach(&machine, &path), Fstype::Ext4, &dir.join("m"));
        fs::write(dir.join("m/data"), "x").unwrap();
        machine.unmount(&dir.join("m")).unwrap();
        machine.detach_image(&path).unwrap();
        assert!(machine.set_uuid(&path, Fstype::Ext4, other()).unwrap().is_done());
        machine.check(&path, Fstype::Ext4).unwrap();
    });
}

#[test]
fn a_mounted_file_system_keeps_its_uuid_and_is_not_checked() {
    isolated(|dir| {
        for fstype in Fstype::ALL {
            let path = formatted(dir, fstype.name(), fstype, SIZE);
            let machine = linux();
            mount(&machine, &attach(&machine, &path), fstype, &dir.join("m"));
            let error = machine.set_uuid(&path, fstype, other()).unwrap_err();
            assert_eq!(error.kind(), Kind::FailedPrecondition);
            let error = machine.check(&path, fstype).unwrap_err();
            assert_eq!(error.kind(), Kind::FailedPrecondition);
            machine.unmount(&dir.join("m")).unwrap();
            assert_eq!(superblock(&path).uuid, uuid());
        }
    });
}

#[test]
fn the_wrong_type_is_refused() {
    isolated(|dir| {
        let path = formatted(dir, "image", Fstype::Ext4, SIZE);
        let error = linux().set_uuid(&path, Fstype::Xfs, other()).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("holds ext4 instead of xfs"), "{error}");
        assert_eq!(attached_in(dir), [] as [String; 0]);
    });
}

fn grow_mounted(fstype: Fstype) {
    isolated(move |dir| {
        let (path, target) = (formatted(dir, "image", fstype, SIZE), dir.join("m"));
        let machine = linux();
        let device = attach(&machine, &path);
        mount(&machine, &device, fstype, &target);
        let before = machine.usage(&target).unwrap().total;
        machine.resize_image(&path, 2 * SIZE).unwrap();
        assert_eq!(machine.size(&device).unwrap(), 2 * SIZE);
        if machine.can_grow(fstype, true) {
            machine.grow(&device, fstype, Some(&target)).unwrap();
            assert!(machine.usage(&target).unwrap().total > before + SIZE / 2);
            machine.grow(&device, fstype, Some(&target)).unwrap();
        } else {
            println!("skipped: growing a mounted {fstype} needs CAP_SYS_RESOURCE");
            let error = machine.grow(&device, fstype, Some(&target)).unwrap_err();
            assert_eq!(error.kind(), Kind::FailedPrecondition);
            assert!(error.message().contains("CAP_SYS_RESOURCE"), "{error}");
        }
        machine.unmount(&target).unwrap();
        machine.check(&path, fstype).unwrap();
    });
}

#[test]
fn a_mounted_ext4_grows_where_that_is_permitted() {
    grow_mounted(Fstype::Ext4);
}

#[test]
fn a_mounted_xfs_grows() {
    grow_mounted(Fstype::Xfs);
}

#[test]
fn a_mounted_btrfs_grows() {
    grow_mounted(Fstype::Btrfs);
}

#[test]
fn an_unmounted_ext4_grows_as_image_and_as_device() {
    isolated(|dir| {
        let path = formatted(dir, "image", Fstype::Ext4, SIZE);
        let machine = linux();
        machine.resize_image(&path, 2 * SIZE).unwrap();
        machine.grow(&path, Fstype::Ext4, None).unwrap();
        assert_eq!(superblock(&path).bytes, 2 * SIZE);
        let device = attach(&machine, &path);
        machine.resize_image(&path, 3 * SIZE).unwrap();
        machine.grow(&device, Fstype::Ext4, None).unwrap();
        assert_eq!(superblock(&path).bytes, 3 * SIZE);
        assert_eq!(superblock(&path).uuid, uuid());
        machine.grow(&device, Fstype::Ext4, None).unwrap();
    });
}

#[test]
fn errors_on_record_are_repaired_by_a_check() {
    isolated(|dir| {
        let path = formatted(dir, "image", Fstype::Ext4, SIZE);
        run("debugfs", &["-w", "-R", "set_super_value state 2"], &[&path]);
        assert!(superblock(&path).needs_check);
        linux().check(&path, Fstype::Ext4).unwrap();
        assert!(!superblock(&path).needs_check);
    });
}

#[test]
fn damage_that_needs_a_decision_is_reported_with_the_way_out() {
    isolated(|dir| {
        let path = formatted(dir, "image", Fstype::Ext4, SIZE);
        run("debugfs", &["-w", "-R", "clri <2>"], &[&path]);
        run("debugfs", &["-w", "-R", "set_super_value state 2"], &[&path]);
        let error = linux().check(&path, Fstype::Ext4).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("run e2fsck -f /dev/loop"), "{error}");
    });
}

#[test]
fn damage_in_xfs_and_btrfs_is_found() {
    isolated(|dir| {
        use std::os::unix::fs::FileExt;
        let path = formatted(dir, "xfs", Fstype::Xfs, SIZE);
        // The free space tree of the second allocation group.
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0xA5; 512], SIZE / 4 + 4096).unwrap();
        let error = linux().check(&path, Fstype::Xfs).unwrap_err();
        assert!(error.message().contains("xfs"), "{error}");
        let path = formatted(dir, "btrfs", Fstype::Btrfs, SIZE);
        let file = File::options().write(true).open(&path).unwrap();
        for at in (MIB..SIZE).step_by(4096).filter(|at| *at != 64 * MIB) {
            file.write_all_at(&[0xA5; 64], at).unwrap();
        }
        let error = linux().check(&path, Fstype::Btrfs).unwrap_err();
        assert!(error.message().contains("btrfs check --repair"), "{error}");
        assert_eq!(attached_in(dir), [] as [String; 0]);
    });
}

#[test]
fn an_image_on_xfs_is_copied_by_reflink_and_one_on_ext4_sparsely() {
    isolated(|dir| {
        for (fstype, how) in [(Fstype::Ext4, Copy::Sparse), (Fstype::Xfs, Copy::Reflink)] {
            let (path, target) = (formatted(dir, fstype.name(), fstype, SIZE), dir.join("m"));
            let machine = linux();
            mount(&machine, &attach(&machine, &path), fstype, &target);
            let from = image(&target, "from", 1 << 30);
            let wanted = Format { uuid: other(), ..format(Fstype::Btrfs) };
            machine.format(&from, &wanted).unwrap();
            assert_eq!(file::copy_image(&from, &target.join("to")).unwrap(), how);
            assert_eq!(superblock(&target.join("to")), superblock(&from));
            assert!(file::allocated(&target.join("to")).unwrap() < 16 * MIB);
            let (from, to) = (fs::read(&from).unwrap(), fs::read(target.join("to")).unwrap());
            assert!(from == to);
            machine.unmount(&target).unwrap();
        }
    });
}
