//! What the checks' own tests share.

use super::{Finding, Patient, Tell};
use crate::config::Overrides;
use crate::paths::Paths;
use std::path::{Path, PathBuf};

/// A machine in a directory.
pub(super) struct Home(tempfile::TempDir);

pub(super) fn home() -> Home {
    Home(tempfile::tempdir().unwrap())
}

impl Home {
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub(super) fn paths(&self) -> Paths {
        Paths::at(self.0.path())
    }

    pub(super) fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(super) fn configure(&self, text: &str) {
        self.write("etc/mobula/mobula.yml", text);
    }

    pub(super) fn make_dir(&self, below: &str) -> PathBuf {
        let path = self.path(below);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(super) fn patient(&self) -> Patient {
        Patient::new(self.paths(), &Overrides::default(), false)
    }

    pub(super) fn mending(&self) -> Patient {
        Patient { mends: true, ..self.patient() }
    }
}

/// What a group finds.
pub(super) fn found(check: fn(&Patient, Tell<'_>), patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    check(patient, &mut |finding| findings.push(finding));
    findings
}

/// The findings of one check about one thing.
pub(super) fn about<'a>(findings: &'a [Finding], check: &str, path: &Path) -> Vec<&'a Finding> {
    let shown = path.display().to_string();
    findings.iter().filter(|f| f.check == check && f.looked_at.contains(&shown)).collect()
}
