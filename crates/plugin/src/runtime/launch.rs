//! The engine's side of a start: checks, the bundle, the shim, its answer.

use super::records::{Files, Order, encode};
use super::shim::Answer;
use super::{Instance, Launch, PATIENCE, Runtime, clean, entrypoint, filter, mounts};
use error::{Error, IoContext, Result};
use host::exec::{OWN, Program, Streams};
use host::file::{Durability, make_dir, write_atomic};
use host::reaper::{Handle, kill_group_of_child, reap_one};
use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use std::ffi::OsStr;
use std::io::{PipeReader, Read};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a start may take: a runtime that waits for a hanging mount would take for ever.
const DEADLINE: Duration = Duration::from_secs(60);
/// What runtimes fill for every container.
const FILLED: [&str; 3] = ["dev", "proc", "sys"];
/// The longest answer of a shim, in bytes.
const ANSWER: u64 = 64 << 10;

pub(super) fn run(launch: &Launch) -> Result<Instance> {
    check(&launch.spec)?;
    entrypoint::check(&launch.spec)?;
    if Instance::find(&launch.run)?.is_some() {
        let text = format!("plugin {} is running already; stop it first", launch.id);
        return Err(Error::failed_precondition(text));
    }
    Instance::clean(&launch.run, &launch.id, &launch.runtime)?;
    let files = Files::new(&launch.run);
    start(launch, &files).inspect_err(|_| {
        if let Err(error) = Instance::clean(&launch.run, &launch.id, &launch.runtime) {
            tracing::warn!(error = %error.chain(), "a plugin that did not start left something");
        }
    })
}

/// Refuses what would harm the machine, or can't work.
fn check(spec: &Spec) -> Result<()> {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
    let is_mount = |typ| typ == LinuxNamespaceType::Mount;
    if !namespaces.unwrap_or_default().iter().any(|namespace| is_mount(namespace.typ())) {
        // libcontainer would change the propagation of the machine's own mounts.
        return Err(Error::invalid_argument("a plugin's spec must have a mount namespace"));
    }
    let root = spec.root().as_ref().map(oci_spec::runtime::Root::path);
    let root = root.filter(|root| root.is_absolute()).ok_or_else(|| {
        Error::invalid_argument("a plugin's spec must have an absolute root path")
    })?;
    FILLED.iter().try_for_each(|place| check_place(root, place))?;
    let terminal = spec.process().as_ref().and_then(Process::terminal);
    if terminal == Some(true) {
        return Err(Error::invalid_argument("a plugin can't have a terminal"));
    }
    Ok(())
}

/// libcontainer and runc (1.1 at least: CVE-2026-41579) would follow a link at `/dev` out of the
/// root file system, and make links and devices there.
fn check_place(root: &Path, place: &str) -> Result<()> {
    if std::fs::symlink_metadata(root.join(place)).is_ok_and(|found| found.is_symlink()) {
        return Err(Error::failed_precondition(format!(
            "/{place} of the plugin is a symbolic link; its image must have a directory there"
        )));
    }
    Ok(())
}

fn start(launch: &Launch, files: &Files) -> Result<Instance> {
    let order = write(launch, files)?;
    let program = Program::protect(launch.shim.as_deref().unwrap_or(Path::new(OWN)))?;
    let (answer, write) = std::io::pipe().doing(|| "make a pipe")?;
    let streams = Streams { output: Some(write.into()), ..Streams::default() };
    let args = [OsStr::new("__shim"), files.run().as_os_str()];
    let child = program.spawn(&args, streams)?;
    let shim = Handle::of_child(child.id().cast_signed())?;
    match read(answer) {
        Ok(Answer::Started { init }) => {
            let handle = Handle::open(init)?;
            Ok(Instance::new(files.clone(), order, shim, init, handle))
        }
        Ok(Answer::Failed(failure)) => {
            end(&shim)?;
            Err(failure.into())
        }
        Err(error) => {
            end(&shim)?;
            Err(error)
        }
    }
}

/// Lets a shim that failed end, and reaps it.
fn end(shim: &Handle) -> Result<()> {
    if !shim.wait(Instant::now() + PATIENCE)? {
        kill_group_of_child(shim)?;
        shim.kill()?;
        shim.wait(Instant::now() + PATIENCE)?;
    }
    // What a killed shim had started may be at work.
    kill_group_of_child(shim)?;
    reap_one(shim.identity().pid);
    Ok(())
}

/// The bundle and the order.
fn write(launch: &Launch, files: &Files) -> Result<Order> {
    let mut spec = launch.spec.clone();
    let named = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
    let cgroup = named.unwrap_or_else(|| clean::default_cgroup(&launch.id));
    if let Some(linux) = spec.linux_mut() {
        linux.set_cgroups_path(Some(cgroup.clone()));
    }
    let order = Order {
        id: launch.id.clone(),
        runtime: launch.runtime.clone(),
        shim: launch.shim.clone(),
        log: launch.log.clone(),
        log_limits: launch.log_limits,
        cgroup,
        uid: spec.process().as_ref().map_or(0, |process| process.user().uid()),
    };
    for directory in [files.run().to_owned(), files.bundle(), files.containers()] {
        make_dir(&directory, 0o700)?;
    }
    if launch.runtime == Runtime::BuiltIn {
        split_filter(&mut spec, files)?;
        files.write_mounts(&mounts::split(&mut spec, files.run())?)?;
    }
    let config = files.bundle().join("config.json");
    write_atomic(&config, &encode(&spec)?, Durability::Volatile)?;
    files.write_order(&order)?;
    Ok(order)
}

/// Takes the system call filter out of the spec where we can set it ourselves: where it takes no
/// capability to do so. Further commands get it in any case, which libcontainer does not see to.
fn split_filter(spec: &mut Spec, files: &Files) -> Result<()> {
    let no_new_privileges = spec.process().as_ref().and_then(Process::no_new_privileges);
    let Some(linux) = spec.linux_mut().as_mut() else { return Ok(()) };
    let Some(profile) = linux.seccomp() else { return Ok(()) };
    files.write_filter(&filter::program(profile)?)?;
    if no_new_privileges == Some(true) {
        linux.set_seccomp(None);
    }
    Ok(())
}

/// The shim's answer: one line of JSON, and the end.
fn read(answer: PipeReader) -> Result<Answer> {
    let until = Instant::now() + DEADLINE;
    let mut answer = answer.take(ANSWER);
    let mut said = Vec::new();
    loop {
        if !host::watch::readable(&[answer.get_ref()], Some(until))?[0] {
            let seconds = DEADLINE.as_secs();
            let text = format!("the plugin's container was not made within {seconds} s");
            return Err(Error::deadline_exceeded(text));
        }
        let mut buffer = [0; 4 << 10];
        match answer.read(&mut buffer).doing(|| "read the shim's answer")? {
            0 => break,
            count => said.extend_from_slice(&buffer[..count]),
        }
    }
    serde_json::from_slice(&said).map_err(|error| {
        Error::internal("the plugin's shim ended before it had started the plugin").because(error)
    })
}
