//! When a plugin is ready: as soon as its socket accepts.

use crate::rpc::{Address, Client};
use crate::runtime::readable::readable;
use error::Result;
use host::watch::Watch;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

/// Between a socket's appearing (bind(2)) and its accepting (listen(2)), of which nothing tells.
const PAUSE: Duration = Duration::from_millis(1);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Waits until something accepts connections at `socket`.
pub(super) async fn accepts(socket: &Path) -> Result<()> {
    let dir = socket.parent().unwrap_or(socket);
    let watch = Watch::new(dir)?;
    let client = Client { address: Address::Own(socket.to_owned()) };
    let mut pause = PAUSE;
    loop {
        if client.accepts().await {
            return Ok(());
        }
        if socket.exists() {
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        } else {
            readable(watch.as_fd()).await?;
            watch.take()?;
        }
    }
}
