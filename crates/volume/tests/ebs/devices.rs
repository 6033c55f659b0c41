//! Disks on the machine: late, missing, someone else's, taken away, and grown halfway.

use crate::lab::{FAST, HERE, Lab, THERE, act, create, detach, named, refused};
use ebs_sim::Delays;
use error::Kind;
use host::linux::Linux;
use host::{Disks, Fstype, Mounts};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use testkit::root::is_root;
use testkit::service::{Service, sized, standing};
use volume::{Driver, Orchestrator, Parameters, Size, Source, Volume};

/// A machine of the lab with a service on it; nothing is left mounted when it goes.
pub(crate) struct Machine {
    pub(crate) linux: Arc<Linux>,
    pub(crate) service: Arc<Orchestrator>,
    pub(crate) driver: Arc<dyn Driver>,
    root: PathBuf,
}

impl Machine {
    pub(crate) fn new(lab: &Lab, instance: &str) -> Self {
        Self::with(lab, instance, &FAST)
    }

    pub(crate) fn with(lab: &Lab, instance: &str, options: &[(&str, &str)]) -> Self {
        Self::configured(lab, instance, options, Parameters::default())
    }

    /// A machine whose configuration says this about volumes.
    pub(crate) fn configured(
        lab: &Lab,
        instance: &str,
        options: &[(&str, &str)],
        defaults: Parameters,
    ) -> Self {
        let root = lab.dir.path().join(format!("agent-{instance}"));
        fs::create_dir_all(&root).unwrap();
        let (linux, driver) = (Arc::<Linux>::default(), lab.on_with(instance, options));
        let service = Service::new(&root, driver.clone(), linux.clone());
        let opening = volume::orchestrator::Opening { defaults, ..service.opening() };
        Self { linux, service: Orchestrator::open(opening).unwrap(), driver, root }
    }

    pub(crate) async fn create(&self, name: &str) -> Volume {
        let request = sized(name, Size::gib(1));
        self.service.create(request).await.unwrap().into_inner()
    }

    pub(crate) async fn mount(&self, name: &str) -> error::Result<PathBuf> {
        self.service.mount(&named(name), standing("1")).await
    }

    pub(crate) async fn unmount(&self, name: &str) {
        assert!(self.service.unmount(&named(name), "1").await.unwrap().is_done());
    }

    fn is_mounted(&self, target: &Path) -> bool {
        self.linux.at(target).unwrap().is_some()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for mount in self.linux.table().unwrap().iter().rev() {
            if mount.target.starts_with(&self.root) {
                let _ = std::process::Command::new("umount").arg("-l").arg(&mount.target).status();
            }
        }
    }
}

pub(crate) fn write(target: &Path, text: &str) {
    let file = target.join("file");
    fs::write(&file, text).unwrap();
    fs::File::open(&file).unwrap().sync_all().unwrap();
}

pub(crate) fn read(target: &Path) -> String {
    fs::read_to_string(target.join("file")).unwrap()
}

/// The image behind a volume, for doing to it what happens to disks.
pub(crate) fn image(lab: &Lab, id: &str) -> PathBuf {
    lab.dir.path().join("images").join(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn data_follows_a_volume_from_machine_to_machine() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let (here, there) = (Machine::new(&lab, HERE), Machine::new(&lab, THERE));
    here.create("pg").await;
    for round in 0..3 {
        for machine in [&here, &there] {
            let target = machine.mount("pg").await.unwrap();
            if round > 0 || std::ptr::eq(machine, &there) {
                assert_eq!(read(&target), "from machine to machine");
            }
            write(&target, "from machine to machine");
            let other = if std::ptr::eq(machine, &here) { &there } else { &here };
            refused(other.mount("pg").await, Kind::FailedPrecondition, "attached to");
            machine.unmount("pg").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_with_another_file_system_than_recorded_is_not_mounted() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let machine = Machine::new(&lab, HERE);
    let volume = machine.create("pg").await;
    let target = machine.mount("pg").await.unwrap();
    write(&target, "kept");
    machine.unmount("pg").await;
    let disk = image(&lab, volume.id.as_str());
    let kept = lab.dir.path().join("kept");
    fs::rename(&disk, &kept).unwrap();
    for (fstype, words) in [("xfs", "recorded as ext4"), ("ext4", "another ext4 file system")] {
        fs::File::create(&disk).unwrap().set_len(1 << 30).unwrap();
        let force = if fstype == "xfs" { "-f" } else { "-F" };
        let made = std::process::Command::new(format!("mkfs.{fstype}"))
            .args(["-q", force])
            .arg(&disk)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        refused(machine.mount("pg").await, Kind::FailedPrecondition, words);
        assert!(lab.holders(&volume.id).is_empty(), "it is detached again");
    }
    // Blank, where there was data: that is no reason to format it.
    fs::File::create(&disk).unwrap().set_len(1 << 30).unwrap();
    refused(machine.mount("pg").await, Kind::FailedPrecondition, "not formatted again");
    fs::rename(&kept, &disk).unwrap();
    assert_eq!(read(&machine.mount("pg").await.unwrap()), "kept");
    machine.unmount("pg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_appears_late_is_waited_for() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let machine = Machine::new(&lab, HERE);
    machine.create("pg").await;
    lab.sim.set_delays(Delays { attach: 400, ..Delays::default() });
    machine.mount("pg").await.unwrap();
    machine.unmount("pg").await;
    // Attached, and the link comes later: as if udev were slow.
    let found = machine.driver.find(&named("pg")).await.unwrap().unwrap();
    let source = crate::lab::attach(&machine.driver, &found.id, HERE).await.unwrap().into_inner();
    let Source::Device { candidates, serial } = source else { panic!("{source:?}") };
    let to = fs::read_link(&candidates[0]).unwrap();
    fs::remove_file(&candidates[0]).unwrap();
    let link = candidates[0].clone();
    let appears = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        symlink(to, link).unwrap();
    });
    machine.linux.wait_for(&candidates, serial.as_deref(), Duration::from_secs(10)).unwrap();
    appears.join().unwrap();
    machine.mount("pg").await.unwrap();
    machine.unmount("pg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_elsewhere_leads_to_no_device() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let driver = lab.fast(HERE);
    let (volume, other) = (create(&driver, "pg").await, create(&driver, "other").await);
    let mut links = Vec::new();
    for id in [&volume.id, &other.id] {
        let source = crate::lab::attach(&driver, id, HERE).await.unwrap().into_inner();
        let Source::Device { candidates, serial } = source else { panic!("{source:?}") };
        links.push((candidates, serial));
    }
    let ((candidates, serial), link) = (&links[0], &links[0].0[0]);
    let (right, others) = (fs::read_link(link).unwrap(), fs::read_link(&links[1].0[0]).unwrap());
    let plain = lab.dir.path().join("plain");
    fs::write(&plain, "no disk").unwrap();
    let linux = Linux::default();
    let wrong = [
        (PathBuf::from("/nonexistent"), "not there"),
        (plain, "not a block device"),
        (PathBuf::from("/dev/null"), "not a block device"),
        (lab.dir.path().to_owned(), "not a block device"),
        (others, "has serial vol"),
        (link.clone(), "symbolic links"),
    ];
    for (to, words) in wrong {
        fs::remove_file(link).unwrap();
        symlink(&to, link).unwrap();
        let looked = linux.wait_for(candidates, serial.as_deref(), Duration::from_millis(100));
        let error = refused(looked, Kind::DeadlineExceeded, "attached to this machine");
        assert!(error.message().contains(words), "{words}: {error}");
        // What is not the volume's does not hold its detachment up either.
    }
    fs::remove_file(link).unwrap();
    symlink(&right, link).unwrap();
    linux.wait_for(candidates, serial.as_deref(), Duration::from_secs(5)).unwrap();
    detach(&driver, &volume.id, HERE).await.unwrap();
    detach(&driver, &other.id, HERE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_taken_away_while_it_is_mounted_is_told_and_can_be_unmounted() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let machine = Machine::new(&lab, HERE);
    let volume = machine.create("pg").await;
    let target = machine.mount("pg").await.unwrap();
    write(&target, "synced");
    // Still mounted: not detached, whoever asks.
    refused(detach(&machine.driver, &volume.id, HERE).await, Kind::FailedPrecondition, "unmount");
    act(&lab.fast(THERE), "take", "pg", &[("force", "true")]).await.unwrap();
    assert!(fs::write(target.join("more"), "lost").is_err(), "writes fail and do not hang");
    machine.service.sweep().await;
    let view = machine.service.get(&named("pg")).await.unwrap();
    assert!(view.fault.is_some(), "{view:?}");
    let other = Machine::new(&lab, THERE);
    assert_eq!(read(&other.mount("pg").await.unwrap()), "synced");
    // The mount that is cut off goes, and does not touch what the other machine has.
    machine.unmount("pg").await;
    assert!(!machine.is_mounted(&target));
    assert_eq!(lab.holders(&volume.id), [THERE]);
    other.unmount("pg").await;
    assert_eq!(read(&machine.mount("pg").await.unwrap()), "synced");
    machine.unmount("pg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expansion_killed_between_disk_and_file_system_is_finished_by_the_next_mount() {
    if !is_root() {
        return;
    }
    for fstype in [Fstype::Ext4, Fstype::Xfs] {
        let lab = Lab::new().await;
        let machine = Machine::new(&lab, HERE);
        let mut request = sized("pg", Size::gib(1));
        request.asked.fs_type = Some(fstype);
        let volume = machine.service.create(request).await.unwrap().into_inner();
        let target = machine.mount("pg").await.unwrap();
        write(&target, "kept");
        machine.unmount("pg").await;
        // The disk has grown; then the agent was killed.
        machine.driver.expand(&volume.id, Size::gib(3)).await.unwrap();
        for _ in 0..2 {
            let target = machine.mount("pg").await.unwrap();
            let total = machine.linux.usage(&target).unwrap().total;
            assert!(total > (2 << 30), "{fstype}: {total}");
            assert_eq!(read(&target), "kept");
            machine.unmount("pg").await;
        }
        let found = machine.driver.get(&volume.id).await.unwrap();
        assert_eq!(found.filesystem.unwrap().covers, Some(Size::gib(3)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_lost_ends_the_writes_of_its_machine() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let lease = [("lease", "2"), FAST[0]];
    let (here, there) = (Machine::with(&lab, HERE, &lease), Machine::with(&lab, THERE, &lease));
    here.create("pg").await;
    let target = here.mount("pg").await.unwrap();
    write(&target, "synced");
    lab.sim.partition(HERE, true);
    let taking = there.mount("pg");
    let fencing = async {
        for _ in 0..400 {
            if fs::write(target.join("more"), "x").is_err() {
                return;
            }
            here.service.keep_up().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("a machine that has lost its volume goes on writing");
    };
    let (taken, ()) = tokio::join!(taking, fencing);
    assert_eq!(read(&taken.unwrap()), "synced");
    lab.sim.heal(HERE);
    here.unmount("pg").await;
    there.unmount("pg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_volume_has_the_data_of_its_original_after_a_kill_and_further_writes() {
    if !is_root() {
        return;
    }
    let lab = Lab::new().await;
    let (here, far) = (Machine::new(&lab, HERE), Machine::new(&lab, crate::lab::FAR));
    let mut request = sized("pg", Size::gib(1));
    request.asked.driver.insert("relocate".to_owned(), "snapshot".to_owned());
    here.service.create(request).await.unwrap();
    write(&here.mount("pg").await.unwrap(), "first");
    here.unmount("pg").await;
    let fault = ebs_sim::Fault::new(ebs_sim::Effect::Deny).on("CreateVolume").times(1);
    lab.sim.inject(fault);
    far.mount("pg").await.expect_err("interrupted");
    write(&here.mount("pg").await.unwrap(), "second");
    here.unmount("pg").await;
    assert_eq!(read(&far.mount("pg").await.unwrap()), "second");
    refused(here.mount("pg").await, Kind::FailedPrecondition, crate::lab::FAR);
    far.unmount("pg").await;
    assert_eq!(read(&here.mount("pg").await.unwrap()), "second", "and back");
    here.unmount("pg").await;
}
