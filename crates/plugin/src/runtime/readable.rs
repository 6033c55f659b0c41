//! Waiting for a descriptor in the async world.

use error::{IoContext, Result};
use std::os::fd::BorrowedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until something can be read from `fd`; of a process descriptor, until the process ended.
pub(crate) async fn readable(fd: BorrowedFd<'_>) -> Result<()> {
    let waiting = || "wait for a descriptor";
    // A copy: epoll takes no descriptor twice, and two may wait for the same.
    let copy = fd.try_clone_to_owned().doing(waiting)?;
    #[expect(deprecated, reason = "its successor is unsafe for what an OwnedFd guarantees")]
    let fd = AsyncFd::with_interest(copy, Interest::READABLE).doing(waiting)?;
    drop(fd.readable().await.doing(waiting)?);
    Ok(())
}
