//! A spinner on standard error for what takes longer than a second.

use indicatif::ProgressBar;
use std::future::Future;
use std::io::IsTerminal;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// Waits for `work`; when that takes more than a second and somebody watches, says `what` goes on.
pub(crate) async fn during<T>(
    what: impl FnOnce() -> String,
    quiet: bool,
    work: impl Future<Output = T>,
) -> T {
    if quiet || !std::io::stderr().is_terminal() {
        return work.await;
    }
    tokio::pin!(work);
    tokio::select! {
        biased;
        result = &mut work => return result,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let bar = ProgressBar::new_spinner().with_message(format!("{} …", what()));
    bar.enable_steady_tick(TICK);
    let result = work.await;
    bar.finish_and_clear();
    result
}
