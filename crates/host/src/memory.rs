//! What this process keeps of memory that it has freed.
#![allow(unsafe_code)] // malloc_trim(3) is in no safe library.

/// Gives freed memory back to the machine, a millisecond's work. glibc keeps what lies between blocks
/// that are still in use, in one heap for each thread or so: after a few lists of thousands of
/// volumes, half of what the agent weighs.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number only, and may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
