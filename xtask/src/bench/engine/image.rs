//! The plugins that are measured: a small program, and files beside it that make it large.

use error::{IoContext, Result};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// The socket of every plugin.
pub(super) const SOCKET: &str = "probe.sock";
/// Bytes of a file of text.
const TEXT: usize = 20 << 10;
/// Bytes of a file that can't be compressed.
const NOISE: usize = 1 << 20;
/// Files of text are spread over so many directories.
const DIRECTORIES: usize = 40;
const LETTERS: &[u8] = b"etaoinshrdlucmfwyp";

/// Makes in `dir` what `docker plugin create` takes: `program`, `megabytes` of files, of which 40 %
/// can't be compressed, and `label`, which tells this plugin from others.
pub(super) fn make(dir: &Path, program: &Path, megabytes: usize, label: &str) -> Result<PathBuf> {
    let root = dir.join("rootfs");
    let make = || {
        fs::create_dir_all(root.join("usr/bin"))?;
        fs::create_dir_all(root.join("mnt/probe"))?;
        fs::copy(program, root.join("probe"))?;
        fs::write(root.join("label"), label)?;
        fs::write(dir.join("config.json"), config(label).to_string())?;
        fill(&root, megabytes)
    };
    make().doing(|| format!("make a plugin in {}", dir.display()))?;
    Ok(dir.to_owned())
}

fn config(label: &str) -> serde_json::Value {
    json!({
        "description": format!("benchmark {label}"),
        "documentation": "",
        "interface": { "types": ["docker.volumedriver/1.0"], "socket": SOCKET },
        "entrypoint": ["/probe"],
        "workdir": "/",
        "network": { "type": "none" },
        "linux": { "capabilities": ["CAP_SYS_ADMIN"] },
        "propagatedMount": "/mnt/probe",
    })
}

fn fill(root: &Path, megabytes: usize) -> std::io::Result<()> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for number in 0..megabytes * 4 / 10 {
        let noise: Vec<u8> = (0..NOISE / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        fs::write(root.join(format!("usr/bin/b{number}")), noise)?;
    }
    let words: Vec<String> = (0..5000).map(|_| random.word()).collect();
    for number in 0..megabytes * 6 / 10 * (1 << 20) / TEXT {
        let dir = root.join(format!("usr/share/t{}", number % DIRECTORIES));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("f{number}.txt")), random.text(&words))?;
    }
    Ok(())
}

/// The same numbers in every run (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap_or(0) % bound
    }

    fn word(&mut self) -> String {
        let length = 2 + self.below(8);
        (0..length).map(|_| char::from(LETTERS[self.below(LETTERS.len())])).collect()
    }

    fn text(&mut self, words: &[String]) -> String {
        let mut text = String::with_capacity(TEXT + 16);
        while text.len() < TEXT {
            text.push_str(&words[self.below(words.len())]);
            text.push(' ');
        }
        text.truncate(TEXT);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_its_program_its_files_and_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        fs::write(&program, "x").unwrap();
        let made = make(&dir.path().join("plugin"), &program, 10, "ten").unwrap();
        let root = made.join("rootfs");
        assert_eq!(fs::read(root.join("probe")).unwrap(), b"x");
        assert_eq!(fs::read_dir(root.join("usr/bin")).unwrap().count(), 4);
        let text = fs::metadata(root.join("usr/share/t0/f0.txt")).unwrap();
        assert_eq!(text.len(), 20 << 10);
        let config = fs::read_to_string(made.join("config.json")).unwrap();
        assert!(config.contains(SOCKET), "{config}");
    }
}
