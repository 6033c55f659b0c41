//! What would be left without its program: mounted volumes, and mounts of plugins.

use super::Part;
use crate::paths::Paths;
use error::Result;
use std::path::Path;

/// The names of what is mounted: `service/volume`, and the path of a plugin's mount.
///
/// The kernel is asked, not the agent: it may be gone, and its mounts still there.
pub(super) fn mounted(part: Part, paths: &Paths) -> Result<Vec<String>> {
    let table = host::mountinfo::table()?;
    let targets = table.iter().map(|mount| mount.target.as_path());
    let mut found: Vec<String> = match part {
        Part::Agent => targets.filter_map(|target| volume(target, &paths.mounts())).collect(),
        Part::Engine => targets.filter_map(|target| plugin(target, paths)).collect(),
    };
    found.sort();
    found.dedup();
    Ok(found)
}

/// `service/volume` of `root/service/volume`.
fn volume(target: &Path, root: &Path) -> Option<String> {
    let below = target.strip_prefix(root).ok()?;
    let is_volume = below.components().count() == 2;
    is_volume.then(|| below.display().to_string())
}

/// The path, if it is a plugin's propagated mount or below it.
fn plugin(target: &Path, paths: &Paths) -> Option<String> {
    let below = target.strip_prefix(paths.state().join("plugins")).ok()?;
    let mut parts = below.components().skip(1);
    let is_propagated = parts.next()?.as_os_str() == "propagated-mount";
    // The propagated mount itself is a mount of the engine's making.
    (is_propagated && parts.next().is_some()).then(|| target.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_and_mounts_of_plugins_are_named_and_nothing_else() {
        let paths = Paths::at("/");
        let root = paths.mounts();
        assert_eq!(volume(Path::new("/run/mobula/mounts/a/b"), &root).unwrap(), "a/b");
        assert_eq!(volume(&root, &root), None);
        assert_eq!(volume(Path::new("/run/mobula/mounts2/a/b"), &root), None);
        let mount = "/var/lib/mobula/plugins/1/propagated-mount/db";
        assert_eq!(plugin(Path::new(mount), &paths).unwrap(), mount);
        for other in ["/var/lib/mobula/plugins/1/propagated-mount", "/var/lib/mobula/plugins/1/x/y"]
        {
            assert_eq!(plugin(Path::new(other), &paths), None);
        }
    }
}
