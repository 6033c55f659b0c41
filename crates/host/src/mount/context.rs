//! A file system of its own, mounted nowhere yet: fsopen(2), fsconfig(2), fsmount(2).

use super::failure;
use super::options::Options;
use error::{Error, Kind, Result};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;

/// Makes a detached mount of the file system on `source`. It vanishes when the descriptor is closed
/// before it was placed somewhere.
pub(super) fn mount(fstype: &str, source: &OsStr, options: &Options) -> Result<OwnedFd> {
    let context = Context::open(fstype, source)?;
    context.set("source", Some(source))?;
    if options.is_read_only() {
        context.set("ro", None)?;
    }
    for (key, value) in &options.parameters {
        context.set(key, value.as_deref().map(OsStr::new))?;
    }
    context.mount(options.set)
}

/// Whether a mount takes the options; see [`Mounts::check_options`](crate::Mounts::check_options).
/// fsconfig(2) judges each as it comes; what only fits together, or a certain content of the device,
/// is judged when the file system is made.
pub(crate) fn check(fstype: Option<&str>, options: &[String]) -> Result<()> {
    let options = Options::parse(options, false)?;
    let Some(fstype) = fstype else { return options.check_for_directory() };
    let Ok(context) = Context::open(fstype, OsStr::new("nothing")) else { return Ok(()) };
    for (key, value) in &options.parameters {
        let set = context.try_set(key, value.as_deref().map(OsStr::new));
        if set != Err(Errno::INVAL) {
            continue;
        }
        let option = value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}={value}"));
        let said = context.log().into_iter().next();
        let said = said.unwrap_or_else(|| "Invalid argument".to_owned());
        return Err(Error::invalid_argument(format!(
            "mount option {option} is refused by this machine's {fstype} ({said}); put it right or \
             leave it out (man 5 {fstype})"
        )));
    }
    Ok(())
}

/// A file system context: what fsopen(2) gives.
pub(super) struct Context {
    fd: OwnedFd,
    /// `mount ext4 from /dev/vdb`, for messages.
    doing: String,
}

impl Context {
    pub(super) fn open(fstype: &str, source: &OsStr) -> Result<Self> {
        let doing = format!("mount {fstype} from {}", source.display());
        match fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Self { fd, doing }),
            Err(Errno::NODEV) => Err(Error::failed_precondition(format!(
                "cannot {doing}: this kernel has no file system {fstype}; load its module (modprobe {fstype})"
            ))),
            Err(errno) => Err(failure(&doing, errno, "5.2")),
        }
    }

    fn try_set(&self, key: &str, value: Option<&OsStr>) -> rustix::io::Result<()> {
        match value {
            Some(value) => fsconfig_set_string(&self.fd, key, value),
            None => fsconfig_set_flag(&self.fd, key),
        }
    }

    pub(super) fn set(&self, key: &str, value: Option<&OsStr>) -> Result<()> {
        self.try_set(key, value).map_err(|errno| match errno {
            Errno::INVAL => self.error(Kind::InvalidArgument, &format!("option {key}"), errno),
            errno => self.fail(errno),
        })
    }

    pub(super) fn mount(&self, attributes: u64) -> Result<OwnedFd> {
        fsconfig_create(&self.fd).map_err(|errno| self.fail(errno))?;
        let attributes = MountAttrFlags::from_bits_retain(attributes as _);
        fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(|errno| self.fail(errno))
    }

    fn fail(&self, errno: Errno) -> Error {
        match errno {
            Errno::INVAL | Errno::UCLEAN | Errno::ROFS | Errno::ACCESS => {
                self.error(Kind::FailedPrecondition, "", errno)
            }
            Errno::PERM => self.error(Kind::PermissionDenied, "run as root", errno),
            errno => self.error(Kind::of_io(&errno.into()), "", errno),
        }
    }

    /// The error with what the kernel wrote to the context: it says more than the code.
    fn error(&self, kind: Kind, hint: &str, errno: Errno) -> Error {
        let mut message = self.doing.clone();
        for part in Some(hint.to_owned()).into_iter().chain(self.log()) {
            if !part.is_empty() {
                message.push_str(": ");
                message.push_str(&part);
            }
        }
        Error::new(kind, message).because(errno)
    }

    /// Reads one message at a time until there is none; `e `, `w ` or `i ` precedes each.
    fn log(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = rustix::io::read(&self.fd, &mut buffer)
            && length > 0
        {
            let text = String::from_utf8_lossy(&buffer[..length]);
            let text = text.trim();
            let text = ["e ", "w ", "i "].iter().find_map(|level| text.strip_prefix(level));
            messages.extend(text.map(str::to_owned));
        }
        messages
    }
}
