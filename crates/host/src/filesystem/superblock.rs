//! Reading the superblocks of ext4, xfs and btrfs from bytes. Pure: no device is touched here, and
//! no bytes, however hostile, make it panic.

use super::{Fstype, Superblock};
use uuid::Uuid;

/// How many bytes from the start of a device are wanted: the superblocks of the three file systems
/// and the places of the signatures that contradict them, ZFS uberblocks being the last.
pub(super) const START: usize = 256 << 10;

/// Where the (first) btrfs superblock is, in bytes.
const BTRFS: usize = 64 << 10;

/// The superblocks in the first bytes of a device. More than one: what it holds is ambiguous.
pub(super) fn find(start: &[u8]) -> Vec<Superblock> {
    [ext4(start), xfs(start), btrfs(start)].into_iter().flatten().collect()
}

/// ext4's superblock (fs/ext4/ext4.h). ext2 and ext3 have no extents and are none of ours.
fn ext4(start: &[u8]) -> Option<Superblock> {
    let block = Fields(start.get(1024..2048)?);
    let (incompatible, state) = (block.le32(0x60)?, block.le16(0x3A)?);
    let extents = incompatible & 0x40 != 0;
    let journal_device = incompatible & 0x8 != 0;
    if block.le16(0x38)? != 0xEF53 || !extents || journal_device || !is_sane_ext(&block)? {
        return None;
    }
    let high = if incompatible & 0x80 != 0 { block.le32(0x150)? } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(block.le32(0x04)?);
    let has_journal = block.le32(0x5C)? & 0x4 != 0;
    Some(Superblock {
        fstype: Fstype::Ext4,
        uuid: block.uuid(0x68)?,
        bytes: blocks.checked_mul(1024 << block.le32(0x18)?)?,
        // Errors were seen, or it has no journal and was not unmounted.
        needs_check: state & 2 != 0 || (!has_journal && state & 1 == 0),
    })
}

/// Whether the journal holds what is not yet in its place; xfs does not tell in its superblock.
pub(super) fn has_journal_to_replay(start: &[u8], fstype: Fstype) -> bool {
    let field = |from: usize| start.get(from..).map(Fields);
    match fstype {
        // INCOMPAT_RECOVER
        Fstype::Ext4 => field(1024).and_then(|block| block.le32(0x60)).is_some_and(|f| f & 4 != 0),
        // log_root
        Fstype::Btrfs => field(BTRFS).and_then(|block| block.le64(96)).is_some_and(|at| at != 0),
        Fstype::Xfs => false,
    }
}

/// Two bytes of magic are soon found in any data: the geometry must fit as well.
fn is_sane_ext(block: &Fields<'_>) -> Option<bool> {
    let (log_size, first) = (block.le32(0x18)?, block.le32(0x14)?);
    let (per_group, inodes_per_group) = (block.le32(0x20)?, block.le32(0x28)?);
    let most = 8_u64.checked_mul(1024 << log_size.min(6))?;
    Some(
        log_size <= 6
            && first == u32::from(log_size == 0)
            && (1..=most).contains(&u64::from(per_group))
            && (1..=most).contains(&u64::from(inodes_per_group))
            && block.le32(0x00)? > 0
            && (block.le32(0x04)? > 0 || block.le32(0x150)? > 0),
    )
}

/// xfs's superblock (fs/xfs/libxfs/xfs_format.h); everything is big-endian.
fn xfs(start: &[u8]) -> Option<Superblock> {
    let block = Fields(start);
    let (size, log_size) = (block.be32(4)?, block.byte(120)?);
    let blocks = block.be64(8)?;
    let sane = (9..=16).contains(&log_size) && size == 1 << log_size && blocks > 0;
    // Set while mkfs or growfs is at work: killed half-way it stays.
    let in_progress = block.byte(126)? != 0;
    if block.bytes::<4>(0)? != *b"XFSB" || !sane || in_progress {
        return None;
    }
    let version5 = block.be16(100)? & 0xF == 5;
    Some(Superblock {
        fstype: Fstype::Xfs,
        uuid: block.uuid(32)?,
        bytes: blocks.checked_mul(size.into())?,
        // XFS_SB_FEAT_INCOMPAT_NEEDSREPAIR
        needs_check: version5 && block.be32(216)? & (1 << 4) != 0,
    })
}

/// btrfs's superblock (include/uapi/linux/btrfs_tree.h). One of several devices is no volume.
fn btrfs(start: &[u8]) -> Option<Superblock> {
    let block = Fields(start.get(BTRFS..)?);
    let (bytes, devices) = (block.le64(112)?, block.le64(136)?);
    let sector = block.le32(144)?;
    let sane = block.le64(48)? == BTRFS as u64 && bytes > 0 && sector.is_power_of_two();
    if block.bytes::<8>(64)? != *b"_BHRfS_M" || !sane || devices != 1 {
        return None;
    }
    Some(Superblock {
        fstype: Fstype::Btrfs,
        uuid: block.uuid(32)?,
        bytes,
        // BTRFS_SUPER_FLAG_ERROR
        needs_check: block.le64(56)? & (1 << 2) != 0,
    })
}

/// Whether something at the start of a device claims it beside a file system, so that libblkid must
/// judge: LUKS, LVM, software RAID 1.1 and 1.2, a GPT, swap, ZFS.
pub(super) fn start_contradicts(start: &[u8]) -> bool {
    let is = |at: usize, magic: &[u8]| start.get(at..at + magic.len()) == Some(magic);
    is(0, b"LUKS\xba\xbe")
        || (0..4).any(|sector| is(sector * 512, b"LABELONE"))
        || [0, 4096].iter().any(|&at| is(at, &MD_MAGIC))
        || [512, 4096].iter().any(|&at| is(at, b"EFI PART"))
        || [4086, 65526].iter().any(|&at| is(at, b"SWAPSPACE2"))
        || (128 << 10..START)
            .step_by(1024)
            .any(|at| is(at, &ZFS_UBERBLOCK.to_le_bytes()) || is(at, &ZFS_UBERBLOCK.to_be_bytes()))
}

const MD_MAGIC: [u8; 4] = 0xA92B_4EFC_u32.to_le_bytes();
const ZFS_UBERBLOCK: u64 = 0x00BA_B10C;

/// How many bytes from the end of a device [`end_contradicts`] wants.
pub(super) const END: u64 = 128 << 10;

/// Whether a software RAID keeps its superblock (0.90, 1.0) at the end of a device of `size` bytes,
/// of which `end` is the last part: its member looks like the file system on the array.
pub(super) fn end_contradicts(end: &[u8], size: u64) -> bool {
    let old = (size & !0xFFFF).checked_sub(64 << 10);
    let new = size.checked_sub(8 << 10).map(|at| at & !0xFFF);
    let first = size - (end.len() as u64).min(size);
    [old, new].into_iter().flatten().any(|at| {
        let at = at.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        at.is_some_and(|at| {
            let found = end.get(at..at + 4);
            found == Some(&MD_MAGIC) || found == Some(&0xA92B_4EFC_u32.to_be_bytes())
        })
    })
}

/// Numbers at offsets of a structure on disk; `None` past its end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
    fn byte(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }
    fn le16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_le_bytes)
    }
    fn le32(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_le_bytes)
    }
    fn le64(&self, at: usize) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }
    fn be16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_be_bytes)
    }
    fn be32(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_be_bytes)
    }
    fn be64(&self, at: usize) -> Option<u64> {
        self.bytes(at).map(u64::from_be_bytes)
    }
    fn uuid(&self, at: usize) -> Option<Uuid> {
        self.bytes(at).map(Uuid::from_bytes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: Uuid = Uuid::from_bytes(*b"0123456789abcdef");

    fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    /// The start of an ext4 of 1 GiB with 4 KiB blocks, clean, with a journal.
    pub(in super::super) fn ext4_bytes() -> Vec<u8> {
        let mut bytes = vec![0; START];
        for (at, value) in [
            (0x00, 65536_u32),
            (0x04, 262_144),
            (0x18, 2),
            (0x20, 32768),
            (0x28, 8192),
            (0x5C, 0x4),
            (0x60, 0x40 | 0x80),
        ] {
            put(&mut bytes, 1024 + at, &value.to_le_bytes());
        }
        put(&mut bytes, 1024 + 0x38, &[0x53, 0xEF, 1, 0]);
        put(&mut bytes, 1024 + 0x68, UUID.as_bytes());
        bytes
    }

    pub(in super::super) fn xfs_bytes() -> Vec<u8> {
        let mut bytes = vec![0; START];
        put(&mut bytes, 0, b"XFSB");
        put(&mut bytes, 4, &4096_u32.to_be_bytes());
        put(&mut bytes, 8, &262_144_u64.to_be_bytes());
        put(&mut bytes, 32, UUID.as_bytes());
        put(&mut bytes, 100, &0xB4A5_u16.to_be_bytes());
        bytes[120] = 12;
        bytes
    }

    fn btrfs_bytes() -> Vec<u8> {
        let mut bytes = vec![0; START];
        put(&mut bytes, BTRFS + 32, UUID.as_bytes());
        put(&mut bytes, BTRFS + 48, &(BTRFS as u64).to_le_bytes());
        put(&mut bytes, BTRFS + 64, b"_BHRfS_M");
        put(&mut bytes, BTRFS + 112, &(1_u64 << 30).to_le_bytes());
        put(&mut bytes, BTRFS + 136, &1_u64.to_le_bytes());
        put(&mut bytes, BTRFS + 144, &4096_u32.to_le_bytes());
        bytes
    }

    fn superblock(fstype: Fstype) -> Superblock {
        Superblock { fstype, uuid: UUID, bytes: 1 << 30, needs_check: false }
    }

    #[test]
    fn each_superblock_is_recognised() {
        assert_eq!(find(&ext4_bytes()), [superblock(Fstype::Ext4)]);
        assert_eq!(find(&xfs_bytes()), [superblock(Fstype::Xfs)]);
        assert_eq!(find(&btrfs_bytes()), [superblock(Fstype::Btrfs)]);
    }

    #[test]
    fn two_superblocks_are_both_found() {
        let mut bytes = ext4_bytes();
        bytes[..512].copy_from_slice(&xfs_bytes()[..512]);
        assert_eq!(find(&bytes).len(), 2);
    }

    #[test]
    fn ext3_and_a_journal_device_are_not_ext4() {
        for incompatible in [0_u32, 0x40 | 0x8] {
            let mut bytes = ext4_bytes();
            put(&mut bytes, 1024 + 0x60, &incompatible.to_le_bytes());
            assert_eq!(find(&bytes), []);
        }
    }

    #[test]
    fn the_high_half_of_the_block_count_needs_the_64bit_feature() {
        let mut bytes = ext4_bytes();
        put(&mut bytes, 1024 + 0x150, &1_u32.to_le_bytes());
        assert_eq!(find(&bytes)[0].bytes, (1 << 44) + (1 << 30));
        put(&mut bytes, 1024 + 0x60, &0x40_u32.to_le_bytes());
        assert_eq!(find(&bytes)[0].bytes, 1 << 30);
    }

    #[test]
    fn errors_on_record_ask_for_a_check() {
        let mut bytes = ext4_bytes();
        bytes[1024 + 0x3A] = 3;
        assert!(find(&bytes)[0].needs_check);
        let mut bytes = xfs_bytes();
        bytes[219] = 1 << 4;
        assert!(find(&bytes)[0].needs_check);
        let mut bytes = btrfs_bytes();
        bytes[BTRFS + 56] = 1 << 2;
        assert!(find(&bytes)[0].needs_check);
    }

    #[test]
    fn a_journal_to_replay_is_noticed() {
        let (mut ext4, mut btrfs) = (ext4_bytes(), btrfs_bytes());
        assert!(!has_journal_to_replay(&ext4, Fstype::Ext4));
        assert!(!has_journal_to_replay(&btrfs, Fstype::Btrfs));
        ext4[1024 + 0x60] |= 4;
        btrfs[BTRFS + 97] = 1;
        assert!(has_journal_to_replay(&ext4, Fstype::Ext4));
        assert!(has_journal_to_replay(&btrfs, Fstype::Btrfs));
    }

    #[test]
    fn an_unfinished_xfs_and_one_btrfs_device_of_two_are_not_recognised() {
        let mut bytes = xfs_bytes();
        bytes[126] = 1;
        assert_eq!(find(&bytes), []);
        let mut bytes = btrfs_bytes();
        bytes[BTRFS + 136] = 2;
        assert_eq!(find(&bytes), []);
    }

    #[test]
    fn other_claims_on_the_device_contradict() {
        assert!(!start_contradicts(&ext4_bytes()));
        for (at, magic) in [
            (0, &b"LUKS\xba\xbe"[..]),
            (512, b"LABELONE"),
            (4096, &MD_MAGIC),
            (512, b"EFI PART"),
            (4086, b"SWAPSPACE2"),
            (130 << 10, &[0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0]),
        ] {
            let mut bytes = ext4_bytes();
            put(&mut bytes, at, magic);
            assert!(start_contradicts(&bytes), "{at} {magic:?}");
        }
    }

    #[test]
    fn a_raid_superblock_at_the_end_contradicts() {
        let size = (1 << 30) + 5 * 512;
        for at in [(1_usize << 30) - (64 << 10), (1 << 30) - (8 << 10)] {
            let mut end = vec![0; END as usize];
            let first = size as usize - END as usize;
            assert!(!end_contradicts(&end, size));
            put(&mut end, at - first, &MD_MAGIC);
            assert!(end_contradicts(&end, size), "{at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..4096),
            at in 0_usize..70_000,
            size in any::<u64>(),
        ) {
            let mut start = ext4_bytes();
            let end = (at + bytes.len()).min(start.len());
            start[at..end].copy_from_slice(&bytes[..end - at]);
            for bytes in [&start, &bytes] {
                find(bytes);
                start_contradicts(bytes);
                end_contradicts(bytes, size);
            }
        }

        #[test]
        fn arbitrary_fields_never_panic(
            which in 0_usize..3,
            changes in prop::collection::vec((0_usize..600, any::<u8>()), 0..40),
            length in 0_usize..START,
        ) {
            let (mut bytes, base) = [(ext4_bytes(), 1024), (xfs_bytes(), 0), (btrfs_bytes(), BTRFS)]
                .into_iter().nth(which).expect("three");
            for (at, value) in changes {
                bytes[base + at] = value;
            }
            find(&bytes);
            find(&bytes[..length]);
        }
    }
}
