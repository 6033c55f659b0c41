//! What this process keeps of memory that it has freed.
#![allow(unsafe_code)]

/// Freed memory at the end of a heap that is kept for the next need, in bytes.
#[cfg(target_env = "gnu")]
const KEPT: i32 = 128 << 10;

/// Gives freed memory back to the machine. glibc keeps up to twice the largest block that was ever
/// freed, for each of its heaps (mallopt(3), `M_TRIM_THRESHOLD`): after one list of thousands of
/// volumes, for good. To be called once, before there are threads.
pub fn give_back_what_is_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes numbers only; a value that is not taken changes nothing.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}
