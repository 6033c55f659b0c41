//! Options of mkfs and of mounts, judged before there is a device: as the real thing judges them.

use super::*;
use error::Kind;

const SIZE: u64 = 320 * MIB;

/// Usual options of each file system, good and bad.
const OPTIONS: [(Fstype, &[&str]); 3] = [
    (
        Fstype::Ext4,
        &[
            "noatime",
            "relatime",
            "nodiratime",
            "nosuid",
            "nodev",
            "noexec",
            "ro",
            "rw",
            "defaults",
            "sync",
            "dirsync",
            "lazytime",
            "nolazytime",
            "strictatime",
            "nosymfollow",
            "mand",
            "discard",
            "nodiscard",
            "data=ordered",
            "data=writeback",
            "data=journal",
            "commit=30",
            "barrier=0",
            "barrier=1",
            "barrier",
            "nobarrier",
            "errors=remount-ro",
            "errors=continue",
            "acl",
            "user_xattr",
            "usrquota",
            "grpquota",
            "prjquota",
            "quota",
            "noquota",
            "delalloc",
            "nodelalloc",
            "auto_da_alloc",
            "noauto_da_alloc",
            "init_itable=10",
            "noinit_itable",
            "journal_checksum",
            "stripe=16",
            "max_batch_time=1000",
            "inode_readahead_blks=16",
            "dioread_nolock",
            "bsddf",
            "minixdf",
            "resuid=1000",
            "nouid32",
            "block_validity",
            "commit",
            "commit=often",
            "data=bogus",
            "errors=ignore",
            "discard=async",
            "nouuid",
            "logbsize=256k",
            "compress=zstd:3",
            "ssd",
            "uid=1000",
            "iversion",
            "nofail",
            "_netdev",
            "auto",
            "user",
            "loop",
            "silent",
            "x-systemd.automount",
            "nosuchoption",
            "noatime=1",
            "NOATIME",
            "acl ",
            "resuid=-1",
            "stripe=x",
        ],
    ),
    (
        Fstype::Xfs,
        &[
            "noatime",
            "nodiratime",
            "nosuid",
            "ro",
            "rw",
            "sync",
            "lazytime",
            "discard",
            "nodiscard",
            "nouuid",
            "logbsize=256k",
            "logbsize=32k",
            "logbufs=8",
            "inode64",
            "inode32",
            "largeio",
            "nolargeio",
            "swalloc",
            "allocsize=64k",
            "allocsize=1m",
            "wsync",
            "noquota",
            "ikeep",
            "noikeep",
            "attr2",
            "filestreams",
            "nobarrier",
            "barrier",
            "data=ordered",
            "commit=30",
            "errors=remount-ro",
            "allocsize=many",
            "allocsize",
            "logbufs=x",
            "compress=zstd",
            "ssd",
            "nosuchoption",
            "nofail",
            "user_xattr",
            "acl",
        ],
    ),
    (
        Fstype::Btrfs,
        &[
            "noatime",
            "nodiratime",
            "nosuid",
            "ro",
            "rw",
            "compress",
            "compress=zstd:3",
            "compress=zstd:15",
            "compress=lzo",
            "compress=no",
            "compress-force=zstd",
            "compress=lz9",
            "ssd",
            "nossd",
            "ssd_spread",
            "discard",
            "discard=async",
            "discard=sync",
            "nodiscard",
            "autodefrag",
            "noautodefrag",
            "space_cache=v2",
            "space_cache=v9",
            "commit=30",
            "commit=often",
            "nodatacow",
            "nodatasum",
            "datacow",
            "nobarrier",
            "barrier",
            "flushoncommit",
            "thread_pool=4",
            "thread_pool=x",
            "max_inline=2048",
            "metadata_ratio=4",
            "skip_balance",
            "user_subvol_rm_allowed",
            "notreelog",
            "acl",
            "noacl",
            "subvol=/",
            "subvolid=5",
            "subvolid=x",
            "degraded",
            "usrquota",
            "errors=remount-ro",
            "data=ordered",
            "nouuid",
            "nosuchoption",
            "inode_cache",
            "fatal_errors=maybe",
        ],
    ),
];

/// What only a real mount can refuse, since it depends on the content of the device, on how the kernel
/// was built, or on other options.
const LATER: [(Fstype, &[&str]); 3] = [
    (Fstype::Ext4, &["prjquota", "dax=always", "usrjquota=quota.user"]),
    (Fstype::Xfs, &["usrquota", "norecovery", "logbsize=3", "dax=always"]),
    (Fstype::Btrfs, &["subvol=nosuch", "rescue=all"]),
];

#[test]
fn mount_options_are_accepted_or_refused_exactly_as_a_mount_does() {
    isolated(|dir| {
        for (fstype, options) in OPTIONS {
            let machine = linux();
            let device = attach(&machine, &formatted(dir, fstype.name(), fstype, SIZE));
            for option in options {
                let told = machine.check_options(Some(fstype.name()), &[(*option).to_owned()]);
                let mounted = try_mount(&machine, &device, fstype, option, &dir.join("m"));
                let is_later =
                    LATER.iter().any(|(of, later)| *of == fstype && later.contains(option));
                assert_eq!(
                    told.is_ok(),
                    mounted.is_ok() || is_later,
                    "{fstype} {option}: {told:?} {mounted:?}"
                );
                if let Err(error) = told {
                    assert_eq!(error.kind(), Kind::InvalidArgument);
                    assert!(error.message().contains(option), "{error}");
                    assert_eq!(mounted.unwrap_err().kind(), Kind::InvalidArgument);
                }
            }
            let told = machine.check_options(Some(fstype.name()), &["nosuchoption".to_owned()]);
            assert!(told.unwrap_err().message().contains("leave it out"));
        }
    });
}

#[test]
fn what_only_a_mount_can_judge_is_not_refused_before() {
    isolated(|_| {
        for (fstype, options) in LATER {
            for option in options {
                linux().check_options(Some(fstype.name()), &[(*option).to_owned()]).unwrap();
            }
        }
    });
}

#[test]
fn a_directory_takes_options_of_the_mount_only() {
    isolated(|dir| {
        for (option, is_taken) in [("noexec", true), ("ro", true), ("discard", false)] {
            let options = vec![option.to_owned()];
            let told = linux().check_options(None, &options);
            assert_eq!(told.is_ok(), is_taken, "{option}: {told:?}");
            let (source, target) = (dir.join("source"), dir.join("target"));
            fs::create_dir_all(&source).unwrap();
            let request = request(What::Directory(source), &target, options);
            let mounted = linux().mount(&request).and_then(|_| linux().unmount(&target));
            assert_eq!(mounted.is_ok(), is_taken, "{option}: {mounted:?}");
        }
    });
}

#[test]
fn where_the_kernel_has_no_such_file_system_nothing_is_refused() {
    isolated(|_| linux().check_options(Some("nosuchfs"), &["nosuchoption".to_owned()]).unwrap());
}

#[test]
fn mkfs_options_are_accepted_or_refused_exactly_as_by_mkfs() {
    isolated(|dir| {
        for (fstype, text) in [
            (Fstype::Ext4, "-m 1"),
            (Fstype::Ext4, "-i 65536 -I 512"),
            (Fstype::Ext4, "-T largefile4 -L data"),
            (Fstype::Ext4, "-O ^has_journal,large_file"),
            (Fstype::Ext4, "-E stride=16,stripe_width=64"),
            (Fstype::Ext4, "-J size=16"),
            (Fstype::Ext4, "-m 200"),
            (Fstype::Ext4, "-O nosuchfeature"),
            (Fstype::Ext4, "-E nosuch=1"),
            (Fstype::Ext4, "-J size=1"),
            (Fstype::Ext4, "-b 65536"),
            (Fstype::Ext4, "-F"),
            (Fstype::Xfs, "-m reflink=0"),
            (Fstype::Xfs, "-i size=1024 -n size=8192 -s size=4096"),
            (Fstype::Xfs, "-d su=64k,sw=4 -L data"),
            (Fstype::Xfs, "-m reflink=2"),
            (Fstype::Xfs, "-l size=1m"),
            (Fstype::Xfs, "-L much-too-long-a-label"),
            (Fstype::Xfs, "-d name=other"),
        ] {
            let options: Vec<_> = text.split(' ').map(str::to_owned).collect();
            let format = Format { options, ..format(fstype) };
            let told = linux().rehearse(&format, SIZE);
            let made = linux().format(&image(dir, "image", SIZE), &format);
            assert_eq!(told.is_ok(), made.is_ok(), "{fstype} {text}: {told:?} {made:?}");
            if let Err(error) = told {
                assert_eq!(error.kind(), Kind::InvalidArgument);
                assert!(!error.message().contains("Usage"), "{error}");
            }
        }
    });
}

#[test]
fn mkfs_is_rehearsed_for_the_largest_disks_and_not_blamed_for_too_small_ones() {
    isolated(|_| {
        for fstype in Fstype::ALL {
            let fine = match fstype {
                Fstype::Ext4 => ["-m", "1"],
                Fstype::Xfs => ["-m", "reflink=0"],
                Fstype::Btrfs => ["-n", "16k"],
            };
            let format = Format { options: fine.map(str::to_owned).to_vec(), ..format(fstype) };
            for size in [MIB, 64 << 40] {
                linux().rehearse(&format, size).unwrap();
            }
        }
        let options = vec!["-m".to_owned(), "many".to_owned()];
        let error = linux().rehearse(&Format { options, ..format(Fstype::Ext4) }, 64 << 40);
        let error = error.unwrap_err();
        assert!(
            error.message().contains("\"-m many\"") && error.message().contains("percent"),
            "{error}"
        );
    });
}

fn request(what: What, target: &Path, options: Vec<String>) -> MountRequest {
    MountRequest {
        what,
        target: target.to_owned(),
        options,
        read_only: false,
        subpath: None,
        ownership: Ownership::default(),
        drop_empty: Vec::new(),
    }
}

fn try_mount(
    machine: &Linux,
    device: &Path,
    fstype: Fstype,
    option: &str,
    target: &Path,
) -> error::Result<()> {
    let what = What::Device { device: device.to_owned(), fstype: fstype.name().to_owned() };
    let request = request(what, target, vec![option.to_owned()]);
    unless_busy(|| machine.mount(&request))?;
    unless_busy(|| machine.unmount(target)).map(drop)
}
