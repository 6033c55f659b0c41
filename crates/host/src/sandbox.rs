//! A tiny container: one static program with one volume, in namespaces of its own. For
//! demonstrations and checks that a volume reaches a container; no security boundary.
//!
//! ```text
//! caller ── spawn ──> helper (`/proc/self/exe __sandbox JSON`: enter) ──> the program, as PID 1
//! ```
//!
//! The helper exists because its own mount table is taken apart, which a process with other threads
//! must not do to itself.

use crate::command::Finished;
use crate::mount::{attach, clone_tree, open_source, set_attributes};
use error::{Error, IoContext, Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The hidden first argument of the helper; the second is a [`Sandbox`] as JSON.
pub const ARGUMENT: &str = "__sandbox";

/// Where the new root is put together. Of all directories this one surely exists, and hiding it in
/// the helper's own namespace harms nobody.
const ROOT: &str = "/proc";
/// Where the program is in the container.
const PROGRAM: &str = "mobula";

/// What to run, on which volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// A statically linked program; `/mobula` in the container, read-only.
    pub binary: PathBuf,
    /// Its arguments, after its name.
    pub args: Vec<String>,
    /// The directory of this machine that the container gets.
    pub volume: PathBuf,
    /// Where it gets it: an absolute path, `/data`.
    pub at: PathBuf,
    /// The container's host name.
    pub hostname: String,
}

/// A running container; killed when dropped.
#[derive(Debug)]
pub struct SandboxChild(Option<Child>);

/// Gives this thread, and what it starts from now on, a mount table of its own: nothing that is
/// mounted in it is seen elsewhere.
pub fn private_mounts() -> Result<()> {
    // SAFETY: no descriptor table is unshared, which is what would make this unsafe.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .doing(|| "leave the mount namespace (are you root?)")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(|| "make all mounts private")
}

/// Starts a container with a re-execution of the calling program, whose main function must hand
/// the second argument to [`enter`] when the first is [`ARGUMENT`].
pub fn spawn(sandbox: &Sandbox) -> Result<SandboxChild> {
    inside(&sandbox.at)?;
    let json = serde_json::to_string(sandbox)
        .map_err(|error| Error::internal("write the sandbox as JSON").because(error))?;
    Command::new("/proc/self/exe")
        .args([ARGUMENT, &json])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| "start the sandbox")
        .map(|child| SandboxChild(Some(child)))
}

impl SandboxChild {
    /// Kills the container. Its end is seen with [`wait`](Self::wait).
    pub fn kill(&mut self) -> Result<()> {
        match &mut self.0 {
            Some(child) => child.kill().doing(|| "kill the sandbox"),
            None => Ok(()),
        }
    }

    /// Waits until the container has ended, all of it, and returns what it wrote. A container that
    /// writes more than a pipe holds (64 KiB) stands still until this is called.
    pub fn wait(mut self) -> Result<Finished> {
        let child = self.0.take().ok_or_else(|| Error::internal("the sandbox is over"))?;
        let output = child.wait_with_output().doing(|| "wait for the sandbox")?;
        Ok(Finished {
            code: exit_code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Drop for SandboxChild {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The helper's part: becomes the container, runs its program to the end and returns the exit code
/// (128 + n when killed by signal n). To be called while the process has a single thread.
pub fn enter(json: &str) -> Result<i32> {
    let sandbox: Sandbox = serde_json::from_str(json)
        .map_err(|error| Error::invalid_argument("the sandbox is no valid JSON").because(error))?;
    leave_namespaces()?;
    build_root(&sandbox)?;
    change_root()?;
    rustix::system::sethostname(sandbox.hostname.as_bytes()).doing(|| "set the host name")?;
    rustix::thread::set_no_new_privs(true).doing(|| "give up gaining privileges")?;
    run(&sandbox)
}

fn leave_namespaces() -> Result<()> {
    let namespaces = UnshareFlags::NEWNS
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWPID;
    // SAFETY: no descriptor table is unshared, which is what would make this unsafe.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.doing(|| "leave the namespaces")?;
    // As container engines do: what is unmounted outside is not kept mounted in here.
    let receive = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", receive).doing(|| "receive mounts only")
}

fn build_root(sandbox: &Sandbox) -> Result<()> {
    let at = inside(&sandbox.at)?;
    // Both before the new root hides what may be below it.
    let volume = clone_tree(open_source(&sandbox.volume)?)?;
    let program = clone_tree(open(&sandbox.binary, OFlags::empty())?)?;
    let read_only = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    set_attributes(&program, &read_only, false)?;
    mount("tmpfs", ROOT, MountFlags::NOSUID | MountFlags::NODEV)?;
    let root = Path::new(ROOT);
    for directory in [&root.join("proc"), &at] {
        std::fs::create_dir_all(directory).doing(|| "make a directory of the new root")?;
    }
    std::fs::write(root.join(PROGRAM), "").doing(|| "make a file of the new root")?;
    attach(&volume, &open(&at, OFlags::DIRECTORY)?, &at)?;
    let point = root.join(PROGRAM);
    attach(&program, &open(&point, OFlags::empty())?, &point)
}

/// Where `at` is while the new root isn't the root yet.
fn inside(at: &Path) -> Result<PathBuf> {
    let is_plain = at.components().all(|part| part != Component::ParentDir);
    match at.strip_prefix("/") {
        Ok(relative) if is_plain && !relative.as_os_str().is_empty() => {
            Ok(Path::new(ROOT).join(relative))
        }
        _ => Err(Error::invalid_argument(format!(
            "{} is no place for a volume; it must be an absolute path below / without \"..\"",
            at.display()
        ))),
    }
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty())
        .doing(|| format!("open {}", path.display()))
}

fn mount(fstype: &str, target: &str, flags: MountFlags) -> Result<()> {
    rustix::mount::mount(fstype, target, fstype, flags, None)
        .doing(|| format!("mount {fstype} on {target}"))
}

fn change_root() -> Result<()> {
    let doing = || "change to the new root";
    rustix::process::chdir(ROOT).doing(doing)?;
    // The old root then lies on top of the new one (pivot_root(2)), to be taken away.
    rustix::process::pivot_root(".", ".").doing(doing)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).doing(doing)?;
    rustix::process::chdir("/").doing(doing)?;
    mount("proc", "/proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC)
}

fn run(sandbox: &Sandbox) -> Result<i32> {
    let mut command = Command::new(Path::new("/").join(PROGRAM));
    // Programs of many names, such as busybox, go by this one.
    command.arg0(sandbox.binary.file_name().unwrap_or_default()).args(&sandbox.args).env_clear();
    // SAFETY: after fork(2) only prctl(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let die_too = Some(Signal::KILL);
            rustix::process::set_parent_process_death_signal(die_too).map_err(Into::into)
        });
    }
    let mut child = command.spawn().doing(|| format!("run {}", sandbox.binary.display()))?;
    child.wait().doing(|| "wait for the program").map(exit_code)
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
