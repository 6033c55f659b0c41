//! Never format what has data (and never call unreadable what is blank).

use super::*;
use error::Kind;
use std::hash::Hasher;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The pages of a file that are not zero, and where they are.
fn pages(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let file = File::open(path).unwrap();
    let (mut pages, mut at) = (Vec::new(), 0);
    while let Ok(data) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data)).unwrap();
        for page in (data & !4095..hole).step_by(4096) {
            let mut bytes = vec![0; 4096];
            let count = file.read_at(&mut bytes, page).unwrap();
            if bytes[..count] != [0; 4096][..count] {
                pages.push((page, bytes));
            }
        }
        at = hole;
    }
    pages
}

/// The hash of what is on a device.
fn hash(path: &Path) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for (at, page) in pages(path) {
        hasher.write_u64(at);
        hasher.write(&page);
    }
    hasher.finish()
}

/// The device must be refused, as an image and through a loop device, and stay as it is.
fn must_be_refused(path: &Path, what: &str) {
    let before = hash(path);
    let machine = linux();
    for attached in [false, true] {
        let device = if attached { attach(&machine, path) } else { path.to_owned() };
        let content = machine.probe(&device).unwrap();
        assert_ne!(content, Content::Blank, "{what}");
        for fstype in Fstype::ALL {
            let error = machine.format(&device, &format(fstype)).unwrap_err();
            assert_eq!(error.kind(), Kind::FailedPrecondition, "{what}: {error}");
            assert!(error.message().contains("refusing to format"), "{what}: {error}");
            assert!(error.message().contains(&content.to_string()), "{what}: {error}");
        }
        if !matches!(content, Content::Filesystem(_)) {
            assert!(content.to_string().contains(what), "{what}: {content}");
        }
    }
    machine.detach_image(path).unwrap();
    assert_eq!(hash(path), before, "{what} was changed");
}

fn refused_after(what: &'static str, size: u64, make: impl FnOnce(&Path) + Send + 'static) {
    isolated(move |dir| {
        let path = image(dir, "image", size);
        make(&path);
        must_be_refused(&path, what);
    });
}

fn write(path: &Path, at: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

fn zero(path: &Path, at: u64, length: usize) {
    write(path, at, &vec![0; length]);
}

#[test]
fn ext2_is_refused() {
    refused_after("ext2", 16 * MIB, |path| run("mkfs.ext2", &["-q", "-F"], &[path]));
}

#[test]
fn ext3_is_refused() {
    refused_after("ext3", 16 * MIB, |path| run("mkfs.ext3", &["-q", "-F"], &[path]));
}

#[test]
fn ext4_is_refused() {
    refused_after("ext4", 16 * MIB, |path| run("mkfs.ext4", &["-q", "-F"], &[path]));
}

#[test]
fn xfs_is_refused() {
    refused_after("xfs", 300 * MIB, |path| run("mkfs.xfs", &["-q"], &[path]));
}

#[test]
fn btrfs_is_refused() {
    refused_after("btrfs", 128 * MIB, |path| run("mkfs.btrfs", &["-q"], &[path]));
}

#[test]
fn one_btrfs_device_of_two_is_refused() {
    isolated(|dir| {
        let paths = [image(dir, "a", 128 * MIB), image(dir, "b", 128 * MIB)];
        run("mkfs.btrfs", &["-q"], &[&paths[0], &paths[1]]);
        for path in &paths {
            must_be_refused(path, "of several devices");
        }
    });
}

#[test]
fn luks_is_refused() {
    refused_after("crypto_LUKS", 32 * MIB, |path| {
        let key = path.with_extension("key");
        fs::write(&key, "secret").unwrap();
        let fast = ["luksFormat", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        run("cryptsetup", &fast, &[path, &key]);
    });
}

#[test]
fn an_lvm_physical_volume_is_refused() {
    refused_after("LVM2_member", 64 * MIB, |path| {
        let machine = linux();
        run("pvcreate", &["-q"], &[&attach(&machine, path)]);
        machine.detach_image(path).unwrap();
    });
}

#[test]
fn an_lvm_label_alone_is_refused() {
    refused_after("data at offset 512", 64 * MIB, |path| {
        write(path, 512, b"LABELONE\x01\0\0\0\0\0\0\0crc!\x20\0\0\0LVM2 001");
    });
}

#[test]
fn zfs_is_refused() {
    refused_after("zfs_member", 128 * MIB, |path| {
        for label in [0, 256 << 10, 128 * MIB - (512 << 10), 128 * MIB - (256 << 10)] {
            for block in 0..128 {
                let at = label + (128 << 10) + block * 1024;
                write(path, at, &0x00ba_b10c_u64.to_le_bytes());
            }
        }
    });
}

#[test]
fn a_single_zfs_uberblock_at_the_end_is_refused() {
    let at = 128 * MIB - (300 << 10);
    refused_after("data at offset", 128 * MIB, move |path| {
        write(path, at, &0x00ba_b10c_u64.to_le_bytes());
    });
}

#[test]
fn swap_is_refused() {
    refused_after("swap", 16 * MIB, |path| run("mkswap", &[], &[path]));
}

#[test]
fn each_raid_superblock_is_refused() {
    for at in [64 * MIB - (64 << 10), 64 * MIB - (8 << 10), 0, 4096] {
        refused_after("", 64 * MIB, move |path| {
            let mut superblock = [0; 256];
            superblock[..4].copy_from_slice(&0xA92B_4EFC_u32.to_le_bytes());
            superblock[4] = 1;
            superblock[144..152].copy_from_slice(&(at / 512).to_le_bytes());
            write(path, at, &superblock);
        });
    }
}

#[test]
fn a_raid_member_that_looks_like_ext4_is_not_taken_for_one() {
    isolated(|dir| {
        let path = formatted(dir, "image", Fstype::Ext4, 64 * MIB);
        assert_eq!(superblock(&path).uuid, uuid());
        let mut superblock = vec![0; 4096];
        superblock[..4].copy_from_slice(&0xA92B_4EFC_u32.to_le_bytes());
        superblock[4..8].copy_from_slice(&0_u32.to_le_bytes());
        superblock[8..12].copy_from_slice(&90_u32.to_le_bytes());
        write(&path, 64 * MIB - (64 << 10), &superblock);
        must_be_refused(&path, "linux_raid_member");
    });
}

#[test]
fn ntfs_is_refused() {
    refused_after("ntfs", 16 * MIB, |path| run("mkntfs", &["-F", "-Q", "-q"], &[path]));
}

#[test]
fn vfat_is_refused() {
    refused_after("vfat", 16 * MIB, |path| run("mkfs.vfat", &[], &[path]));
}

#[test]
fn a_dos_partition_table_is_refused() {
    refused_after("dos partition table", 16 * MIB, |path| {
        let entry = [0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x40, 0, 0];
        write(path, 446, &entry);
        write(path, 510, &[0x55, 0xAA]);
    });
}

/// The checksum of GPT (CRC-32 as in zlib).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn write_gpt(path: &Path, last: u64, backup: bool) {
    let mut entries = vec![0; 128 * 128];
    entries[..16].copy_from_slice(b"a partition type");
    entries[16..32].copy_from_slice(uuid().as_bytes());
    entries[32..40].copy_from_slice(&2048_u64.to_le_bytes());
    entries[40..48].copy_from_slice(&4095_u64.to_le_bytes());
    let (own, other, table) = if backup { (last, 1, last - 32) } else { (1, last, 2) };
    let mut header = vec![0; 92];
    header[..16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
    for (at, value) in [(24, own), (32, other), (40, 34), (48, last - 33), (72, table)] {
        header[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    for (at, value) in [(80, 128), (84, 128), (88, crc32(&entries))] {
        header[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    let sum = crc32(&header);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    write(path, own * 512, &header);
    write(path, table * 512, &entries);
}

#[test]
fn a_gpt_is_refused() {
    refused_after("gpt partition table", 16 * MIB, |path| {
        let protective = [0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0xFF, 0x7F, 0, 0];
        write(path, 446, &protective);
        write(path, 510, &[0x55, 0xAA]);
        write_gpt(path, 16 * MIB / 512 - 1, false);
        write_gpt(path, 16 * MIB / 512 - 1, true);
    });
}

#[test]
fn a_backup_gpt_alone_is_refused() {
    refused_after("", 16 * MIB, |path| write_gpt(path, 16 * MIB / 512 - 1, true));
}

#[test]
fn an_ext4_whose_start_was_zeroed_is_refused() {
    for (block, size) in [("1024", 64), ("2048", 128), ("4096", 300)] {
        refused_after("data at offset", size * MIB, move |path| {
            run("mkfs.ext4", &["-q", "-F", "-b", block], &[path]);
            zero(path, 0, 2 << 20);
        });
    }
}

#[test]
fn a_zeroed_primary_superblock_is_refused() {
    refused_after("", 64 * MIB, |path| {
        run("mkfs.ext4", &["-q", "-F"], &[path]);
        zero(path, 1024, 1024);
    });
}

#[test]
fn a_btrfs_whose_start_was_zeroed_is_refused() {
    refused_after("", 128 * MIB, |path| {
        run("mkfs.btrfs", &["-q"], &[path]);
        zero(path, 0, 2 << 20);
    });
}

#[test]
fn an_xfs_whose_start_was_zeroed_is_refused() {
    refused_after("data at offset", 300 * MIB, |path| {
        run("mkfs.xfs", &["-q"], &[path]);
        zero(path, 0, 2 << 20);
    });
}

#[test]
fn xfs_over_ext4_is_ambiguous() {
    refused_after("ext4 and xfs", 300 * MIB, |path| {
        run("mkfs.xfs", &["-q"], &[path]);
        let ext4 = image(path.parent().unwrap(), "ext4", 300 * MIB);
        run("mkfs.ext4", &["-q", "-F"], &[&ext4]);
        write(path, 1024, &fs::read(&ext4).unwrap()[1024..2048]);
    });
}

#[test]
fn a_single_byte_in_the_first_mebibyte_is_refused() {
    refused_after("data at offset 1048575", 16 * MIB, |path| write(path, MIB - 1, b"x"));
}

#[test]
fn an_unreadable_device_is_an_error_and_not_blank() {
    isolated(|dir| {
        let path = image(dir, "image", 64 * MIB);
        let machine = linux();
        let device = attach(&machine, &path);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        let error = machine.probe(&device).unwrap_err();
        assert!(error.message().contains("not considered blank"), "{error}");
        let error = machine.format(&device, &format(Fstype::Ext4)).unwrap_err();
        assert!(error.chain().contains("os error 5"), "{error}");
    });
}

#[test]
fn an_all_zero_device_is_blank_and_formatted() {
    isolated(|dir| {
        for fstype in Fstype::ALL {
            let path = dir.join(fstype.name());
            fs::write(&path, vec![0; 320 << 20]).unwrap();
            let machine = linux();
            let device = attach(&machine, &path);
            assert_eq!(machine.probe(&device).unwrap(), Content::Blank);
            machine.format(&device, &format(fstype)).unwrap();
            let found = superblock(&path);
            assert_eq!((found.fstype, found.uuid, found.needs_check), (fstype, uuid(), false));
            assert!(found.bytes <= 320 * MIB && found.bytes > 300 * MIB, "{found:?}");
            machine.detach_image(&path).unwrap();
            fs::remove_file(&path).unwrap();
        }
    });
}

/// Whatever mkfs had written when it was killed: only a device that is all zero counts as blank.
#[test]
fn what_a_killed_mkfs_leaves_is_blank_only_when_all_zero() {
    isolated(|dir| {
        for (program, args) in [
            ("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0"][..]),
            ("mkfs.xfs", &["-q"]),
            ("mkfs.btrfs", &["-q"]),
        ] {
            for delay in [0, 1, 2, 3, 5, 8, 12, 20, 30] {
                let path = image(dir, "image", 300 * MIB);
                let mut command = Command::new(program);
                command.args(args).arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
                let mut child = command.spawn().unwrap();
                std::thread::sleep(Duration::from_millis(delay));
                child.kill().unwrap();
                child.wait().unwrap();
                let is_zero = pages(&path).is_empty();
                let content = linux().probe(&path).unwrap();
                assert_eq!(content == Content::Blank, is_zero, "{program} {delay} ms: {content}");
            }
        }
    });
}

#[test]
fn an_unfinished_mkfs_is_refused() {
    refused_after("xfs that is damaged", 300 * MIB, |path| {
        run("mkfs.xfs", &["-q"], &[path]);
        write(path, 126, &[1]);
    });
    refused_after("data at offset", 128 * MIB, |path| {
        run("mkfs.btrfs", &["-q"], &[path]);
        for copy in [64 << 10, 64 * MIB] {
            write(path, copy + 64, b"!BHRfS_M");
        }
    });
}

#[test]
fn a_mounted_device_is_not_formatted() {
    isolated(|dir| {
        let path = formatted(dir, "image", Fstype::Ext4, 16 * MIB);
        let machine = linux();
        let device = attach(&machine, &path);
        mount(&machine, &device, Fstype::Ext4, &dir.join("m"));
        for device in [&device, &path] {
            let error = machine.format(device, &format(Fstype::Ext4)).unwrap_err();
            assert_eq!(error.kind(), Kind::FailedPrecondition);
            assert!(error.message().contains("mounted"), "{error}");
        }
        machine.unmount(&dir.join("m")).unwrap();
    });
}

#[test]
fn writes_that_reached_only_the_loop_device_are_seen_through_the_image() {
    isolated(|dir| {
        let path = image(dir, "image", 16 * MIB);
        let machine = linux();
        let device = attach(&machine, &path);
        // Open for as long as the probe: closing it would write it to the image.
        let file = File::options().write(true).open(&device).unwrap();
        file.write_all_at(b"not flushed", 8192).unwrap();
        let what = machine.probe(&path).unwrap().to_string();
        assert_eq!(what, "data at offset 8192 without a known signature");
        drop(file);
    });
}
