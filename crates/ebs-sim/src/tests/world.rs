//! The state machine alone, with time as a number and a machine that does as it is told.

use crate::config::{Config, Delays, InstanceConfig};
use crate::hardware::{Hardware, NoHardware, Plug, Unplugged};
use crate::world::attachment::Detach;
use crate::world::instance::Change;
use crate::world::kinds::Shape;
use crate::world::tags::Tags;
use crate::world::volume::NewVolume;
use crate::world::{Step, World};
use error::{Error, Result};
use std::path::PathBuf;

const REGION: &str = "us-east-1";

/// A machine whose plugs may be broken, and whose disks may be in use.
#[derive(Default)]
struct Machine {
    broken: bool,
    held: bool,
    plugged: usize,
}

impl Hardware for Machine {
    fn create(&mut self, id: &str, gib: u64, from: Option<&str>) -> Result<()> {
        NoHardware.create(id, gib, from)
    }

    fn copy(&mut self, from: &str, to: &str) -> Result<()> {
        NoHardware.copy(from, to)
    }

    fn remove(&mut self, id: &str) -> Result<()> {
        NoHardware.remove(id)
    }

    fn grow(&mut self, id: &str, gib: u64, plugs: &[Plug]) -> Result<()> {
        NoHardware.grow(id, gib, plugs)
    }

    fn plug(&mut self, _id: &str, _instance: &str) -> Result<Plug> {
        if self.broken {
            return Err(Error::internal("no device"));
        }
        self.plugged += 1;
        Ok(Plug { node: PathBuf::from("/node"), device: PathBuf::from("/device") })
    }

    fn unplug(&mut self, _: &str, _: &str, _: &Plug, force: bool) -> Result<Unplugged> {
        if self.held && !force {
            return Ok(Unplugged::Held);
        }
        self.plugged -= 1;
        Ok(Unplugged::Gone)
    }

    fn let_go(&mut self, id: &str, instance: &str, plug: &Plug) -> Result<()> {
        NoHardware.let_go(id, instance, plug)
    }
}

struct Account {
    world: World,
    machine: Machine,
    volume: String,
    now: u64,
}

impl Account {
    /// A volume that is being attached to `i-1`, where each state lasts 10.
    fn new() -> Self {
        let instances = vec![InstanceConfig::new("i-1")];
        let config = Config { instances, ..Config::default() };
        let mut world = World::default();
        world.add_instances(&config, 0);
        let mut account =
            Self { world, machine: Machine::default(), volume: String::new(), now: 0 };
        account.volume = account.create();
        account.pass(10);
        let volume = account.volume.clone();
        let (world, step) = account.step();
        world.attach(&volume, "i-1", "/dev/sdf", false, &step).unwrap();
        account
    }

    fn step(&mut self) -> (&mut World, Step<'_>) {
        let delays =
            Delays { create: 10, attach: 10, detach: 10, terminate: 10, ..Delays::default() };
        (&mut self.world, Step { now: self.now, delays, hardware: &mut self.machine })
    }

    fn create(&mut self) -> String {
        let new = NewVolume {
            region: REGION.to_owned(),
            zone: "us-east-1a".to_owned(),
            shape: Shape::check("gp3", 1, None, None).unwrap(),
            tags: Tags::new(),
            encrypted: false,
            kms_key: None,
            snapshot: None,
            source: None,
            outpost: None,
            multi_attach: false,
            token: None,
            doomed: false,
        };
        let (world, mut step) = self.step();
        world.create_volume(new, &mut step).unwrap().id.clone()
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        let (world, mut step) = self.step();
        world.advance(&mut step);
    }

    fn detach(&mut self, force: bool) {
        let (instance, device) = (None, None);
        let detach = Detach { volume: self.volume.clone(), instance, device, force, stuck: false };
        let (world, step) = self.step();
        world.detach(&detach, REGION, &step).unwrap();
    }

    /// The state of the attachment; of the volume when there is none.
    fn state(&self) -> &'static str {
        let volume = self.world.volume(&self.volume, REGION).unwrap();
        volume.attachments.first().map_or(volume.state(), |one| one.state.name())
    }
}

#[test]
fn a_disk_is_there_as_soon_as_it_is_attached_and_not_before() {
    let mut account = Account::new();
    account.pass(9);
    assert_eq!((account.state(), account.machine.plugged), ("attaching", 0));
    account.pass(1);
    assert_eq!((account.state(), account.machine.plugged), ("attached", 1));
}

#[test]
fn a_disk_that_cannot_appear_is_not_attached_and_tried_again() {
    let mut account = Account::new();
    account.machine.broken = true;
    account.pass(10);
    assert_eq!(account.state(), "attaching");
    account.machine.broken = false;
    account.pass(999);
    assert_eq!(account.state(), "attaching");
    account.pass(1);
    assert_eq!((account.state(), account.machine.plugged), ("attached", 1));
}

#[test]
fn a_disk_in_use_is_busy_until_it_is_let_go() {
    let mut account = Account::new();
    account.pass(10);
    account.machine.held = true;
    account.detach(false);
    account.pass(9);
    assert_eq!(account.state(), "detaching");
    account.pass(1000);
    assert_eq!((account.state(), account.machine.plugged), ("busy", 1));
    account.machine.held = false;
    account.pass(1);
    assert_eq!((account.state(), account.machine.plugged), ("available", 0));
}

#[test]
fn force_takes_a_disk_that_is_in_use() {
    let mut account = Account::new();
    account.pass(10);
    account.machine.held = true;
    account.detach(false);
    account.pass(10);
    account.detach(true);
    account.pass(0);
    assert_eq!((account.state(), account.machine.plugged), ("available", 0));
}

#[test]
fn an_instance_that_stops_has_no_disks_but_keeps_its_volumes() {
    let mut account = Account::new();
    account.pass(10);
    account.machine.held = true;
    let change = |account: &mut Account, change| {
        let (world, step) = account.step();
        world.change_instance("i-1", REGION, change, &step).unwrap();
        account.pass(9);
        let before = account.machine.plugged;
        account.pass(1);
        (before, account.machine.plugged)
    };
    assert_eq!(change(&mut account, Change::Stop), (1, 0));
    assert_eq!(account.state(), "attached");
    assert_eq!(change(&mut account, Change::Start), (1, 1));
    assert_eq!(change(&mut account, Change::Terminate), (1, 0));
    assert_eq!(account.state(), "available");
}
