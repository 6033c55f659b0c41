//! A bare Debian: what debootstrap calls minbase, with curl to fetch and openssl to verify. It is
//! made from the machine's own package source once, and kept below target/.

use crate::release::{run, shown};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is added to the bare system. OpenRC is used by one test only; it is not running elsewhere.
const INCLUDED: &str = "curl,openssl,openrc";

/// A copy of it, in a mount namespace of this thread.
pub struct Chroot {
    dir: TempDir,
}

impl Chroot {
    /// Nothing runs in it, and no init system is its first process.
    pub fn new() -> Self {
        host::sandbox::private_mounts().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar");
        run(tar.args(["--numeric-owner", "-xpf"]).arg(debian()).arg("-C").arg(dir.path()));
        let chroot = Self { dir };
        for (args, at) in [
            (["-t", "proc", "proc"], "proc"),
            (["-t", "sysfs", "sys"], "sys"),
            (["-t", "tmpfs", "run"], "run"),
            (["--rbind", "--make-private", "/dev"], "dev"),
        ] {
            run(Command::new("mount").args(args).arg(chroot.at(at)));
        }
        chroot
    }

    pub fn at(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Puts a script there that can be run.
    pub fn put(&self, below: &str, text: &str) {
        std::fs::write(self.at(below), text).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.at(below), mode).unwrap();
    }

    /// Runs a line of shell in it.
    pub fn sh(&self, line: &str) -> Output {
        let mut chroot = Command::new("chroot");
        chroot.arg(self.dir.path()).args(["/bin/sh", "-c", line]).env_clear();
        chroot.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        chroot.env("HOME", "/root").env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        chroot.output().unwrap()
    }

    /// A line that must succeed; all it said.
    pub fn ok(&self, line: &str) -> String {
        let output = self.sh(line);
        assert!(output.status.success(), "{line}: {}\n{}", shown(&output), self.log());
        shown(&output)
    }

    /// A line that must fail and say all of `words`.
    pub fn fails(&self, line: &str, words: &[&str]) -> String {
        let output = self.sh(line);
        let said = shown(&output);
        assert!(!output.status.success(), "{line}: {said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        said
    }

    /// A line's exit code.
    pub fn code(&self, line: &str) -> Option<i32> {
        self.sh(line).status.code()
    }

    /// A call of Docker's volume plugin protocol, which must succeed.
    pub fn docker(&self, method: &str, body: &str) -> serde_json::Value {
        let socket = "--unix-socket /run/docker/plugins/mobula.sock";
        let url = format!("http://plugin/VolumeDriver.{method}");
        let mut output = self.sh(&format!("curl -sS {socket} -d '{body}' {url}"));
        let answer = serde_json::from_slice(&std::mem::take(&mut output.stdout));
        let answer: serde_json::Value =
            answer.unwrap_or_else(|_| panic!("{method}: {}\n{}", shown(&output), self.log()));
        assert_eq!(answer["Err"].as_str().unwrap_or_default(), "", "{method}: {answer}");
        answer
    }

    /// The process of the agent, if one runs.
    pub fn agent(&self) -> Option<String> {
        let output = self.sh("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | \
             grep -q '/mobula start $' && [ \"$(readlink $p/root)\" = / ] && echo ${p#/proc/}; done");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().next().map(str::to_owned)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.at("var/log/mobula.log")).unwrap_or_default()
    }
}

impl Drop for Chroot {
    fn drop(&mut self) {
        // What runs in it, and nothing else.
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let is_inside = std::fs::read_link(entry.path().join("root"))
                .is_ok_and(|root| root == self.dir.path());
            if is_inside {
                let _ = Command::new("kill").arg("-KILL").arg(entry.file_name()).output();
            }
        }
        let _ = Command::new("umount").args(["-R", "-l"]).arg(self.at("run")).output();
        for at in ["dev", "sys", "proc"] {
            let _ = Command::new("umount").args(["-R", "-l"]).arg(self.at(at)).output();
        }
    }
}

/// Polls until it holds.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The archive of the bare system; made when it is not there.
fn debian() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let (mirror, suite) = source();
        let name = format!("{suite}-{}.tar", INCLUDED.replace(',', "-"));
        let archive = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if !archive.exists() {
            bootstrap(&mirror, &suite, &archive);
        }
        archive
    })
}

/// Where this machine has its own packages from, and of which suite they are.
fn source() -> (String, String) {
    find_source().unwrap_or_else(|| {
        // Without its lists apt does not know whose they are.
        run(Command::new("apt-get").args(["update", "-qq"]));
        find_source().expect("apt has a source of Debian's")
    })
}

fn find_source() -> Option<(String, String)> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"]);
    let targets = run(targets.args(["Created-By: Packages", "Origin: Debian", "Label: Debian"]));
    let main = targets.lines().filter_map(|line| line.strip_suffix(" main"));
    let mut pairs = main.filter_map(|line| line.split_once(' '));
    let is_whole = |(_, suite): &(&str, &str)| !suite.contains('-');
    pairs.find(is_whole).map(|(mirror, suite)| (mirror.to_owned(), suite.to_owned()))
}

fn bootstrap(mirror: &str, suite: &str, archive: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.arg("--variant=minbase").arg(format!("--include={INCLUDED}"));
    run(debootstrap.args([suite]).arg(dir.path()).arg(mirror));
    let packages = dir.path().join("var/cache/apt/archives");
    std::fs::remove_dir_all(packages).unwrap();
    let partial = archive.with_extension(format!("{}", std::process::id()));
    let mut tar = Command::new("tar");
    tar.args(["--one-file-system", "--numeric-owner", "--exclude=./dev/*", "-cf"]).arg(&partial);
    run(tar.arg("-C").arg(dir.path()).arg("."));
    std::fs::rename(&partial, archive).unwrap();
}
