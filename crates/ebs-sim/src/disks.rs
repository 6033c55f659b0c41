//! Real disks: a sparse file for each volume and snapshot; attached, a loop device with the volume's
//! serial, a device node in the directory of the instance, and a link to it in `by-id`.

use crate::config::Disks as Directories;
use crate::hardware::{Hardware, Plug, Unplugged};
use error::{Error, IoContext, Result};
use host::loopdev::{Detached, Labelled, attach_labelled, labelled};
use host::root::{Node, Root};
use host::{file, shutdown};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const GIB: u64 = 1 << 30;
/// The model of EBS's NVMe disks, as /dev/disk/by-id has it.
const MODEL: &str = "nvme-Amazon_Elastic_Block_Store_";

/// The disks of an account.
pub(crate) struct Disks {
    images: PathBuf,
    devices: PathBuf,
}

/// A volume's serial: its ID without the dash, as on AWS.
fn serial(volume: &str) -> String {
    volume.replacen('-', "", 1)
}

impl Disks {
    /// Makes the directories that are missing.
    pub(crate) fn open(directories: &Directories) -> Result<Self> {
        file::make_dir(&directories.images, 0o700)?;
        file::make_dir(&directories.devices, 0o755)?;
        let resolved =
            |dir: &Path| fs::canonicalize(dir).doing(|| format!("look at {}", dir.display()));
        Ok(Self {
            images: resolved(&directories.images)?,
            devices: resolved(&directories.devices)?,
        })
    }

    /// The directories, without symbolic links on the way.
    pub(crate) fn directories(&self) -> Directories {
        Directories { images: self.images.clone(), devices: self.devices.clone() }
    }

    fn image(&self, id: &str) -> PathBuf {
        self.images.join(id)
    }

    fn link(&self, id: &str, instance: &str) -> PathBuf {
        links(&self.devices, instance).join(format!("{MODEL}{}", serial(id)))
    }

    /// The loop device behind a plug, if it still is the volume's.
    fn find(&self, id: &str, plug: &Plug) -> Result<Option<Labelled>> {
        Ok(self.devices_of(id)?.into_iter().find(|one| one.device == plug.device))
    }

    /// Whether a disk that was plugged in is there, device, node and link.
    pub(crate) fn is_plugged(&self, id: &str, instance: &str, plug: &Plug) -> Result<bool> {
        let link = fs::read_link(self.link(id, instance)).is_ok_and(|to| to == plug.node);
        Ok(link && plug.node.exists() && self.find(id, plug)?.is_some())
    }

    /// Takes over a disk that a simulator before this one left attached, because it was mounted.
    /// `taken`: what others have.
    pub(crate) fn adopt(
        &self,
        id: &str,
        instance: &str,
        taken: &BTreeSet<PathBuf>,
    ) -> Result<Option<Plug>> {
        let left = self.devices_of(id)?.into_iter().find(|one| !taken.contains(&one.device));
        let Some(device) = left else { return Ok(None) };
        device.keep()?;
        let node = self.show(id, instance, &device)?;
        Ok(Some(Plug { node, device: device.device }))
    }

    /// Takes away what no attachment knows, and removes images that nobody knows: the work of a
    /// simulator that was killed meanwhile.
    pub(crate) fn clear(
        &self,
        known: &BTreeSet<PathBuf>,
        nodes: &BTreeSet<PathBuf>,
        ids: &BTreeSet<String>,
    ) -> Result<()> {
        for id in ids {
            for device in self.devices_of(id)?.iter().filter(|one| !known.contains(&one.device)) {
                device.take_away()?;
            }
        }
        self.clear_nodes(nodes)?;
        self.clear_images(ids)
    }

    /// Device nodes and links of disks that are no more.
    fn clear_nodes(&self, known: &BTreeSet<PathBuf>) -> Result<()> {
        for instance in entries(&self.devices)? {
            for node in entries(&instance)?.into_iter().filter(|node| !known.contains(node)) {
                if node.is_dir() {
                    for link in entries(&node)? {
                        let leads = fs::read_link(&link).is_ok_and(|node| known.contains(&node));
                        if !leads {
                            remove(&link)?;
                        }
                    }
                } else if node
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("nvme"))
                {
                    remove(&node)?;
                }
            }
        }
        Ok(())
    }

    /// Every device of a volume.
    fn devices_of(&self, id: &str) -> Result<Vec<Labelled>> {
        let image = self.image(id);
        let mut found = Vec::new();
        for device in labelled()?.into_iter().filter(|one| one.label == serial(id)) {
            // Whose images were removed meanwhile: IDs are like no others.
            if !image.exists() || device.is_of(&image)? {
                found.push(device);
            }
        }
        Ok(found)
    }

    /// Images that nobody knows were made by a call that never came to its end.
    fn clear_images(&self, known: &BTreeSet<String>) -> Result<()> {
        for image in entries(&self.images)? {
            let name = image.file_name().unwrap_or_default().to_string_lossy();
            let is_image = name.starts_with("vol-") || name.starts_with("snap-");
            if is_image && !known.contains(name.as_ref()) {
                remove(&image)?;
            }
        }
        Ok(())
    }

    /// The node and the link of a new disk.
    fn show(&self, id: &str, instance: &str, device: &Labelled) -> Result<PathBuf> {
        let dir = self.devices.join(instance);
        make_links(&self.devices, instance)?;
        let node = dir.join(free_name(&dir)?);
        let making = || format!("make device node {}", node.display());
        let (major, minor) = device.numbers;
        let mut root = Root::open(&dir).doing(making)?;
        let name = node.file_name().unwrap_or_default();
        root.node(Path::new(name), Node::Block { major, minor }).doing(making)?;
        let link = self.link(id, instance);
        remove(&link)?;
        symlink(&node, &link).doing(|| format!("make link {}", link.display()))?;
        Ok(node)
    }

    /// Removes the node and the link of a disk.
    pub(crate) fn hide(&self, id: &str, instance: &str, plug: &Plug) -> Result<()> {
        let link = self.link(id, instance);
        if fs::read_link(&link).is_ok_and(|to| to == plug.node) {
            remove(&link)?;
        }
        remove(&plug.node)
    }
}

fn links(devices: &Path, instance: &str) -> PathBuf {
    devices.join(instance).join("by-id")
}

/// Makes the directory for the links of an instance.
pub(crate) fn make_links(devices: &Path, instance: &str) -> Result<PathBuf> {
    let links = links(devices, instance);
    file::make_dir(&devices.join(instance), 0o755)?;
    file::make_dir(&links, 0o755)?;
    Ok(links)
}

/// The first `nvmeXn1` that isn't there; 0 is the root volume.
fn free_name(dir: &Path) -> Result<String> {
    let names = (1..1000).map(|number| format!("nvme{number}n1"));
    names.into_iter().find(|name| !dir.join(name).exists()).ok_or_else(|| {
        Error::resource_exhausted(format!("every device name in {} is taken", dir.display()))
    })
}

/// What is in a directory; nothing in what is none.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let list = || format!("list {}", dir.display());
    fs::read_dir(dir).doing(list)?.map(|entry| Ok(entry.doing(list)?.path())).collect()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

impl Hardware for Disks {
    fn create(&mut self, id: &str, gib: u64, from: Option<&str>) -> Result<()> {
        let image = self.image(id);
        match from {
            None => file::create_sparse(&image, gib * GIB),
            Some(from) => {
                file::copy_image(&self.image(from), &image)?;
                lengthen(&image, gib)
            }
        }
    }

    fn copy(&mut self, from: &str, to: &str) -> Result<()> {
        file::copy_image(&self.image(from), &self.image(to)).map(drop)
    }

    fn remove(&mut self, id: &str) -> Result<()> {
        remove(&self.image(id))
    }

    fn grow(&mut self, id: &str, gib: u64, plugs: &[Plug]) -> Result<()> {
        lengthen(&self.image(id), gib)?;
        for plug in plugs {
            if let Some(device) = self.find(id, plug)? {
                device.take_new_size()?;
            }
        }
        Ok(())
    }

    fn plug(&mut self, id: &str, instance: &str) -> Result<Plug> {
        let device = attach_labelled(&self.image(id), &serial(id))?;
        let plug = self
            .show(id, instance, &device)
            .map(|node| Plug { node, device: device.device.clone() });
        if plug.is_err() {
            let _ = device.detach();
        }
        plug
    }

    fn unplug(&mut self, id: &str, instance: &str, plug: &Plug, force: bool) -> Result<Unplugged> {
        if let Some(device) = self.find(id, plug)? {
            if force {
                cut_off(&device)?;
            } else if device.detach()? == Detached::Held {
                return Ok(Unplugged::Held);
            }
        }
        self.hide(id, instance, plug)?;
        Ok(Unplugged::Gone)
    }

    fn let_go(&mut self, id: &str, instance: &str, plug: &Plug) -> Result<()> {
        if let Some(device) = self.find(id, plug)? {
            device.let_go()?;
        }
        self.hide(id, instance, plug)
    }
}

fn lengthen(image: &Path, gib: u64) -> Result<()> {
    let longer = || format!("make {} longer", image.display());
    let file = fs::File::options().write(true).open(image).doing(longer)?;
    file.set_len(gib * GIB).doing(longer)
}

/// Whoever has the disk mounted gets errors from now on. A file system that can't be shut down
/// finds out by the device.
fn cut_off(device: &Labelled) -> Result<()> {
    if let Err(error) = shutdown::shut_down_device(&device.device) {
        tracing::debug!(%error, "not shut down");
    }
    device.take_away()
}
