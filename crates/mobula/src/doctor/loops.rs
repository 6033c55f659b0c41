//! Loop devices attached to images of ours: those that nobody uses, and those whose image is gone.

use super::mounts::{self, Known};
use super::{Finding, Patient, Tell};
use error::Result;
use host::loopdev::{self, Attached};
use std::path::{Path, PathBuf};

pub(super) fn check(patient: &Patient, tell: Tell<'_>) {
    let name = "loop-device";
    let attached = match loopdev::attached() {
        Ok(attached) => attached,
        Err(error) => return tell(Finding::unknown(name, "/proc/partitions", error.to_string())),
    };
    let dirs = directories(patient);
    let ours: Vec<_> = attached
        .into_iter()
        .filter(|found| dirs.iter().any(|dir| found.backing.starts_with(dir)))
        .collect();
    if ours.is_empty() {
        return tell(Finding::ok(name, "/sys/block/loop*", "none is attached to an image of ours"));
    }
    let known = mounts::known(patient);
    for found in ours {
        tell(device(&found, &known, patient));
    }
}

/// Where images of ours are.
fn directories(patient: &Patient) -> Vec<PathBuf> {
    let options = patient.config().services.values().filter_map(|service| {
        let (_, options, _) = service.parsed().ok()?;
        options.get("path").map(PathBuf::from)
    });
    std::iter::once(patient.paths.volumes()).chain(options).collect()
}

fn device(found: &Attached, known: &Result<Vec<Known>>, patient: &Patient) -> Finding {
    let name = "loop-device";
    let (device, backing) = (found.device.display(), found.backing.display());
    let looked_at = format!("{device} on {backing}");
    if !patient.is_root {
        return Finding::needs_root(name, looked_at);
    }
    let is_used = match loopdev::is_in_use(&found.device) {
        Ok(is_used) => is_used,
        Err(error) => return Finding::unknown(name, looked_at, error.to_string()),
    };
    let is_known = match known {
        Ok(known) => known.iter().any(|entry| entry.uses(&found.device, &found.backing)),
        Err(error) => return Finding::unknown(name, looked_at, format!("the ledger: {error}")),
    };
    match (found.deleted, is_used) {
        (false, true) => Finding::ok(name, looked_at, "in use"),
        (false, false) if is_known => Finding::ok(name, looked_at, "attached by hand"),
        (true, true) => Finding::problem(
            name,
            looked_at,
            "its image was deleted while it is in use",
        )
        .why(
            "What is written there is lost with the last unmount, and the disk stays full until \
             then.",
        )
        .mend(format!(
            "copy what is needed, unmount it ({}), then: losetup -d {device}",
            mounted_at(&found.device)
        )),
        (deleted, false) => unused(found, deleted, looked_at, patient.mends),
    }
}

fn unused(found: &Attached, deleted: bool, looked_at: String, mends: bool) -> Finding {
    let state = if deleted {
        "its image was deleted, and nobody uses it"
    } else {
        "nobody uses it, and the ledger does not know it"
    };
    let finding = Finding::problem("loop-device", looked_at, state)
        .why(
            "It keeps its image from being removed or given back to the disk, and a device less \
             is left.",
        )
        .mend(format!("losetup -d {}", found.device.display()));
    if !mends {
        return finding;
    }
    let detached = loopdev::detach_unused(found);
    finding.tried(detached.map(|_| format!("detached {}", found.device.display())))
}

/// Where the table of this namespace has it.
fn mounted_at(device: &Path) -> String {
    let table = host::mountinfo::table().unwrap_or_default();
    let found = table.iter().find(|mount| Path::new(&mount.source) == device);
    found.map_or_else(
        || "in another mount namespace".to_owned(),
        |mount| format!("umount {}", mount.target.display()),
    )
}
