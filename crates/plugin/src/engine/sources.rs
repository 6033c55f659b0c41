//! What plugins bind of the machine has to be there before they start. Docker's directory of plugins
//! is made as dockerd makes it: published plugins keep their state there and take it for granted
//! (vieux/sshfs), and a dockerd that comes later finds it. Nothing else is made, since only its user
//! knows what would have to be in it.

use crate::config::Mount;
use error::{Error, Result};
use host::file::make_dir;
use std::io::ErrorKind;
use std::path::Path;

/// What dockerd makes when it starts, with the modes it gives them.
const DOCKERS: [(&str, u32); 2] = [("/var/lib/docker", 0o710), ("/var/lib/docker/plugins", 0o700)];

/// Makes Docker's directory of plugins if it is bound and missing. Any other source that is missing
/// → `FailedPrecondition`, which names it, its entry and the way out. `plugin` is for that.
pub(super) fn ensure(plugin: &str, mounts: &[Mount]) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate().filter(|(_, mount)| mount.is_bind()) {
        let Some(source) = mount.source.as_deref().filter(|source| source.starts_with('/')) else {
            continue;
        };
        if !is_missing(Path::new(source)) {
            continue;
        }
        if is_dockers(Path::new(source)) {
            DOCKERS.iter().try_for_each(|(dir, mode)| make_dir(Path::new(dir), *mode).map(drop))?;
        } else {
            return Err(missing(plugin, index, mount, source));
        }
    }
    Ok(())
}

/// What can't be looked at is the runtime's to complain about.
fn is_missing(path: &Path) -> bool {
    let found = path.metadata();
    found.is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

fn is_dockers(source: &Path) -> bool {
    let [_, (plugins, _)] = DOCKERS;
    source.components().eq(Path::new(plugins).components())
}

fn missing(plugin: &str, index: usize, mount: &Mount, source: &str) -> Error {
    let mut text = format!(
        "the plugin's configuration: mounts[{index}].source: {source} is not there on this machine; \
         make it"
    );
    let is_settable = mount.settable.iter().any(|field| field == "source");
    if is_settable && !mount.name.is_empty() {
        let name = &mount.name;
        text += &format!(", or choose another: mobula plugin set {plugin} {name}.source=PATH");
    }
    Error::failed_precondition(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(source: Option<&str>) -> Mount {
        Mount { source: source.map(str::to_owned), kind: "bind".to_owned(), ..Mount::default() }
    }

    #[test]
    fn only_dockers_own_directory_is_dockers_however_it_is_written() {
        for source in
            ["/var/lib/docker/plugins", "/var/lib/docker/plugins/", "/var//lib/docker/./plugins"]
        {
            assert!(is_dockers(Path::new(source)), "{source}");
        }
        for source in
            ["/var/lib/docker", "/var/lib/docker/plugins/x", "/x/../var/lib/docker/plugins"]
        {
            assert!(!is_dockers(Path::new(source)), "{source}");
        }
    }

    #[test]
    fn what_is_there_and_what_is_no_path_is_left_to_others() {
        let tmpfs = Mount { kind: "tmpfs".to_owned(), ..mount(Some("/no/such/path")) };
        ensure("p", &[mount(Some("/")), mount(Some("")), mount(None), mount(Some("x")), tmpfs])
            .unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let below = file.path().join("below");
        let error = ensure("p", &[mount(Some("/")), mount(below.to_str())]).unwrap_err();
        assert_eq!(error.kind(), error::Kind::FailedPrecondition);
        let named =
            format!("mounts[1].source: {} is not there on this machine; make it", below.display());
        assert_eq!(error.message(), format!("the plugin's configuration: {named}"));
    }
}
