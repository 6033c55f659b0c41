//! The files of an image: the program, the tools of the file systems with their libraries, what a
//! network is used with, and the places where something is mounted. No shell, no package manager.

use crate::program;
use error::{Error, IoContext, Result};
use host::command::PROGRAMS;
use mobula::managed::image;
use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use volume::Spec;

/// What tools read besides libraries.
const CONFIGURATION: [&str; 1] = ["/etc/mke2fs.conf"];

/// The certificates of the authorities that are trusted, where the TLS library looks for them, and
/// the package that has them.
const AUTHORITIES: (&str, &str) = ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates");

/// How names are resolved (nsswitch.conf(5)). Both ways are built into the C library, which the
/// program has within itself; others would be loaded from files that are not there. The addresses of
/// servers and the hosts file are the machine's: who runs the plugin mounts them.
const NAMES: (&str, &str) = ("/etc/nsswitch.conf", "hosts: files dns\n");

/// Makes the root file system of the driver's plugin in `root`, which is not there yet.
pub(super) fn make(root: &Path, spec: &Spec, binary: &Path) -> Result<()> {
    let directories = image::directories(spec).map(|directory| image::place(directory.name));
    let places = ["/dev", "/proc", "/sys", "/tmp", "/etc", image::SOCKETS, image::MOUNTS];
    for place in places.into_iter().map(str::to_owned).chain(directories) {
        make_dir(&inside(root, Path::new(&place)))?;
    }
    let program = inside(root, Path::new(image::PROGRAM));
    copy(binary, &program)?;
    // Also where it was handed on by something that keeps no modes.
    fs::set_permissions(&program, Permissions::from_mode(0o755))
        .doing(|| format!("make {} executable", program.display()))?;
    if spec.container.is_some_and(|container| container.devices.is_some()) {
        add_tools(root)?;
    }
    if spec.container.is_some_and(|container| container.network.is_some()) {
        add_network(root)?;
    }
    Ok(())
}

fn add_network(root: &Path) -> Result<()> {
    let (authorities, package) = AUTHORITIES;
    if !Path::new(authorities).exists() {
        return Err(Error::failed_precondition(format!(
            "{authorities} is missing, and the image needs it; install the package {package}"
        )));
    }
    copy(Path::new(authorities), &inside(root, Path::new(authorities)))?;
    add_licence(root, package)?;
    let (path, content) = NAMES;
    let path = inside(root, Path::new(path));
    fs::write(&path, content).doing(|| format!("write {}", path.display()))?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))
        .doing(|| format!("give {} its mode", path.display()))
}

fn add_tools(root: &Path) -> Result<()> {
    for (name, package) in PROGRAMS {
        let tool = program::find(name).ok_or_else(|| {
            Error::failed_precondition(format!(
                "{name} is not installed, and the image needs it; install the package {package}"
            ))
        })?;
        copy(&tool, &root.join("usr/sbin").join(name))?;
        for library in libraries(&tool)? {
            copy(&library, &inside(root, &library))?;
        }
        add_licence(root, package)?;
    }
    let present = CONFIGURATION.iter().map(Path::new).filter(|path| path.exists());
    present.into_iter().try_for_each(|path| copy(path, &inside(root, path)))
}

fn add_licence(root: &Path, package: &str) -> Result<()> {
    let licence = Path::new("/usr/share/doc").join(package).join("copyright");
    if licence.exists() { copy(&licence, &inside(root, &licence)) } else { Ok(()) }
}

/// The shared libraries and the loader of a program (ldd(1)), by the paths at which the loader looks
/// for them; of a static one, none. No links are needed then.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = program::command(program::get("ldd")?).arg(program).output();
    let output = output.doing(|| format!("list the libraries of {}", program.display()))?;
    Ok(paths(&String::from_utf8_lossy(&output.stdout)))
}

/// The paths in what ldd prints: `libc.so.6 => /lib/libc.so.6 (0x…)`, `/lib64/ld.so (0x…)`.
fn paths(said: &str) -> Vec<PathBuf> {
    let word =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    said.lines().filter_map(word).collect()
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).doing(|| format!("make {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("copy {} to {}", from.display(), to.display());
    to.parent().map_or(Ok(()), make_dir)?;
    fs::copy(from, to).doing(doing)?;
    let is_program = fs::metadata(from).doing(doing)?.permissions().mode() & 0o111 != 0;
    let mode = if is_program { 0o755 } else { 0o644 };
    fs::set_permissions(to, Permissions::from_mode(mode)).doing(doing)
}

/// Gives everything to root, and the time that `SOURCE_DATE_EPOCH` says
/// (<https://reproducible-builds.org/specs/source-date-epoch/>), 0 without it.
pub(super) fn settle(dir: &Path) -> Result<()> {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let time = UNIX_EPOCH + Duration::from_secs(epoch.unwrap_or(0));
    settle_at(dir, FileTimes::new().set_accessed(time).set_modified(time))
}

fn settle_at(path: &Path, times: FileTimes) -> Result<()> {
    let doing = || format!("give {} to root; run this as root", path.display());
    let found = fs::symlink_metadata(path).doing(doing)?;
    lchown(path, Some(0), Some(0)).doing(doing)?;
    if found.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o755)).doing(doing)?;
        for entry in fs::read_dir(path).doing(doing)? {
            settle_at(&entry.doing(doing)?.path(), times)?;
        }
    }
    fs::File::open(path).and_then(|file| file.set_times(times)).doing(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_prints_is_read() {
        let said = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so (0x3)\n";
        assert_eq!(paths(said), [Path::new("/lib/x/libc.so.6"), Path::new("/lib64/ld.so")]);
        assert!(paths("\tnot a dynamic executable\n").is_empty());
    }
}
