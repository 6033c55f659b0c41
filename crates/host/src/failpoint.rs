//! Numbered crash points: places where a test kills the program to see it repair itself.
//!
//! Without the cargo feature `failpoints` a point is nothing at all. With it, the process kills
//! itself with SIGKILL at the point whose running number stands in `MOBULA_KILL_AT` (1 is the first
//! point passed). A test runs an operation with 1, 2, 3 … until it is no longer killed, and so has
//! crashed it everywhere. `MOBULA_KILL_LOG` names a file to which the points passed are appended.

/// Marks a place between two durable steps. `name` is `file.step`, for the log of a failing test.
#[inline]
pub fn hit(name: &str) {
    #[cfg(feature = "failpoints")]
    armed::hit(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static KILL_AT: LazyLock<Option<u64>> =
        LazyLock::new(|| std::env::var("MOBULA_KILL_AT").ok()?.parse().ok());
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn hit(name: &str) {
        let Some(kill_at) = *KILL_AT else { return };
        let number = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(log) = std::env::var_os("MOBULA_KILL_LOG")
            && let Ok(mut log) = std::fs::OpenOptions::new().create(true).append(true).open(log)
        {
            let _ = writeln!(log, "{number} {name}");
        }
        if number == kill_at {
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
            // The signal is delivered before this thread returns to user space; be sure.
            loop {
                std::thread::park();
            }
        }
    }
}
