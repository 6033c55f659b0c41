//! From what is observed to what is wanted: the steps between them, and every refusal.
//!
//! Pure: no I/O, no clock, no state. The orchestrator observes, asks here, and runs the answer.
//!
//! ```text
//! device:    blank ──Format──┐
//!            copied ─SetUuid─┤
//!            damaged ─Check──┼─▶ right UUID ──Grow (ext4)──▶ Mount ──Grow (xfs, btrfs)──▶ Record
//!            ours ───────────┘
//! directory, network: Mount
//! anything else: refused, and nothing is written
//! ```

use crate::size::Size;
use crate::volume::{Filesystem, Volume};
use error::{Error, Result};
use host::{Content, Format, Fstype, Mount, MountRequest, Superblock, What};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The state that is wanted: this volume at this place.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The volume, as its driver knows it.
    pub volume: &'a Volume,
    /// Where it shall be mounted.
    pub target: &'a Path,
}

/// What is there now.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What the driver's source turned out to be on this machine.
    pub source: Resolved,
    /// What is mounted at the target.
    pub mounted: Option<Mount>,
    /// Somebody holds the device, so that it cannot be worked on unmounted.
    pub is_held: bool,
}

/// A source, found on this machine.
#[derive(Debug, Clone)]
pub enum Resolved {
    /// A block device.
    Device {
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        size: Size,
        /// What is on it.
        content: Content,
    },
    /// A directory.
    Directory(PathBuf),
    /// A file system without a device.
    Network {
        /// The kernel's name of its type.
        fstype: String,
        /// The source in its own words.
        source: String,
        /// Options of the back end.
        options: Vec<String>,
    },
}

/// One step. Steps run in order; each may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a file system on a device that is blank.
    Format(Format),
    /// Repair what is safe to repair.
    Check(Fstype),
    /// Give a copied file system its own UUID.
    SetUuid(Fstype, Uuid),
    /// Grow the unmounted file system to its device.
    GrowUnmounted(Fstype),
    /// Take away the whole volume where only a part of it belongs.
    Unmount,
    /// Mount.
    Mount(MountRequest),
    /// Grow the mounted file system to its device.
    GrowMounted(Fstype),
    /// Tell the driver that the file system now covers the device.
    Record(Size),
}

/// The steps to `wanted`; none when it is mounted as it should be.
pub fn mount(wanted: &Wanted<'_>, observed: &Observed) -> Result<Vec<Step>> {
    if let Some(mounted) = &observed.mounted {
        if is_expected(wanted.volume, &observed.source, mounted) {
            return Ok(Vec::new());
        }
        if is_volume(wanted.volume, &observed.source, mounted) {
            let again = Observed { mounted: None, ..observed.clone() };
            let mut steps = mount(wanted, &again)?;
            steps.insert(0, Step::Unmount);
            return Ok(steps);
        }
        return Err(Error::failed_precondition(format!(
            "{} is already the mount point of something else ({} {}, root {}); unmount it first",
            wanted.target.display(),
            mounted.fstype,
            mounted.source,
            mounted.root.display()
        )));
    }
    let Resolved::Device { path, size, content } = &observed.source else {
        return Ok(vec![Step::Mount(request(wanted, &observed.source, false))]);
    };
    let filesystem = wanted.volume.filesystem.as_ref().ok_or_else(|| {
        Error::failed_precondition(format!(
            "volume {0} is a bare device that several machines may have at once, and no file system \
             of ours bears that; attach it (`mobula volume attach {0}`) and use the device",
            wanted.volume.name
        ))
    })?;
    let mut before = prepare(wanted.volume, path, filesystem, content)?;
    let fresh = before.iter().any(|step| matches!(step, Step::Format(_)));
    let offline = filesystem.fstype == Fstype::Ext4;
    // What grows while it is mounted has to be mounted for writing.
    let can_grow =
        if offline { !observed.is_held } else { !wanted.volume.parameters.is_read_only() };
    let grow = !fresh
        && can_grow
        && filesystem.covers.is_some_and(|covers| covers < *size)
        && filesystem.ensure_grows_to(*size).is_ok();
    let changed = grow
        || filesystem.covers.is_none()
        || filesystem.unrecorded
        || (filesystem.fresh && !wanted.volume.parameters.is_read_only())
        || before.iter().any(|step| matches!(step, Step::SetUuid(..)));
    if grow && offline {
        before.push(Step::GrowUnmounted(filesystem.fstype));
    }
    // Only now can there be an empty lost+found; looking for it at every mount costs a disk access.
    let tidy = filesystem.fresh || before.iter().any(|step| !matches!(step, Step::SetUuid(..)));
    before.push(Step::Mount(request(wanted, &observed.source, tidy)));
    if grow && !offline {
        before.push(Step::GrowMounted(filesystem.fstype));
    }
    if changed {
        before.push(Step::Record(*size));
    }
    Ok(before)
}

/// The volume with the file system that its device shows, if nobody has recorded one yet. A copy gets
/// a UUID of its own, since its original may be mounted beside it.
#[must_use]
pub fn adopted(volume: &Volume, source: &Resolved) -> Volume {
    let unrecorded = volume.filesystem.as_ref().filter(|filesystem| filesystem.unrecorded);
    let (Some(filesystem), Resolved::Device { size, content: Content::Filesystem(found), .. }) =
        (unrecorded, source)
    else {
        return volume.clone();
    };
    let is_copy = volume.origin.is_some() && found.uuid != filesystem.uuid;
    let filesystem = Filesystem {
        fstype: found.fstype,
        uuid: if is_copy { filesystem.uuid } else { found.uuid },
        inherited: is_copy.then_some(found.uuid),
        fresh: false,
        covers: Some(Size(found.bytes).min(*size)),
        unrecorded: true,
    };
    Volume { filesystem: Some(filesystem), ..volume.clone() }
}

/// What makes the device hold the volume's file system. Every refusal to touch data is here.
fn prepare(
    volume: &Volume,
    device: &Path,
    filesystem: &Filesystem,
    content: &Content,
) -> Result<Vec<Step>> {
    let Filesystem { fstype, uuid, inherited, covers, .. } = filesystem;
    let refuse = |what: String| {
        Err(Error::failed_precondition(format!(
            "volume {}: device {} {what}",
            volume.name,
            device.display()
        )))
    };
    match content {
        Content::Blank if covers.is_some() => refuse(format!(
            "is blank, but held a {fstype} file system (UUID {uuid}) before; its data is gone or \
             this is another device, so it is not formatted again; restore the device, or remove \
             the volume"
        )),
        Content::Blank => Ok(vec![Step::Format(Format {
            fstype: *fstype,
            uuid: *uuid,
            options: volume.parameters.mkfs_options.clone().unwrap_or_default(),
        })]),
        Content::Foreign(what) if covers.is_some() => refuse(format!(
            "holds {what}, no longer this volume's {fstype} file system; it is left untouched. \
             Restore the device from a backup, or remove the volume"
        )),
        Content::Foreign(what) => refuse(format!(
            "holds {what}, not this volume's {fstype} file system; it is left untouched. If the \
             data is not needed, overwrite the device with zeros by hand and try again"
        )),
        Content::Filesystem(found) if found.fstype != *fstype => refuse(format!(
            "holds a {} file system, but the volume is recorded as {fstype}; it is left untouched. \
             Create the volume with fsType={} to use what is there",
            found.fstype, found.fstype
        )),
        Content::Filesystem(found) if found.uuid == *uuid => Ok(check(found)),
        Content::Filesystem(found) if Some(found.uuid) == *inherited => {
            let mut steps = check(found);
            steps.push(Step::SetUuid(*fstype, *uuid));
            Ok(steps)
        }
        Content::Filesystem(found) => refuse(format!(
            "holds another {fstype} file system (UUID {}, expected {uuid}); it is left untouched",
            found.uuid
        )),
    }
}

fn check(found: &Superblock) -> Vec<Step> {
    if found.needs_check { vec![Step::Check(found.fstype)] } else { Vec::new() }
}

/// Whether `mounted` shows what a path handed to a container must show: the volume, and of it the
/// part that users see.
#[must_use]
pub fn is_expected(volume: &Volume, source: &Resolved, mounted: &Mount) -> bool {
    let sub_path = volume.parameters.sub_path.as_deref();
    let shows_part = match (source, sub_path) {
        (Resolved::Directory(_), _) | (_, None) => true,
        (_, Some(sub_path)) => mounted.root.ends_with(sub_path),
    };
    shows_part && is_volume(volume, source, mounted)
}

/// Whether `mounted` is of the volume, whatever part of it it shows: a sub-directory is mounted by
/// way of the whole, which a crash may have left.
#[must_use]
pub fn is_volume(volume: &Volume, source: &Resolved, mounted: &Mount) -> bool {
    match source {
        Resolved::Device { path, .. } => {
            let fstype = volume.filesystem.as_ref().map(|filesystem| filesystem.fstype.name());
            fstype == Some(mounted.fstype.as_str()) && Path::new(&mounted.source) == path
        }
        // The root of a bind mount is told relative to the file system that the directory is on.
        Resolved::Directory(path) => {
            let path = match &volume.parameters.sub_path {
                Some(sub_path) => path.join(sub_path),
                None => path.clone(),
            };
            let root = mounted.root.strip_prefix("/").unwrap_or(&mounted.root);
            path == mounted.root || (path.ends_with(root) && root.components().count() > 1)
        }
        Resolved::Network { fstype, source, .. } => {
            *fstype == mounted.fstype && *source == mounted.source
        }
    }
}

fn request(wanted: &Wanted<'_>, source: &Resolved, tidy: bool) -> MountRequest {
    let parameters = &wanted.volume.parameters;
    let (what, mut options) = match source {
        Resolved::Device { path, .. } => {
            let fstype = wanted.volume.filesystem.as_ref().map(|fs| fs.fstype.to_string());
            (What::Device { device: path.clone(), fstype: fstype.unwrap_or_default() }, Vec::new())
        }
        Resolved::Directory(path) => (What::Directory(path.clone()), Vec::new()),
        Resolved::Network { fstype, source, options } => {
            (What::Network { fstype: fstype.clone(), source: source.clone() }, options.clone())
        }
    };
    options.extend(parameters.mount_options.clone().unwrap_or_default());
    let is_ext4 = matches!(&what, What::Device { fstype, .. } if fstype == "ext4");
    if is_ext4 && !options.iter().any(|option| option.starts_with("errors=")) {
        // ext4 would go on writing to a failing device (tune2fs -e continue is its default).
        options.push("errors=remount-ro".to_owned());
    }
    MountRequest {
        what,
        target: wanted.target.to_owned(),
        options,
        read_only: parameters.read_only.unwrap_or(false),
        subpath: parameters.sub_path.as_ref().map(PathBuf::from),
        ownership: parameters.ownership(),
        // A volume that holds nothing else must look empty: databases refuse it otherwise, and
        // Docker does not copy an image's files to it. e2fsck makes it again when it needs it.
        drop_empty: if is_ext4 && tidy { vec!["lost+found".to_owned()] } else { Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{VolumeId, VolumeName};
    use crate::volume::Parameters;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const UUID: Uuid = Uuid::from_u128(1);
    const COPIED: Uuid = Uuid::from_u128(2);
    const OTHER: Uuid = Uuid::from_u128(3);

    fn volume(fstype: Fstype, covers: Option<Size>, inherited: Option<Uuid>) -> Volume {
        Volume {
            id: VolumeId::new("a"),
            name: VolumeName::parse("a").unwrap(),
            size: Some(Size::mib(64)),
            created: Timestamp::UNIX_EPOCH,
            filesystem: Some(Filesystem {
                fstype,
                uuid: UUID,
                inherited,
                fresh: false,
                covers,
                unrecorded: false,
            }),
            parameters: Parameters::default(),
            labels: BTreeMap::new(),
            origin: None,
            details: BTreeMap::new(),
            attached: Vec::new(),
            fault: None,
        }
    }

    fn holding(fstype: Fstype, uuid: Uuid, needs_check: bool) -> Content {
        Content::Filesystem(Superblock { fstype, uuid, bytes: 64 << 20, needs_check })
    }

    fn device(content: Content, size: Size) -> Observed {
        let source = Resolved::Device { path: "/dev/x".into(), size, content };
        Observed { source, mounted: None, is_held: false }
    }

    fn plan(volume: &Volume, observed: &Observed) -> Result<Vec<Step>> {
        mount(&Wanted { volume, target: Path::new("/m/a") }, observed)
    }

    fn names(steps: &[Step]) -> Vec<&'static str> {
        let name = |step: &Step| match step {
            Step::Format(_) => "format",
            Step::Check(_) => "check",
            Step::SetUuid(..) => "uuid",
            Step::GrowUnmounted(_) => "grow unmounted",
            Step::Unmount => "unmount",
            Step::Mount(_) => "mount",
            Step::GrowMounted(_) => "grow mounted",
            Step::Record(_) => "record",
        };
        steps.iter().map(name).collect()
    }

    #[test]
    fn a_formatted_device_is_just_mounted() {
        let volume = volume(Fstype::Ext4, Some(Size::mib(64)), None);
        let steps = plan(&volume, &device(holding(Fstype::Ext4, UUID, false), Size::mib(64)));
        assert_eq!(names(&steps.unwrap()), ["mount"]);
    }

    #[test]
    fn a_new_blank_device_is_formatted_once() {
        let volume = volume(Fstype::Xfs, None, None);
        let steps = plan(&volume, &device(Content::Blank, Size::mib(64))).unwrap();
        assert_eq!(names(&steps), ["format", "mount", "record"]);
        assert!(matches!(&steps[0], Step::Format(format) if format.uuid == UUID));
    }

    #[test]
    fn a_device_that_was_formatted_and_is_blank_now_is_refused() {
        let volume = volume(Fstype::Ext4, Some(Size::mib(64)), None);
        let error = plan(&volume, &device(Content::Blank, Size::mib(64))).expect_err("refused");
        assert!(error.message().contains("not formatted again"), "{error}");
    }

    #[test]
    fn a_device_with_anything_foreign_is_never_touched() {
        for covers in [None, Some(Size::mib(64))] {
            let volume = volume(Fstype::Ext4, covers, Some(COPIED));
            for content in [
                Content::Foreign("crypto_LUKS".to_owned()),
                holding(Fstype::Xfs, UUID, false),
                holding(Fstype::Ext4, OTHER, false),
            ] {
                let refused = plan(&volume, &device(content, Size::mib(64))).expect_err("refused");
                assert_eq!(refused.kind(), error::Kind::FailedPrecondition);
                assert!(refused.message().contains("left untouched"), "{refused}");
            }
        }
    }

    #[test]
    fn a_copied_file_system_gets_its_own_uuid_before_the_mount() {
        let volume = volume(Fstype::Xfs, Some(Size::mib(64)), Some(COPIED));
        let steps = plan(&volume, &device(holding(Fstype::Xfs, COPIED, false), Size::mib(64)));
        assert_eq!(names(&steps.unwrap()), ["uuid", "mount", "record"]);
    }

    #[test]
    fn a_copied_file_system_that_has_its_own_uuid_is_just_mounted() {
        let volume = volume(Fstype::Xfs, Some(Size::mib(64)), Some(COPIED));
        let steps = plan(&volume, &device(holding(Fstype::Xfs, UUID, false), Size::mib(64)));
        assert_eq!(names(&steps.unwrap()), ["mount"]);
    }

    #[test]
    fn what_another_program_made_becomes_the_volumes_and_is_recorded() {
        let mut volume = volume(Fstype::Ext4, None, None);
        volume.filesystem.as_mut().unwrap().unrecorded = true;
        let observed = device(holding(Fstype::Xfs, OTHER, false), Size::mib(64));
        let found = adopted(&volume, &observed.source);
        let filesystem = found.filesystem.clone().unwrap();
        assert_eq!((filesystem.fstype, filesystem.uuid), (Fstype::Xfs, OTHER));
        assert_eq!(names(&plan(&found, &observed).unwrap()), ["mount", "record"]);
        // A copy of it would be its twin.
        volume.origin = Some(crate::volume::Origin::Volume(VolumeName::parse("b").unwrap()));
        let found = adopted(&volume, &observed.source);
        assert_eq!(found.filesystem.clone().unwrap().uuid, UUID);
        assert_eq!(names(&plan(&found, &observed).unwrap()), ["uuid", "mount", "record"]);
    }

    #[test]
    fn what_nobody_recorded_is_formatted_only_if_it_is_blank() {
        let mut volume = volume(Fstype::Ext4, None, None);
        volume.filesystem.as_mut().unwrap().unrecorded = true;
        let planned = |content| {
            let observed = device(content, Size::mib(64));
            plan(&adopted(&volume, &observed.source), &observed)
        };
        assert_eq!(names(&planned(Content::Blank).unwrap()), ["format", "mount", "record"]);
        assert!(planned(Content::Foreign("crypto_LUKS".to_owned())).is_err());
    }

    #[test]
    fn lost_and_found_is_removed_when_it_may_be_there_and_not_looked_for_otherwise() {
        let tidies = |volume: &Volume, needs_check| {
            let observed = device(holding(Fstype::Ext4, UUID, needs_check), Size::mib(64));
            let steps = plan(volume, &observed).unwrap();
            let recorded = steps.iter().any(|step| matches!(step, Step::Record(_)));
            let mut requests = steps.into_iter().filter_map(|step| match step {
                Step::Mount(request) => Some(request),
                _ => None,
            });
            (!requests.next().unwrap().drop_empty.is_empty(), recorded)
        };
        let mut volume = volume(Fstype::Ext4, Some(Size::mib(64)), None);
        assert_eq!(tidies(&volume, false), (false, false));
        assert_eq!(tidies(&volume, true), (true, false), "e2fsck may have made it");
        volume.filesystem.as_mut().unwrap().fresh = true;
        assert_eq!(tidies(&volume, false), (true, true), "and it is fresh no more");
    }

    #[test]
    fn a_damaged_file_system_is_checked_first() {
        let volume = volume(Fstype::Ext4, Some(Size::mib(64)), None);
        let steps = plan(&volume, &device(holding(Fstype::Ext4, UUID, true), Size::mib(64)));
        assert_eq!(names(&steps.unwrap()), ["check", "mount"]);
    }

    #[test]
    fn an_expansion_that_was_interrupted_is_completed_by_the_next_mount() {
        for (fstype, expected) in [
            (Fstype::Ext4, ["grow unmounted", "mount", "record"]),
            (Fstype::Xfs, ["mount", "grow mounted", "record"]),
            (Fstype::Btrfs, ["mount", "grow mounted", "record"]),
        ] {
            let volume = volume(fstype, Some(Size::mib(64)), None);
            let steps = plan(&volume, &device(holding(fstype, UUID, false), Size::mib(256)));
            assert_eq!(names(&steps.unwrap()), expected);
        }
    }

    #[test]
    fn what_can_not_grow_now_is_mounted_all_the_same() {
        for (fstype, read_only, size, expected) in [
            (Fstype::Ext4, true, 128, vec!["grow unmounted", "mount", "record"]),
            (Fstype::Xfs, true, 512, vec!["mount"]),
            (Fstype::Btrfs, true, 512, vec!["mount"]),
            (Fstype::Btrfs, false, 255, vec!["mount"]),
            (Fstype::Btrfs, false, 256, vec!["mount", "grow mounted", "record"]),
        ] {
            let mut volume = volume(fstype, Some(Size::mib(64)), None);
            volume.parameters.read_only = Some(read_only);
            let steps = plan(&volume, &device(holding(fstype, UUID, false), Size::mib(size)));
            assert_eq!(names(&steps.unwrap()), expected, "{fstype} {size}");
        }
    }

    fn mounted(fstype: &str, source: &str, root: &str) -> Mount {
        Mount {
            id: 1,
            parent: 0,
            device: "7:1".to_owned(),
            root: root.into(),
            target: "/m/a".into(),
            fstype: fstype.to_owned(),
            source: source.to_owned(),
            options: "rw".to_owned(),
            super_options: "rw".to_owned(),
            shared: None,
            master: None,
            unbindable: false,
        }
    }

    #[test]
    fn a_volume_that_is_mounted_as_it_should_be_needs_nothing() {
        let volume = volume(Fstype::Ext4, Some(Size::mib(64)), None);
        let mut observed = device(holding(Fstype::Ext4, UUID, false), Size::mib(64));
        observed.mounted = Some(mounted("ext4", "/dev/x", "/"));
        assert_eq!(plan(&volume, &observed).unwrap(), []);
    }

    #[test]
    fn the_whole_volume_that_a_crash_left_is_replaced_by_the_part_that_users_see() {
        let mut volume = volume(Fstype::Ext4, Some(Size::mib(64)), None);
        volume.parameters.sub_path = Some("data".to_owned());
        let mut observed = device(holding(Fstype::Ext4, UUID, false), Size::mib(64));
        observed.mounted = Some(mounted("ext4", "/dev/x", "/"));
        assert_eq!(names(&plan(&volume, &observed).unwrap()), ["unmount", "mount"]);
        observed.mounted = Some(mounted("ext4", "/dev/x", "/data"));
        assert_eq!(plan(&volume, &observed).unwrap(), []);
    }

    #[test]
    fn a_file_system_that_somebody_holds_is_mounted_without_growing() {
        let volume = volume(Fstype::Ext4, Some(Size::mib(64)), None);
        let mut observed = device(holding(Fstype::Ext4, UUID, false), Size::mib(256));
        observed.is_held = true;
        assert_eq!(names(&plan(&volume, &observed).unwrap()), ["mount"]);
    }

    #[test]
    fn another_device_at_the_target_is_refused() {
        let volume = volume(Fstype::Ext4, Some(Size::mib(64)), None);
        let mut observed = device(holding(Fstype::Ext4, UUID, false), Size::mib(64));
        observed.mounted = Some(mounted("ext4", "/dev/y", "/"));
        assert!(plan(&volume, &observed).is_err());
    }

    #[test]
    fn a_bind_mount_is_recognised_by_the_directory_it_shows() {
        let source = Resolved::Directory("/var/lib/mobula/volumes/s/a/data".into());
        let volume = volume(Fstype::Ext4, None, None);
        let shows = |root| is_expected(&volume, &source, &mounted("ext4", "/dev/vda", root));
        assert!(shows("/var/lib/mobula/volumes/s/a/data"));
        assert!(shows("/lib/mobula/volumes/s/a/data"));
        assert!(!shows("/"));
        assert!(!shows("/data"));
        assert!(!shows("/var/lib/mobula/volumes/s/b/data"));
    }

    proptest! {
        /// Whatever is on the device: mkfs only where it is blank and never was formatted, and what
        /// is mounted has the volume's own type and UUID by then.
        #[test]
        fn no_plan_formats_or_mounts_what_is_not_this_volume(
            kind in 0..3usize, found in 0..3usize, uuid in 1u128..4, copied in any::<bool>(),
            covers in proptest::option::of(1u64..3), size in 1u64..3, content in 0..3,
        ) {
            let fstype = Fstype::ALL[kind];
            let volume = volume(fstype, covers.map(Size::gib), copied.then_some(COPIED));
            let content = match content {
                0 => Content::Blank,
                1 => Content::Foreign("swap".to_owned()),
                _ => holding(Fstype::ALL[found], Uuid::from_u128(uuid), false),
            };
            let observed = device(content.clone(), Size::gib(size));
            if let Ok(steps) = plan(&volume, &observed) {
                let names = names(&steps);
                if names.contains(&"format") {
                    prop_assert!(content == Content::Blank && covers.is_none());
                } else {
                    let Content::Filesystem(found) = content else {
                        return Err(TestCaseError::fail("mounts what is no file system"));
                    };
                    prop_assert_eq!(found.fstype, fstype);
                    prop_assert!(found.uuid == UUID || names.contains(&"uuid"));
                }
                prop_assert!(names.contains(&"mount"));
            }
        }
    }
}
