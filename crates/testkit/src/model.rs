//! The reference model: what a service's volumes, snapshots and consumers are after any sequence of
//! operations, in a hundred lines that are obviously right. Nothing is done here, only said.

use error::Kind;
use std::collections::{BTreeMap, BTreeSet};
use volume::Size;

/// Something that is asked of the service, or happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Create a volume of this size.
    Create(String, Size),
    /// Create a volume as a copy of another one.
    Clone(String, String),
    /// Create a volume from a snapshot.
    Restore(String, String),
    /// Remove a volume.
    Remove(String),
    /// Mount a volume for this consumer.
    Mount(String, String),
    /// Give a volume back.
    Unmount(String, String),
    /// Give a volume back for everybody.
    UnmountAll(String),
    /// Attach a volume by hand.
    Attach(String),
    /// Detach it by hand.
    Detach(String),
    /// Expand a volume.
    Expand(String, Size),
    /// Take a snapshot of a volume.
    Snapshot(String, String),
    /// Remove a snapshot.
    RemoveSnapshot(String),
    /// Look for what nobody uses any more.
    Sweep,
    /// The program ends and starts again.
    Restart,
    /// The machine ends and starts again.
    Reboot,
}

/// How an operation must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It changed something.
    Done,
    /// It succeeded and changed nothing.
    AlreadyDone,
    /// It was refused and changed nothing.
    Refused(Kind),
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Which of all that were ever created.
    pub number: usize,
    /// The size that it was created with.
    pub created: Size,
    /// Its size.
    pub size: Size,
    /// What it was copied from.
    pub origin: Option<Operation>,
    /// Who has it mounted.
    pub consumers: BTreeSet<String>,
    /// Attached by hand.
    pub kept: bool,
}

impl Disk {
    /// Whether it must be mounted.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// Whether it must be attached to this machine.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.is_mounted() || self.kept
    }
}

/// All that a service must remember.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// The volumes, by name.
    pub volumes: BTreeMap<String, Disk>,
    /// The snapshots: the number of the volume of each, and its size.
    pub snapshots: BTreeMap<String, (usize, Size)>,
    made: usize,
}

impl Model {
    /// What the service must be after `operation`, and how that must end.
    pub fn apply(&mut self, operation: &Operation) -> Ending {
        self.attempt(operation).unwrap_or_else(Ending::Refused)
    }

    fn attempt(&mut self, operation: &Operation) -> Result<Ending, Kind> {
        match operation {
            Operation::Create(name, size) => self.create(name, *size),
            Operation::Clone(name, of) if name == of => Err(Kind::InvalidArgument),
            Operation::Clone(name, of) => {
                let size = self.volumes.get(of).map(|disk| disk.size);
                self.copy(name, size, operation)
            }
            Operation::Restore(name, of) => {
                let size = self.snapshots.get(of).map(|(_, size)| *size);
                self.copy(name, size, operation)
            }
            Operation::Remove(name) => self.remove(name),
            Operation::Mount(name, id) => {
                let is_new = self.disk(name)?.consumers.insert(id.clone());
                Ok(changed(is_new))
            }
            Operation::Unmount(name, id) => {
                let disk = self.volumes.get_mut(name);
                Ok(changed(disk.is_some_and(|disk| disk.consumers.remove(id))))
            }
            Operation::UnmountAll(name) => {
                let consumers = self.volumes.get_mut(name).map(|disk| &mut disk.consumers);
                Ok(changed(
                    consumers.is_some_and(|consumers| !std::mem::take(consumers).is_empty()),
                ))
            }
            Operation::Attach(name) => {
                let was_kept = std::mem::replace(&mut self.disk(name)?.kept, true);
                Ok(changed(!was_kept))
            }
            Operation::Detach(name) => self.detach(name),
            Operation::Expand(name, size) => self.expand(name, *size),
            Operation::Snapshot(name, snapshot) => self.snapshot(name, snapshot),
            Operation::RemoveSnapshot(name) => Ok(changed(self.snapshots.remove(name).is_some())),
            Operation::Sweep | Operation::Restart => Ok(Ending::Done),
            Operation::Reboot => {
                for disk in self.volumes.values_mut() {
                    disk.consumers.clear();
                    disk.kept = false;
                }
                Ok(Ending::Done)
            }
        }
    }

    fn disk(&mut self, name: &str) -> Result<&mut Disk, Kind> {
        self.volumes.get_mut(name).ok_or(Kind::NotFound)
    }

    fn add(&mut self, name: &str, size: Size, origin: Option<Operation>) -> Ending {
        self.made += 1;
        let number = self.made;
        let consumers = BTreeSet::new();
        let disk = Disk { number, created: size, size, origin, consumers, kept: false };
        self.volumes.insert(name.to_owned(), disk);
        Ending::Done
    }

    fn create(&mut self, name: &str, size: Size) -> Result<Ending, Kind> {
        match self.volumes.get(name) {
            None => Ok(self.add(name, size, None)),
            Some(disk) if disk.created == size => Ok(Ending::AlreadyDone),
            Some(_) => Err(Kind::AlreadyExists),
        }
    }

    fn copy(
        &mut self,
        name: &str,
        size: Option<Size>,
        operation: &Operation,
    ) -> Result<Ending, Kind> {
        match self.volumes.get(name) {
            Some(disk) if disk.origin.as_ref() == Some(operation) => Ok(Ending::AlreadyDone),
            Some(_) => Err(Kind::AlreadyExists),
            None => {
                let size = size.ok_or(Kind::NotFound)?;
                Ok(self.add(name, size, Some(operation.clone())))
            }
        }
    }

    fn remove(&mut self, name: &str) -> Result<Ending, Kind> {
        if self.volumes.get(name).is_some_and(Disk::is_attached) {
            return Err(Kind::FailedPrecondition);
        }
        Ok(changed(self.volumes.remove(name).is_some()))
    }

    fn detach(&mut self, name: &str) -> Result<Ending, Kind> {
        let Some(disk) = self.volumes.get_mut(name) else { return Ok(Ending::AlreadyDone) };
        if disk.is_mounted() {
            return Err(Kind::FailedPrecondition);
        }
        Ok(changed(std::mem::replace(&mut disk.kept, false)))
    }

    fn expand(&mut self, name: &str, size: Size) -> Result<Ending, Kind> {
        let disk = self.disk(name)?;
        if size < disk.size {
            return Err(Kind::OutOfRange);
        }
        Ok(changed(std::mem::replace(&mut disk.size, size) != size))
    }

    fn snapshot(&mut self, name: &str, snapshot: &str) -> Result<Ending, Kind> {
        let disk = self.disk(name)?;
        let taken = (disk.number, disk.size);
        match self.snapshots.get(snapshot) {
            Some((number, _)) if *number == taken.0 => Ok(Ending::AlreadyDone),
            Some(_) => Err(Kind::AlreadyExists),
            None => {
                self.snapshots.insert(snapshot.to_owned(), taken);
                Ok(Ending::Done)
            }
        }
    }
}

fn changed(is_changed: bool) -> Ending {
    if is_changed { Ending::Done } else { Ending::AlreadyDone }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: &str) -> Operation {
        Operation::Mount("a".to_owned(), id.to_owned())
    }

    #[test]
    fn a_volume_is_mounted_while_it_has_a_consumer() {
        let mut model = Model::default();
        assert_eq!(model.apply(&mount("1")), Ending::Refused(Kind::NotFound));
        model.apply(&Operation::Create("a".to_owned(), Size::gib(1)));
        model.apply(&mount("1"));
        model.apply(&mount("2"));
        assert_eq!(model.apply(&mount("2")), Ending::AlreadyDone);
        let unmount = |id: &str| Operation::Unmount("a".to_owned(), id.to_owned());
        assert_eq!(model.apply(&unmount("3")), Ending::AlreadyDone);
        model.apply(&unmount("1"));
        assert!(model.volumes["a"].is_mounted());
        model.apply(&unmount("2"));
        assert!(!model.volumes["a"].is_attached());
    }
}
