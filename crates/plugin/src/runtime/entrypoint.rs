//! Whether a plugin's program can be executed at all: there, executable, made for this machine.
//! What only the kernel knows shows when it is executed.

use error::{Error, Kind, Result};
use oci_spec::runtime::{Mount, Spec};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where interpreters of foreign programs are registered (binfmt_misc).
const FOREIGN: &str = "/proc/sys/fs/binfmt_misc";
/// Machines by their number in ELF headers (elf(5), e_machine).
const MACHINES: [(u16, &str); 9] = [
    (3, "x86"),
    (8, "mips"),
    (20, "powerpc"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
];

/// `FailedPrecondition` when the program of the spec can't be executed.
pub(super) fn check(spec: &Spec) -> Result<()> {
    let args = spec.process().as_ref().and_then(|process| process.args().as_deref());
    let Some(program) = args.and_then(|args| args.first()).filter(|name| !name.is_empty()) else {
        return Err(Error::invalid_argument("the plugin has no entrypoint"));
    };
    let Some(root) = spec.root() else { return Ok(()) };
    for candidate in candidates(spec, program) {
        if is_mounted_over(spec, &candidate) {
            return Ok(());
        }
        match host::exec::open_inside(root.path(), &candidate) {
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
            Ok(file) => return examine(file, &candidate),
        }
    }
    Err(Error::failed_precondition(format!(
        "the plugin's entrypoint {program} is not in its root file system"
    )))
}

fn is_missing(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|s| s.downcast_ref::<std::io::Error>());
    error.kind() == Kind::NotFound
        || source.is_some_and(|source| source.kind() == std::io::ErrorKind::NotADirectory)
}

/// The absolute paths that `program` may mean.
fn candidates(spec: &Spec, program: &str) -> Vec<PathBuf> {
    let process = spec.process().as_ref();
    if program.contains('/') {
        let directory = process.map_or(Path::new("/"), |process| process.cwd().as_path());
        return vec![directory.join(program)];
    }
    let environment = process.and_then(|process| process.env().clone()).unwrap_or_default();
    let path = environment.iter().find_map(|entry| entry.strip_prefix("PATH="));
    path.unwrap_or_default().split(':').map(|dir| Path::new("/").join(dir).join(program)).collect()
}

/// Whether it comes from elsewhere than the root file system.
fn is_mounted_over(spec: &Spec, program: &Path) -> bool {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mut targets = mounts.iter().map(Mount::destination);
    targets.any(|target| target != Path::new("/") && program.starts_with(target))
}

fn examine(mut file: File, program: &Path) -> Result<()> {
    let refuse = |why: &str| {
        let text = format!("the plugin's entrypoint {} {why}", program.display());
        Err(Error::failed_precondition(text))
    };
    let meta = file.metadata().map_err(|error| Error::io("look at the entrypoint", error))?;
    if !meta.is_file() {
        return refuse("is no file");
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return refuse("is not executable");
    }
    let mut header = Vec::new();
    let reading = |error| Error::io("read the entrypoint", error);
    file.by_ref().take(20).read_to_end(&mut header).map_err(reading)?;
    match machine(&header) {
        _ if has_foreign_interpreters() => Ok(()),
        Some(made_for) if made_for == std::env::consts::ARCH => Ok(()),
        Some(made_for) => {
            refuse(&format!("was made for {made_for}; this machine is {}", std::env::consts::ARCH))
        }
        None if header.starts_with(b"#!") => Ok(()),
        None => refuse("is neither an ELF program nor a script (exec format error)"),
    }
}

/// The machine that an ELF program was made for.
fn machine(header: &[u8]) -> Option<String> {
    let bytes = [*header.get(18)?, *header.get(19)?];
    if !header.starts_with(b"\x7fELF") {
        return None;
    }
    let is_big_endian = header[5] == 2;
    let number = if is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    let name = MACHINES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    Some(name.map_or_else(|| format!("machine {number}"), str::to_owned))
}

fn has_foreign_interpreters() -> bool {
    let is_entry = |name: &std::ffi::OsStr| name != "register" && name != "status";
    std::fs::read_dir(FOREIGN)
        .is_ok_and(|entries| entries.flatten().any(|entry| is_entry(&entry.file_name())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{MountBuilder, ProcessBuilder, RootBuilder, SpecBuilder};

    fn spec(root: &Path, program: &str) -> Spec {
        let process = ProcessBuilder::default()
            .args([program.to_owned()])
            .env(["PATH=/usr/bin:/bin".to_owned()])
            .cwd("/")
            .build()
            .unwrap();
        let root = RootBuilder::default().path(root).build().unwrap();
        SpecBuilder::default().process(process).root(root).mounts([]).build().unwrap()
    }

    fn put(root: &Path, name: &str, bytes: &[u8], mode: u32) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(root: &Path, program: &str) -> String {
        check(&spec(root, program)).unwrap_err().message().to_owned()
    }

    fn elf(machine: u8) -> Vec<u8> {
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(18, 0);
        header.extend([machine, 0]);
        header
    }

    #[test]
    fn programs_of_this_machine_and_scripts_are_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let own = MACHINES.iter().find(|(_, name)| *name == std::env::consts::ARCH).unwrap().0;
        put(dir.path(), "bin/own", &elf(u8::try_from(own).unwrap()), 0o755);
        put(dir.path(), "script", b"#!/bin/sh\n", 0o700);
        std::os::unix::fs::symlink("/bin/own", dir.path().join("link")).unwrap();
        for program in ["/bin/own", "own", "/script", "/link", "bin/../link"] {
            check(&spec(dir.path(), program)).unwrap();
        }
    }

    #[test]
    fn what_can_not_be_executed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "data", b"hello", 0o644);
        put(dir.path(), "text", b"hello", 0o755);
        put(dir.path(), "alpha", &elf(41), 0o755);
        assert!(refusal(dir.path(), "/none").contains("/none is not in its root file system"));
        assert!(refusal(dir.path(), "/data").contains("is not executable"));
        assert!(refusal(dir.path(), "/").contains("is no file"));
        if !has_foreign_interpreters() {
            assert!(refusal(dir.path(), "/text").contains("exec format error"));
            assert!(refusal(dir.path(), "/alpha").contains("was made for machine 41"));
        }
    }

    #[test]
    fn a_link_out_of_the_root_finds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("../../../../bin/sh", dir.path().join("sh")).unwrap();
        assert!(refusal(dir.path(), "/sh").contains("is not in its root file system"));
    }

    #[test]
    fn a_program_on_a_mount_is_left_to_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = spec(dir.path(), "/opt/tool");
        let mount = MountBuilder::default().destination("/opt").source("/x").build().unwrap();
        spec.set_mounts(Some(vec![mount]));
        check(&spec).unwrap();
    }
}
