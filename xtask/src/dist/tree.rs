//! The files of an installation, as the archive has them and the packages begin with.

use super::{Architecture, Release};
use crate::workspace;
use error::{IoContext, Result};
use mobula::cli::completion::{Shell, script};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Documents that go along.
const DOCUMENTS: [&str; 3] = ["LICENSE", "README.md", "CHANGELOG.md"];

/// A directory with `bin/`, `share/` and `etc/`.
pub(crate) struct Tree {
    /// `mobula-VERSION-linux-ARCH`.
    pub(crate) name: String,
    /// What its program runs on.
    pub(crate) architecture: Architecture,
    dir: PathBuf,
}

impl Tree {
    /// Makes it below `parent`.
    pub(crate) fn make(
        release: &Release,
        architecture: Architecture,
        binary: &Path,
        parent: &Path,
    ) -> Result<Self> {
        let name = format!("mobula-{}-linux-{}", release.version, architecture.name);
        let tree = Self { dir: parent.join(&name), name, architecture };
        tree.put("bin/mobula", &read(binary)?, 0o755)?;
        for (page, text) in mobula::cli::man::pages()? {
            tree.put(&format!("share/man/man1/{page}"), &text, 0o644)?;
        }
        for (path, shell) in [
            ("share/bash-completion/completions/mobula", Shell::Bash),
            ("share/zsh/site-functions/_mobula", Shell::Zsh),
            ("share/fish/vendor_completions.d/mobula.fish", Shell::Fish),
        ] {
            tree.put(path, script(shell).as_bytes(), 0o644)?;
        }
        for document in DOCUMENTS {
            let text = read(&workspace::root().join(document))?;
            tree.put(&format!("share/doc/mobula/{document}"), &text, 0o644)?;
        }
        let example = read(&workspace::root().join("packaging/mobula.yml"))?;
        tree.put("etc/mobula/mobula.example.yml", &example, 0o644)?;
        Ok(tree)
    }

    /// The directory that it is in.
    pub(crate) fn parent(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// A copy as a package has it, below /usr and /etc, in the directory `name` beside it.
    pub(crate) fn packaged(&self, name: &str) -> Result<PathBuf> {
        let root = self.parent().join(name);
        for (path, mode) in self.files(&self.dir)? {
            let below = path.strip_prefix(&self.dir).unwrap_or(&path);
            let to = if below.starts_with("etc") {
                below.to_owned()
            } else {
                Path::new("usr").join(below)
            };
            put(&root.join(to), &read(&path)?, mode)?;
        }
        Ok(root)
    }

    fn files(&self, dir: &Path) -> Result<Vec<(PathBuf, u32)>> {
        let doing = || format!("list {}", dir.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).doing(doing)? {
            let entry = entry.doing(doing)?;
            let meta = entry.metadata().doing(doing)?;
            if meta.is_dir() {
                found.extend(self.files(&entry.path())?);
            } else {
                found.push((entry.path(), meta.permissions().mode() & 0o777));
            }
        }
        Ok(found)
    }

    fn put(&self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        put(&self.dir.join(path), bytes, mode)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).doing(|| format!("read {}", path.display()))
}

/// Writes a file with this mode, and the directories above it, whatever the umask.
pub(super) fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let mut missing: Vec<&Path> =
        path.ancestors().skip(1).take_while(|dir| !dir.exists()).collect();
    while let Some(dir) = missing.pop() {
        std::fs::create_dir(dir).doing(doing)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).doing(doing)?;
    }
    std::fs::write(path, bytes).doing(doing)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).doing(doing)
}
