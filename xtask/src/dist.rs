//! `cargo xtask dist`: everything of a release, out of built programs.
//!
//! ```text
//! program ─▶ tree (man pages, completions, examples) ─▶ .tar.gz, .deb, .rpm ─┐
//! cargo metadata ─▶ SBOM ──────────────────────────────────────────────────┼▶ SHA256SUMS ─▶ .minisig
//! packaging/install.sh, with version and public key ─────────────────────────┘
//! ```
//!
//! The same input gives the same bytes: names are sorted, and everything has the age of the commit,
//! or of SOURCE_DATE_EPOCH.

mod deb;
mod rpm;
mod sbom;
mod sign;
mod tree;

use crate::{program, release, workspace};
use clap::Args;
use error::{Error, IoContext, Result};
use std::path::{Path, PathBuf};

/// Make the files of a release: archives, packages, SBOM, checksums, installer.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A program that is built already, instead of building one (repeatable, for several
    /// architectures).
    #[arg(long = "binary", value_name = "FILE")]
    binaries: Vec<PathBuf>,

    /// Where the files go, instead of target/dist.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// The minisign secret key to sign the checksums with; without one they are not signed.
    #[arg(long, value_name = "FILE", requires = "public_key")]
    key: Option<PathBuf>,

    /// The minisign public key that belongs to it, for the installer.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,

    /// Compress as fast as possible instead of as well as possible: for tests.
    #[arg(long)]
    quick: bool,
}

/// What every file of a release is made with.
pub(crate) struct Release {
    /// Its version.
    version: &'static str,
    /// The age of everything in it, in seconds since 1970.
    epoch: u64,
    /// Where its files go.
    out: PathBuf,
    /// Whether speed matters more than size.
    quick: bool,
}

/// A processor architecture, with the names that packages have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Architecture {
    name: &'static str,
    debian: &'static str,
    /// As in the header of an ELF file.
    elf: u16,
}

const ARCHITECTURES: [Architecture; 2] = [
    Architecture { name: "x86_64", debian: "amd64", elf: 62 },
    Architecture { name: "aarch64", debian: "arm64", elf: 183 },
];

impl Arguments {
    /// Makes the files.
    pub(crate) fn run(&self) -> Result<()> {
        let out = self.out.clone().unwrap_or_else(|| workspace::root().join("target/dist"));
        let out = std::path::absolute(&out).doing(|| format!("find {}", out.display()))?;
        let release = Release { version: mobula::VERSION, epoch: epoch()?, out, quick: self.quick };
        release.empty_out()?;
        let built;
        let binaries = if self.binaries.is_empty() {
            built = [release::build(&["mobula"])?.program("mobula")?];
            &built[..]
        } else {
            &self.binaries
        };
        for binary in binaries {
            release.pack(binary)?;
        }
        sbom::write(&release)?;
        sign::installer(&release, self.public_key.as_deref())?;
        sign::checksums(&release)?;
        match &self.key {
            Some(key) => sign::sign(&release, key)?,
            None => println!("SHA256SUMS is not signed: no --key was given"),
        }
        for file in release.files()? {
            println!("{}", release.out.join(file).display());
        }
        Ok(())
    }
}

impl Release {
    /// An empty directory for the files. What is not of a release is not thrown away.
    fn empty_out(&self) -> Result<()> {
        std::fs::create_dir_all(&self.out).doing(|| format!("make {}", self.out.display()))?;
        for file in self.files()? {
            let is_ours = ["mobula", "SHA256SUMS", "install.sh"];
            if !is_ours.iter().any(|prefix| file.starts_with(prefix)) {
                return Err(Error::failed_precondition(format!(
                    "{} has {file} in it, which is of no release; give another --out",
                    self.out.display()
                )));
            }
            let path = self.out.join(&file);
            std::fs::remove_file(&path).doing(|| format!("remove {}", path.display()))?;
        }
        Ok(())
    }

    /// The names of the files that are there, sorted.
    fn files(&self) -> Result<Vec<String>> {
        let doing = || format!("list {}", self.out.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.out).doing(doing)? {
            names.push(entry.doing(doing)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn pack(&self, binary: &Path) -> Result<()> {
        let architecture = architecture(binary)?;
        let scratch = Scratch::new(&self.out)?;
        let tree = tree::Tree::make(self, architecture, binary, &scratch.0)?;
        self.tarball(&tree)?;
        deb::write(self, &tree)?;
        rpm::write(self, &tree)
    }

    fn tarball(&self, tree: &tree::Tree) -> Result<()> {
        let archive = self.out.join(format!("{}.tar", tree.name));
        let mut tar = program::command(program::get("tar")?);
        tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]);
        tar.arg(format!("--mtime=@{}", self.epoch)).arg("-cf").arg(&archive);
        tar.arg("-C").arg(tree.parent()).arg(&tree.name);
        program::run(&mut tar, b"")?;
        program::run(
            program::command(program::get("gzip")?)
                .arg(if self.quick { "-1nf" } else { "-9nf" })
                .arg(&archive),
            b"",
        )?;
        Ok(())
    }
}

/// A directory beside the results; gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(out: &Path) -> Result<Self> {
        let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dir = out.with_file_name(format!(".{name}.{}", std::process::id()));
        std::fs::create_dir_all(&dir).doing(|| format!("make {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The age of a release: SOURCE_DATE_EPOCH, or that of the commit.
fn epoch() -> Result<u64> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return epoch.trim().parse().map_err(|_| {
            Error::invalid_argument(format!("SOURCE_DATE_EPOCH is no number of seconds: {epoch}"))
        });
    }
    let mut git = program::command("git");
    git.current_dir(workspace::root()).args(["log", "-1", "--format=%ct"]);
    let shown = program::run(&mut git, b"").map_err(|error| {
        Error::failed_precondition("the age of a release is unknown; set SOURCE_DATE_EPOCH")
            .because(error)
    })?;
    let seconds = String::from_utf8_lossy(&shown).trim().parse();
    seconds.map_err(|_| Error::failed_precondition("git knows no commit; set SOURCE_DATE_EPOCH"))
}

/// What a program was built for.
fn architecture(binary: &Path) -> Result<Architecture> {
    use std::io::Read;
    let doing = || format!("read {}", binary.display());
    let mut head = [0; 20];
    std::fs::File::open(binary).and_then(|mut file| file.read_exact(&mut head)).doing(doing)?;
    let machine = u16::from_le_bytes([head[18], head[19]]);
    let known = ARCHITECTURES.into_iter().find(|known| known.elf == machine);
    known.filter(|_| head.starts_with(b"\x7fELF")).ok_or_else(|| {
        Error::invalid_argument(format!(
            "{} is no ELF program for x86_64 or aarch64",
            binary.display()
        ))
    })
}
