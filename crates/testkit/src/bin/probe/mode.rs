//! How the probe behaves as a process. `PROBE_MODE` is a list, separated by commas, of
//!
//! | mode | effect |
//! |---|---|
//! | `nolisten` | runs, without a socket |
//! | `hang-accept` | listens and never answers |
//! | `slow-listen:MS` | listens that much later |
//! | `exit:N` | ends at once with this code |
//! | `crash-at-start[:N]` | is killed by a signal at every start, or at the first N |
//! | `crash-later` | the same at every start but the first |
//! | `ignore-term` | ends only by SIGKILL |
//! | `stderr:TEXT` | writes a line to its standard error first |
//! | `flood:BYTES` | writes that much to its standard output, in lines |
//! | `memory-hog:MIB` | fills that much memory |
//! | `fork-bomb:N` | starts that many processes which stay |

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MIB: usize = 1024 * 1024;
/// The argument of processes that only are there.
const SLEEPER: &str = "__sleeper";

/// What `PROBE_MODE` says.
pub(crate) struct Mode {
    words: Vec<(String, String)>,
    children: AtomicU64,
}

/// Whether this process was started only to be there.
pub(crate) fn is_sleeper() -> bool {
    std::env::args().nth(1).is_some_and(|argument| argument == SLEEPER)
}

impl Mode {
    pub(crate) fn parse(text: &str) -> Self {
        let word = |word: &str| {
            let (name, value) = word.split_once(':').unwrap_or((word, ""));
            (name.trim().to_owned(), value.to_owned())
        };
        Self { words: text.split(',').map(word).collect(), children: AtomicU64::new(0) }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.words.iter().find(|word| word.0 == name).map(|word| word.1.as_str())
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.value(name).and_then(|value| value.parse().ok())
    }

    pub(crate) fn listens(&self) -> bool {
        self.value("nolisten").is_none()
    }

    pub(crate) fn accepts(&self) -> bool {
        self.value("hang-accept").is_none()
    }

    pub(crate) fn ends_when_told(&self) -> bool {
        self.value("ignore-term").is_none()
    }

    /// Processes that a fork bomb has got.
    pub(crate) fn children(&self) -> u64 {
        self.children.load(Ordering::Relaxed)
    }

    /// What comes before the socket, if it comes at all.
    pub(crate) fn before_listening(&self, root: &Path) {
        if let Some(text) = self.value("stderr") {
            eprintln!("{text}");
        }
        if let Some(code) = self.number("exit") {
            std::process::exit(i32::try_from(code).unwrap_or(1));
        }
        let starts = count_starts(root);
        let crashes_first = self
            .value("crash-at-start")
            .is_some_and(|times| times.parse().map_or(true, |times: u64| starts <= times));
        if crashes_first || (self.value("crash-later").is_some() && starts > 1) {
            std::process::abort();
        }
        if let Some(millis) = self.number("slow-listen") {
            std::thread::sleep(Duration::from_millis(millis as u64));
        }
    }

    /// What goes on beside answering.
    pub(crate) fn on_the_side(self: &std::sync::Arc<Self>) {
        if let Some(bytes) = self.number("flood") {
            std::thread::spawn(move || flood(bytes));
        }
        if let Some(mib) = self.number("memory-hog") {
            std::thread::spawn(move || fill_memory(mib));
        }
        if let Some(count) = self.number("fork-bomb") {
            let mode = self.clone();
            std::thread::spawn(move || mode.multiply(count));
        }
    }

    #[allow(clippy::disallowed_methods)] // This program is tested with, not part of the product.
    fn multiply(&self, count: usize) {
        let mut children = Vec::new();
        for _ in 0..count {
            if let Ok(child) = Command::new("/proc/self/exe").arg(SLEEPER).spawn() {
                children.push(child);
                self.children.fetch_add(1, Ordering::Relaxed);
            }
        }
        println!("{} of {count} processes", children.len());
    }
}

/// Counts this start in a file that outlives the process.
fn count_starts(root: &Path) -> u64 {
    let path = root.join("starts");
    let before = std::fs::read_to_string(&path).ok().and_then(|text| text.parse().ok());
    let starts = before.unwrap_or(0) + 1;
    let _ = std::fs::create_dir_all(root);
    let _ = std::fs::write(path, starts.to_string());
    starts
}

fn flood(bytes: usize) {
    let line = format!("{}\n", "flood ".repeat(20));
    let mut out = std::io::stdout().lock();
    for _ in 0..bytes.div_ceil(line.len()) {
        if out.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

fn fill_memory(mib: usize) {
    let mut held = Vec::new();
    for _ in 0..mib {
        held.push(std::hint::black_box(vec![1u8; MIB]));
    }
    println!("{} MiB filled", held.len());
    loop {
        std::thread::park();
    }
}
