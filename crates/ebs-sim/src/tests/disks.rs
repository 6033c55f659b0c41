//! Real disks: devices appear and vanish, what is mounted is held, whoever is forced off can't write.

use super::client::{Client, HERE, THERE, config};
use crate::{Config, Disks, Simulator};
use host::linux::Linux;
use host::{Disks as _, Format, Fstype, MountRequest, Mounts, Ownership, What};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether disks can be made here.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    assert!(is_root || std::env::var_os("CI").is_none(), "CI must run as root");
    if !is_root {
        println!("skipped: needs root");
    }
    is_root
}

struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> Config {
        config_in(self.dir.path())
    }

    async fn start(&self) -> (Simulator, Client) {
        let sim = Simulator::start(self.config()).await.unwrap();
        let client = Client::new(&sim, HERE);
        (sim, client)
    }

    fn link(&self, volume: &str, instance: &str) -> PathBuf {
        let name = format!("nvme-Amazon_Elastic_Block_Store_{}", volume.replace('-', ""));
        self.dir.path().join("devices").join(instance).join("by-id").join(name)
    }

    /// The device of a volume, found as a driver does: by its link and its serial.
    fn device(&self, volume: &str, instance: &str) -> PathBuf {
        let serial = volume.replace('-', "");
        let found = Linux::default().wait_for(
            &[self.link(volume, instance)],
            Some(&serial),
            Duration::from_secs(20),
        );
        found.unwrap()
    }

    fn mount(&self, device: &Path, name: &str) -> PathBuf {
        let target = self.dir.path().join(name);
        let what = What::Device { device: device.to_owned(), fstype: "ext4".to_owned() };
        let request = MountRequest {
            what,
            target: target.clone(),
            options: Vec::new(),
            read_only: false,
            subpath: None,
            ownership: Ownership::default(),
            drop_empty: Vec::new(),
        };
        Linux::default().mount(&request).unwrap();
        target
    }
}

fn config_in(dir: &Path) -> Config {
    let (images, devices) = (dir.join("images"), dir.join("devices"));
    Config { disks: Some(Disks { images, devices }), ..config() }
}

fn format(device: &Path) {
    let format = Format { fstype: Fstype::Ext4, uuid: uuid::Uuid::new_v4(), options: Vec::new() };
    Linux::default().format(device, &format).unwrap();
}

fn unmount(target: &Path) {
    Linux::default().unmount(target).unwrap();
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn loops_in(dir: &Path) -> usize {
    let attached = host::loopdev::backing_files().unwrap();
    attached.iter().filter(|file| file.starts_with(dir)).count()
}

#[tokio::test]
async fn a_disk_appears_is_held_while_mounted_and_vanishes() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let (sim, client) = machine.start().await;
    let id = client.volume(&[]).await;
    client.attach(&id, HERE, "/dev/xvdba").await;
    let device = machine.device(&id, HERE);
    format(&device);
    let target = machine.mount(&device, "here");
    write(&target.join("file"), "kept").unwrap();
    let by = [("VolumeId", id.as_str())];
    client.ok("DetachVolume", &by).await;
    client.wait_for_attachment(&id, "busy").await;
    assert!(device.exists());
    unmount(&target);
    client.wait_for(&id, "available").await;
    assert!(!device.exists() && fs::symlink_metadata(machine.link(&id, HERE)).is_err());
    assert_eq!(loops_in(machine.dir.path()), 0);
    // The data goes where the volume goes.
    client.attach(&id, THERE, "/dev/xvdba").await;
    let target = machine.mount(&machine.device(&id, THERE), "there");
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "kept");
    unmount(&target);
    sim.shutdown().await.unwrap();
    assert_eq!(loops_in(machine.dir.path()), 0);
}

#[tokio::test]
async fn whoever_is_forced_off_can_write_no_more() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let (sim, client) = machine.start().await;
    let id = client.volume(&[]).await;
    client.attach(&id, THERE, "/dev/xvdba").await;
    format(&machine.device(&id, THERE));
    // Detached by force, and lost with its instance.
    for force in [true, false] {
        let old = machine.mount(&machine.device(&id, THERE), "old");
        write(&old.join("file"), "synced").unwrap();
        if force {
            client.ok("DetachVolume", &[("VolumeId", &id), ("Force", "true")]).await;
        } else {
            sim.terminate(THERE).unwrap();
        }
        client.wait_for(&id, "available").await;
        client.attach(&id, HERE, "/dev/xvdba").await;
        let new = machine.mount(&machine.device(&id, HERE), "new");
        write(&old.join("file"), "too late").unwrap_err();
        assert_eq!(fs::read_to_string(new.join("file")).unwrap(), "synced");
        write(&new.join("file"), "mine").unwrap();
        unmount(&old);
        unmount(&new);
        client.ok("DetachVolume", &[("VolumeId", &id)]).await;
        client.wait_for(&id, "available").await;
        if force {
            client.attach(&id, THERE, "/dev/xvdba").await;
        }
    }
    sim.shutdown().await.unwrap();
    assert_eq!(loops_in(machine.dir.path()), 0);
}

#[tokio::test]
async fn a_stopped_instance_loses_its_disks_until_it_starts() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let (sim, client) = machine.start().await;
    let id = client.volume(&[]).await;
    client.attach(&id, THERE, "/dev/xvdba").await;
    let device = machine.device(&id, THERE);
    sim.stop(THERE).unwrap();
    assert_eq!(client.state(&id).await, "in-use");
    assert!(!device.exists());
    sim.start_instance(THERE).unwrap();
    machine.device(&id, THERE);
    sim.shutdown().await.unwrap();
}

#[tokio::test]
async fn snapshots_and_copies_have_the_data_of_their_moment() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let (sim, client) = machine.start().await;
    let id = client.volume(&[]).await;
    client.attach(&id, HERE, "/dev/xvdba").await;
    let device = machine.device(&id, HERE);
    format(&device);
    let target = machine.mount(&device, "here");
    write(&target.join("file"), "then").unwrap();
    flush(&target);
    let by = [("VolumeId", id.as_str())];
    let snapshot = client.ok("CreateSnapshot", &by).await.get("snapshotId").to_owned();
    let copy = client.ok("CopyVolumes", &[("SourceVolumeId", &id)]).await;
    write(&target.join("file"), "now").unwrap();
    client.ok("DescribeSnapshots", &[]).await;
    let restored = client.volume(&[("SnapshotId", &snapshot), ("Size", "2")]).await;
    unmount(&target);
    for (other, device) in [(copy.get("volumeId"), "/dev/xvdbb"), (&restored, "/dev/xvdbc")] {
        client.wait_for(other, "available").await;
        client.attach(other, HERE, device).await;
        let target = machine.mount(&machine.device(other, HERE), "other");
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "then");
        unmount(&target);
    }
    let size = Linux::default().size(&machine.device(&restored, HERE)).unwrap();
    assert_eq!(size, 2 << 30);
    sim.shutdown().await.unwrap();
}

/// All of a file system on its device: what was written without a sync, too.
fn flush(target: &Path) {
    drop(Linux::default().freeze(target).unwrap());
}

#[tokio::test]
async fn a_volume_grows_while_it_is_attached() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let (sim, client) = machine.start().await;
    let id = client.volume(&[]).await;
    client.attach(&id, HERE, "/dev/xvdba").await;
    let device = machine.device(&id, HERE);
    client.ok("ModifyVolume", &[("VolumeId", &id), ("Size", "3")]).await;
    client.describe(&id).await;
    assert_eq!(Linux::default().size(&device).unwrap(), 3 << 30);
    sim.shutdown().await.unwrap();
}

#[tokio::test]
async fn everything_is_there_again_after_the_end_of_the_simulator() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let (sim, client) = machine.start().await;
    let (used, idle) = (client.volume(&[]).await, client.volume(&[]).await);
    for (volume, device) in [(&used, "/dev/xvdba"), (&idle, "/dev/xvdbb")] {
        client.attach(volume, HERE, device).await;
    }
    client.ok("CreateSnapshot", &[("VolumeId", &idle)]).await;
    let device = machine.device(&used, HERE);
    format(&device);
    let target = machine.mount(&device, "here");
    assert!(Simulator::start(machine.config()).await.is_err(), "one at a time");
    sim.shutdown().await.unwrap();
    write(&target.join("file"), "still mounted").unwrap();
    let (sim, client) = machine.start().await;
    assert_eq!(sim.volumes().len(), 2);
    assert_eq!(sim.snapshots().len(), 1);
    // What was mounted is the same device, under a node of its own again.
    machine.device(&used, HERE);
    machine.device(&idle, HERE);
    write(&target.join("file"), "and goes on").unwrap();
    assert_eq!(loops_in(machine.dir.path()), 2);
    client.ok("DetachVolume", &[("VolumeId", &used)]).await;
    client.wait_for_attachment(&used, "busy").await;
    unmount(&target);
    client.wait_for(&used, "available").await;
    sim.shutdown().await.unwrap();
    assert_eq!(loops_in(machine.dir.path()), 0);
}

#[tokio::test]
async fn no_loop_device_outlives_a_simulator_whose_images_were_removed() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let dir = machine.dir.path().to_owned();
    let (sim, client) = machine.start().await;
    let id = client.volume(&[]).await;
    client.attach(&id, HERE, "/dev/xvdba").await;
    assert_eq!(loops_in(&dir), 1);
    drop(machine);
    assert_eq!(loops_in(&dir), 1);
    drop(sim);
    assert_eq!(loops_in(&dir), 0);
    assert!(!dir.exists());
}

/// The child of the test below: a simulator with two attached volumes, until it is killed.
#[tokio::test]
async fn a_child_that_waits_to_be_killed() {
    let Some(dir) = std::env::var_os("EBS_SIM_CHILD").map(PathBuf::from) else { return };
    let sim = Simulator::start(config_in(&dir)).await.unwrap();
    let client = Client::new(&sim, HERE);
    for device in ["/dev/xvdba", "/dev/xvdbb"] {
        let volume = client.volume(&[]).await;
        client.attach(&volume, HERE, device).await;
    }
    write(&dir.join("ready"), "").unwrap();
    // Long before that it is killed; not for ever, should its parent be.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a simulator to be killed")]
async fn a_simulator_that_was_killed_goes_on_where_it_was() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let dir = machine.dir.path();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "tests::disks::a_child_that_waits_to_be_killed"]);
    let mut child = child.env("EBS_SIM_CHILD", dir).spawn().unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !dir.join("ready").exists() {
        assert!(std::time::Instant::now() < until, "the child never was ready");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What a kill in the middle of a call leaves: a node, a link and an image that nobody knows.
    let stray = dir.join("devices").join(HERE).join("nvme7n1");
    write(&stray, "").unwrap();
    let image = dir.join("images").join(format!("vol-0{}", "0".repeat(16)));
    write(&image, "").unwrap();
    let (sim, client) = machine.start().await;
    let volumes = sim.volumes();
    assert_eq!(volumes.len(), 2);
    for volume in &volumes {
        assert_eq!(volume.attachments[0].state, "attached");
        machine.device(&volume.id, HERE);
    }
    assert_eq!(loops_in(dir), 2);
    assert!(!stray.exists() && !image.exists());
    client.ok("DetachVolume", &[("VolumeId", &volumes[0].id)]).await;
    client.wait_for(&volumes[0].id, "available").await;
    drop(sim);
    assert_eq!(loops_in(dir), 0);
}
