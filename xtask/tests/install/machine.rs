//! A directory that stands for a machine, and the installer run on it.

use crate::release::{Release, shown};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A root directory without anything in it, and a directory of programs for the PATH.
pub struct Machine {
    dir: TempDir,
}

/// What is at a path: inode (a file that was replaced by its like has another), mode, contents.
type Found = (u64, u32, Vec<u8>);

impl Machine {
    pub fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        for dir in ["root", "tmp", "programs"] {
            std::fs::create_dir(machine.path(dir)).unwrap();
        }
        machine
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub fn at(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    pub fn tmp(&self) -> PathBuf {
        self.path("tmp")
    }

    pub fn put(&self, below: &str, text: &str) {
        std::fs::create_dir_all(self.at(below).parent().unwrap()).unwrap();
        std::fs::write(self.at(below), text).unwrap();
    }

    /// A program that is found before the machine's own.
    pub fn program(&self, name: &str, script: &str) {
        let path = self.path("programs").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// From now on these programs of the real machine are not there.
    pub fn without(&self, missing: &[&str]) {
        for dir in ["/bin", "/sbin", "/usr/bin", "/usr/sbin"] {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let name = entry.file_name();
                if !missing.iter().any(|missing| name == *missing) {
                    let _ = symlink(entry.path(), self.path("programs").join(name));
                }
            }
        }
        std::fs::write(self.path("only"), "").unwrap();
    }

    /// The installer of a release, on this machine, fetching from `url`.
    pub fn installer(&self, shell: &[&str], release: &Release, url: &str) -> Command {
        let programs = self.path("programs").display().to_string();
        let path = if self.path("only").exists() {
            programs
        } else {
            format!("{programs}:/usr/sbin:/usr/bin:/sbin:/bin")
        };
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(release.script()).arg("--root").arg(self.root());
        command.env_clear().env("PATH", path).env("TMPDIR", self.tmp()).env("MOBULA_URL", url);
        command.stdin(Stdio::null());
        command
    }

    /// Runs the installer with further arguments.
    pub fn install(&self, release: &Release, url: &str, more: &[&str]) -> Output {
        self.installer(&["/bin/sh"], release, url).args(more).output().unwrap()
    }

    /// Everything on the machine.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Found> {
        let mut found = BTreeMap::new();
        collect(&self.root(), &mut found);
        found
    }

    /// The installer must fail, say all of `words`, and leave machine and temporary directory as
    /// they were.
    pub fn refuses(&self, command: &mut Command, words: &[&str]) -> String {
        let before = self.snapshot();
        let output = command.output().unwrap();
        let said = shown(&output);
        assert!(!output.status.success(), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert_eq!(names(&self.snapshot()), names(&before), "{said}");
        assert!(self.snapshot() == before, "a file was replaced: {said}");
        let left: Vec<_> = std::fs::read_dir(self.tmp()).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        said
    }
}

pub fn names(found: &BTreeMap<PathBuf, Found>) -> Vec<&Path> {
    found.keys().map(PathBuf::as_path).collect()
}

fn collect(dir: &Path, found: &mut BTreeMap<PathBuf, Found>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            collect(&path, found);
        }
        let bytes = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        found.insert(path, (meta.ino(), meta.mode(), bytes));
    }
}
