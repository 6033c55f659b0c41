//! Whether a plugin and the host mean the same by a path, by their mount tables.

use super::translate;
use error::{Error, Kind, Result};
use host::Mount;
use host::mountinfo;
use std::io;
use std::path::Path;

/// Refuses a path below `base` that goes by way of a symbolic link, and one that is missing: the
/// plugin means its own root by a link, and whoever gets the path the host's.
///
/// A link is looked for by reading it, which asks no file system about a mount point.
pub(super) fn no_links(base: &Path, path: &Path) -> Result<()> {
    let Ok(rest) = path.strip_prefix(base) else { return Ok(()) };
    let mut reached = base.to_owned();
    for part in rest.components() {
        reached.push(part);
        match std::fs::read_link(&reached) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Ok(_) => {
                return Err(Error::failed_precondition(format!(
                    "{} is a symbolic link of the plugin; the path of a volume must have none",
                    reached.display()
                )));
            }
            Err(error) => {
                return Err(Error::failed_precondition(format!(
                    "the plugin's mount point is not visible on the host at {}",
                    path.display()
                ))
                .because(error));
            }
        }
    }
    Ok(())
}

/// Checks that the mount that `inside` is on for the plugin is on the host at the same place.
/// A directory on the shared mount itself needs nothing more: it is the same directory.
pub(super) fn same_mount(pid: i32, inside: &Path, base: (&Path, &Path)) -> Result<()> {
    let table = mountinfo::table_of(pid).map_err(|error| match error.kind() {
        Kind::NotFound => Error::unavailable("the plugin has ended meanwhile").because(error),
        _ => error,
    })?;
    let Some(own) = mount_below(&table, inside, base.0) else { return Ok(()) };
    let target = translate(&own.target, base.0, base.1);
    match mountinfo::at(&target)? {
        Some(seen) if (&seen.device, &seen.root) == (&own.device, &own.root) => Ok(()),
        _ => Err(Error::failed_precondition(format!(
            "{} is mounted inside the plugin but not visible on the host at {}: what a container \
             writes there would be lost; mount it below the propagatedMount, and check the \
             propagation of the directories above it (findmnt -o TARGET,PROPAGATION)",
            own.target.display(),
            target.display()
        ))),
    }
}

/// The topmost mount that `inside` is on, if it was made inside the plugin: below `base`, or over
/// `base` itself.
fn mount_below<'a>(table: &'a [Mount], inside: &Path, base: &Path) -> Option<&'a Mount> {
    let is_made = |(index, mount): &(usize, &Mount)| {
        let is_over_base = || table[..*index].iter().any(|lower| lower.target == base);
        inside.starts_with(&mount.target)
            && mount.target.starts_with(base)
            && (mount.target != base || is_over_base())
    };
    let made = table.iter().enumerate().filter(is_made).map(|(_, mount)| mount);
    // Of several at one place the last one is on top, and that is the one max_by_key takes.
    made.max_by_key(|mount| mount.target.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[&str]) -> Vec<Mount> {
        let parse = |line: &&str| mountinfo::parse_line(format!("{line} rw - x s rw").as_bytes());
        lines.iter().map(|line| parse(line).unwrap()).collect()
    }

    fn found(table: &[Mount], inside: &str) -> Option<u64> {
        mount_below(table, Path::new(inside), Path::new("/mnt")).map(|mount| mount.id)
    }

    #[test]
    fn the_shared_mount_itself_is_not_made_by_the_plugin() {
        let table = table(&["1 0 8:1 / /", "2 1 8:1 /prop /mnt"]);
        assert_eq!(found(&table, "/mnt"), None);
        assert_eq!(found(&table, "/mnt/v/data"), None);
    }

    #[test]
    fn the_deepest_and_topmost_mount_counts() {
        let table = table(&[
            "1 0 8:1 / /",
            "2 1 8:1 /prop /mnt",
            "3 2 7:0 / /mnt/v",
            "4 3 7:1 / /mnt/v",
            "5 2 7:2 / /mnt/v2",
        ]);
        assert_eq!(found(&table, "/mnt/v"), Some(4));
        assert_eq!(found(&table, "/mnt/v/data"), Some(4));
        assert_eq!(found(&table, "/mnt/v3"), None);
    }

    #[test]
    fn what_is_mounted_over_the_shared_mount_was_made_by_the_plugin() {
        let table = table(&["2 1 8:1 /prop /mnt", "3 2 0:9 / /mnt"]);
        assert_eq!(found(&table, "/mnt/v"), Some(3));
    }
}
