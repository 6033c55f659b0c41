//! Releases to install: one of the real program, made once, and small ones of a program that only
//! tells its version.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The version of every release here.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The name of the archive for this machine.
pub fn archive() -> String {
    format!("mobula-{VERSION}-linux-{}.tar.gz", std::env::consts::ARCH)
}

/// A signed release.
pub struct Release {
    /// Its files.
    pub dir: PathBuf,
    /// The key that it is signed with, and the public one.
    pub key: Key,
    _scratch: TempDir,
}

/// A pair of minisign keys.
pub struct Key {
    pub secret: PathBuf,
    pub public: PathBuf,
}

impl Key {
    /// A new pair in `dir`, without a password.
    pub fn new(dir: &Path) -> Self {
        let key = Self { secret: dir.join("key"), public: dir.join("key.pub") };
        let mut minisign = Command::new("minisign");
        minisign.arg("-GWf").arg("-s").arg(&key.secret).arg("-p").arg(&key.public);
        run(&mut minisign);
        key
    }

    /// Signs the list of `dir` with it.
    pub fn sign(&self, dir: &Path) {
        let mut minisign = Command::new("minisign");
        run(minisign.arg("-S").arg("-s").arg(&self.secret).arg("-m").arg(dir.join("SHA256SUMS")));
    }

    /// The public key as text.
    pub fn text(&self) -> String {
        let text = std::fs::read_to_string(&self.public).unwrap();
        text.lines().find(|line| line.starts_with("RW")).unwrap().to_owned()
    }
}

/// Runs a command, which must succeed; its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", shown(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What a program said, on both streams.
pub fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// The program of this build: it stands beside the tests' own.
pub fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("mobula");
    assert!(path.exists(), "{} is not built; cargo build -p mobula", path.display());
    path
}

impl Release {
    /// The release of a program.
    pub fn of(program: &Path) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let key = Key::new(scratch.path());
        let dir = scratch.path().join("dist");
        dist(program, &dir, Some(&key));
        Self { dir, key, _scratch: scratch }
    }

    /// The release of the real program; made once, for it takes its time.
    pub fn real() -> &'static Self {
        static REAL: OnceLock<Release> = OnceLock::new();
        REAL.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let stripped = dir.path().join("mobula");
            run(Command::new("strip").arg("-o").arg(&stripped).arg(program()));
            Self::of(&stripped)
        })
    }

    /// A small release, whose program is [`small_program`].
    pub fn small() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("mobula");
        std::fs::write(&program, small_program()).unwrap();
        Self::of(&program)
    }

    /// The script that installs it.
    pub fn script(&self) -> PathBuf {
        self.dir.join("install.sh")
    }

    /// The file of it with this ending.
    pub fn find(&self, ending: &str) -> PathBuf {
        let paths = std::fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let is_it = |path: &PathBuf| path.extension().is_some_and(|end| end == ending);
        paths.into_iter().find(is_it).unwrap()
    }

    /// Writes the list of checksums anew, signed by nobody.
    pub fn sum(&self) {
        let list = std::fs::read_to_string(self.dir.join("SHA256SUMS")).unwrap();
        let names = list.lines().filter_map(|line| line.split_whitespace().nth(1));
        let sums = run(Command::new("sha256sum").current_dir(&self.dir).args(names));
        std::fs::write(self.dir.join("SHA256SUMS"), sums).unwrap();
    }
}

/// Runs `cargo xtask dist`.
pub fn dist(program: &Path, out: &Path, key: Option<&Key>) -> String {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.args(["dist", "--quick", "--binary"]).arg(program).arg("--out").arg(out);
    if let Some(key) = key {
        xtask.arg("--key").arg(&key.secret).arg("--public-key").arg(&key.public);
    }
    run(&mut xtask)
}

/// The smallest program that an installer accepts: it writes the version and ends, whatever it is
/// asked. Two system calls behind an ELF header; a compiler would take longer than all of the test.
pub fn small_program() -> Vec<u8> {
    let text = format!("{VERSION}\n");
    let length = u8::try_from(text.len()).unwrap();
    let mut code: Vec<u8> = match std::env::consts::ARCH {
        // mov eax,1; mov edi,1; lea rsi,[rip+16]; mov edx,length; syscall; mov eax,60; xor edi,edi;
        // syscall
        "x86_64" => [
            &[0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 16, 0, 0, 0][..],
            &[0xba, length, 0, 0, 0, 0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05],
        ]
        .concat(),
        // mov x8,64; mov x0,1; adr x1,.+24; mov x2,length; svc 0; mov x8,93; mov x0,0; svc 0
        "aarch64" => [
            0xd280_0808_u32,
            0xd280_0020,
            0x1000_00c1,
            0xd280_0002 | u32::from(length) << 5,
            0xd400_0001,
            0xd280_0ba8,
            0xd280_0000,
            0xd400_0001,
        ]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect(),
        other => panic!("no small program for {other}"),
    };
    code.extend(text.as_bytes());
    elf(&code)
}

/// A program of one segment at 4 MiB.
fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let machine: u16 = if std::env::consts::ARCH == "x86_64" { 62 } else { 183 };
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend([1_u32.to_le_bytes(), 5_u32.to_le_bytes()].concat());
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}
