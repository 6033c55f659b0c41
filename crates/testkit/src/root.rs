//! Tests that need root: skipped for everybody else, except where nothing may be skipped.

use std::os::unix::fs::MetadataExt;

/// Whether this process is root; otherwise it says that the test is skipped.
///
/// # Panics
/// When it is not root though `CI` is set: there every test must run.
#[must_use]
pub fn is_root() -> bool {
    let own = std::fs::metadata("/proc/self").expect("/proc is mounted");
    let is_root = own.uid() == 0;
    assert!(is_root || std::env::var_os("CI").is_none(), "CI must run as root");
    if !is_root {
        println!("skipped: needs root");
    }
    is_root
}
