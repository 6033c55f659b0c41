//! Mounts below a directory that becomes the root of a container. Every destination is resolved by
//! the kernel with that directory as its root (openat2(2), RESOLVE_IN_ROOT): no symbolic link in it
//! leads a mount elsewhere. Which mounts, and in which order, is decided by callers.

use super::options::Options;
use super::{attach, context, failure, set_attributes};
use crate::root::Root;
use error::{Error, IoContext, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// A mount to be made inside of a root, in the words of the OCI runtime specification.
#[derive(Debug, Clone, Copy)]
pub struct Inside<'a> {
    /// The file system type; `None` for a bind mount.
    pub fstype: Option<&'a str>,
    /// The file or directory to bind, or what the file system calls its source.
    pub source: &'a Path,
    /// Where, seen from the root; made when missing.
    pub destination: &'a Path,
    /// mount(8)-style options, one each; `rro`, `rnosuid` … are about mounts below, too. What a
    /// file system would be told is nothing to a bind, as mount(2) has it.
    pub options: &'a [String],
}

/// Mounts it: a bind complete with its attributes, and with what is mounted below its source if an
/// option says `rbind`. Not the root itself (`InvalidArgument`). A failure leaves nothing mounted.
pub fn mount_inside(root: &Path, mount: &Inside<'_>) -> Result<()> {
    let words = Words::parse(mount.options)?;
    let tree = match mount.fstype {
        None => bind(mount.source, &words)?,
        Some(fstype) => context::mount(fstype, mount.source.as_os_str(), &words.own)?,
    };
    let point = point(root, mount.destination, &tree)?;
    attach(&tree, &point, mount.destination)?;
    // Only now: what is mounted on a shared mount becomes shared by that.
    for (propagation, recursive) in words.propagation {
        let attributes = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation, userns_fd: 0 };
        set_attributes(&tree, &attributes, recursive)?;
    }
    Ok(())
}

/// The destination without `.`, `..` and superfluous slashes, as container runtimes understand it.
#[must_use]
pub fn clean_destination(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Options of the specification, sorted.
struct Words {
    /// About the mount itself.
    own: Options,
    /// About mounts below, too.
    all: Options,
    recursive: bool,
    /// Propagation and whether it is about mounts below, too.
    propagation: Vec<(u64, bool)>,
}

impl Words {
    fn parse(options: &[String]) -> Result<Self> {
        let mut words = Self {
            own: Options::default(),
            all: Options::default(),
            recursive: false,
            propagation: Vec::new(),
        };
        let (mut own, mut all) = (Vec::new(), Vec::new());
        for option in options {
            if let Some(propagation) = propagation(option) {
                words.propagation.push(propagation);
            } else if let Some(attribute) = option.strip_prefix('r').filter(|o| is_attribute(o)) {
                all.push(attribute.to_owned());
            } else {
                match option.as_str() {
                    "bind" => {}
                    "rbind" => words.recursive = true,
                    "idmap" | "ridmap" => {
                        let text = format!("mount option {option} is not supported");
                        return Err(Error::invalid_argument(text));
                    }
                    _ => own.push(option.clone()),
                }
            }
        }
        words.own = Options::parse(&own, false)?;
        words.all = Options::parse(&all, false)?;
        Ok(words)
    }
}

fn propagation(option: &str) -> Option<(u64, bool)> {
    let word = option.strip_prefix('r').unwrap_or(option);
    let flag = match word {
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some((flag, word != option))
}

fn is_attribute(word: &str) -> bool {
    let parsed = Options::parse(&[word.to_owned()], false);
    !word.is_empty() && parsed.is_ok_and(|options| options.parameters.is_empty())
}

/// A copy of what is at `source`, symbolic links followed, with its attributes.
fn bind(source: &Path, words: &Words) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let from = rustix::fs::openat(CWD, source, flags, Mode::empty())
        .doing(|| format!("open {}", source.display()))?;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, words.recursive);
    let cloning = || format!("clone the mount of {}", source.display());
    let tree = open_tree(from, "", flags).map_err(|errno| failure(&cloning(), errno, "5.2"))?;
    for (options, recursive) in [(&words.own, false), (&words.all, true)] {
        if options.set != 0 || options.clear != 0 {
            let attributes = libc::mount_attr {
                attr_set: options.set,
                attr_clr: options.clear,
                propagation: 0,
                userns_fd: 0,
            };
            set_attributes(&tree, &attributes, recursive)?;
        }
    }
    Ok(tree)
}

/// Opens the mount point, which is made when missing: a directory for a directory.
fn point(root: &Path, destination: &Path, tree: impl AsFd) -> Result<OwnedFd> {
    let destination = clean_destination(destination);
    let inside = destination.strip_prefix("/").unwrap_or(&destination);
    if inside.as_os_str().is_empty() {
        return Err(Error::invalid_argument("the root of a container can't be mounted over"));
    }
    let doing = || format!("make mount point {}", destination.display());
    match open_point(root, inside) {
        Err(Errno::NOENT) => {}
        other => return other.doing(|| format!("open mount point {}", destination.display())),
    }
    let stat = rustix::fs::fstat(tree).doing(doing)?;
    let mut tree = Root::open(root).doing(doing)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        tree.make_dirs(inside).doing(doing)?;
    } else {
        tree.make_file(inside).doing(doing)?;
    }
    open_point(root, inside).doing(doing)
}

fn open_point(root: &Path, inside: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(&root, inside, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile, so that the kernel could not be sure of "..".
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(options: &[&str]) -> Words {
        let options: Vec<_> = options.iter().copied().map(str::to_owned).collect();
        Words::parse(&options).unwrap()
    }

    #[test]
    fn options_are_sorted() {
        let words = words(&["rbind", "ro", "rnosuid", "rslave", "shared", "relatime", "mode=1"]);
        assert!(words.recursive && words.own.is_read_only());
        assert_eq!(words.all.set, libc::MOUNT_ATTR_NOSUID);
        assert_eq!(words.propagation, [(libc::MS_SLAVE, true), (libc::MS_SHARED, false)]);
        assert_eq!(words.own.parameters, [("mode".to_owned(), Some("1".to_owned()))]);
        assert!(Words::parse(&["idmap".to_owned()]).is_err());
    }

    #[test]
    fn a_destination_is_understood_as_runtimes_do() {
        for (path, clean) in [
            ("/dev/../dev/", "/dev"),
            ("/../x/./y", "/x/y"),
            ("/a/..", "/"),
            ("dev", "/dev"),
            ("/..", "/"),
        ] {
            assert_eq!(clean_destination(Path::new(path)), Path::new(clean), "{path}");
        }
    }

    /// A root in a mount namespace of this thread's own; `None` without the rights for one.
    fn root() -> Option<(tempfile::TempDir, PathBuf)> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        crate::sandbox::private_mounts().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        Some((dir, root))
    }

    fn mount(root: &Path, source: &Path, destination: &str, options: &[&str]) -> Result<()> {
        let options: Vec<_> = options.iter().copied().map(str::to_owned).collect();
        let destination = Path::new(destination);
        mount_inside(root, &Inside { fstype: None, source, destination, options: &options })
    }

    #[test]
    fn links_lead_nowhere_else_and_missing_points_are_made() {
        let Some((dir, root)) = root() else { return };
        let (outside, source) = (dir.path().join("outside"), dir.path().join("source"));
        std::fs::create_dir(&outside).unwrap();
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), "shown").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        mount(&root, &source, "/link", &["bind", "ro"]).unwrap();
        mount(&root, &source.join("file"), "/a/../b/c", &["bind"]).unwrap();
        assert_eq!(std::fs::read(root.join("b/c")).unwrap(), b"shown");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        let at = root.join(outside.strip_prefix("/").unwrap());
        assert!(crate::mountinfo::at(&at).unwrap().unwrap().is_read_only());
        for over in ["/", "/x/.."] {
            assert!(mount(&root, &source, over, &["bind"]).is_err());
        }
    }

    /// As images have it of `/etc/resolv.conf`.
    #[test]
    fn a_file_is_mounted_where_a_link_that_dangles_leads_inside() {
        let Some((dir, root)) = root() else { return };
        let source = dir.path().join("source");
        std::fs::write(&source, "shown").unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        for (number, target) in
            ["../run/x/stub", "/run/y", "again", "../../../../z"].into_iter().enumerate()
        {
            let link = root.join(format!("etc/{number}"));
            std::os::unix::fs::symlink(target, &link).unwrap();
            mount(&root, &source, &format!("/etc/{number}"), &["bind"]).unwrap();
        }
        for at in ["run/x/stub", "run/y", "etc/again", "z"] {
            assert_eq!(std::fs::read(root.join(at)).unwrap(), b"shown", "{at}");
        }
        std::os::unix::fs::symlink("round", root.join("round")).unwrap();
        assert!(mount(&root, &source, "/round", &["bind"]).is_err());
        assert!(!dir.path().join("z").exists());
    }

    #[test]
    fn propagation_and_further_file_systems_are_as_asked_for() {
        let Some((dir, root)) = root() else { return };
        let options = ["mode=700".to_owned(), "nosuid".to_owned(), "shared".to_owned()];
        let (source, destination) = (Path::new("mine"), Path::new("/t"));
        let tmpfs = Inside { fstype: Some("tmpfs"), source, destination, options: &options };
        mount_inside(&root, &tmpfs).unwrap();
        std::fs::create_dir(root.join("t/below")).unwrap();
        mount(&root, &root.join("t"), "/t/below", &["bind", "private"]).unwrap();
        mount(&root, &root.join("t"), "/copy", &["rbind", "rslave"]).unwrap();
        let at = |path: &str| {
            let found = crate::mountinfo::at(&root.join(path)).unwrap().unwrap();
            (found.propagation(), found.options)
        };
        assert_eq!(at("t").0, "shared");
        assert!(at("t").1.contains("nosuid"));
        assert_eq!(at("t/below").0, "private");
        assert_eq!(at("copy").0, "private,slave");
        assert_eq!(at("copy/below").0, "private");
        drop(dir);
    }
}
