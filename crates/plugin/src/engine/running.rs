//! Starting, watching and stopping one plugin.
//!
//! ```text
//!            enable                    accepts
//! Disabled ──────────► Starting ───────────────► Running
//!    ▲                   ▲   │ failed, or ended     │ ended
//!    │ disable           │   ▼                      ▼
//!    └──────────────── Failing ◄────────────────────┘
//! ```
//!
//! A failure never changes what is wanted: an enabled plugin is tried again until it runs or
//! somebody disables it.

use super::slot::{Slot, Status, Supervisor};
use super::{Engine, State, blocking};
use crate::logs;
use crate::runtime::{Exit, Instance};
use error::{Error, Result};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A plugin that ran for so long is not in a loop of crashes.
const HEALTHY: Duration = Duration::from_secs(5);
/// The pause before the third start in a row; doubled for each one more.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause while starts are still counted.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The pause once too many starts in a row failed.
const REST: Duration = Duration::from_secs(60);
/// How many lines of its output explain why a plugin failed.
const LAST_WORDS: usize = 5;

/// The pause before the next start, after `failures` in a row.
fn back_off(failures: u32, limit: u32) -> Duration {
    match failures {
        // The first crash may be bad luck: whoever uses the plugin should not notice.
        0 | 1 => Duration::ZERO,
        _ if failures > limit => REST,
        _ => LONGEST_PAUSE.min(PAUSE.saturating_mul(1 << (failures - 2).min(16))),
    }
}

impl Engine {
    /// Starts a plugin and waits until it accepts connections; nothing runs after a failure.
    pub(super) async fn start(&self, slot: &Arc<Slot>, within: Option<Duration>) -> Result<()> {
        let instance = match self.launch(slot).await {
            Ok(instance) => instance,
            Err(error) => {
                // Its root may be mounted already, and must not be taken for another version's.
                self.clear(slot).await;
                return Err(error);
            }
        };
        let ready = self.ready(slot, &instance, within).await;
        if ready.is_err() {
            self.halt(slot).await;
        }
        ready
    }

    /// Makes the plugin's process run; its socket may come later.
    async fn launch(&self, slot: &Arc<Slot>) -> Result<Arc<Instance>> {
        // Before it can say anything: its last words are those since then.
        let began = Timestamp::now();
        slot.set_status(|status| {
            status.state = State::Starting;
            status.started = Some(began);
        });
        let (options, layers) = (self.options.clone(), self.layers.clone());
        let (installed, home) = (slot.installed(), slot.home.clone());
        let ledger = Arc::clone(&self.ledger);
        let launched = blocking(move || {
            let instance = super::launch::launch(&options, &layers, &installed, &home)?;
            ledger.runs_as(&installed.record.id, instance.pid())?;
            Ok(instance)
        });
        let instance = Arc::new(launched.await?);
        slot.set_status(|status| status.instance = Some(Arc::clone(&instance)));
        Ok(instance)
    }

    /// Waits until the plugin accepts connections, ends, or time is up.
    async fn ready(
        &self,
        slot: &Slot,
        instance: &Instance,
        within: Option<Duration>,
    ) -> Result<()> {
        let installed = slot.installed();
        let name = &installed.record.name;
        let socket = installed.config()?.interface.socket.clone();
        let chosen = installed.record.choices.start_timeout.map(Duration::from_secs);
        let within = within.or(chosen).unwrap_or(self.options.start_timeout);
        let path = slot.home.sockets().join(&socket);
        let accepts = super::ready::accepts(&path);
        tokio::select! {
            result = accepts, if !socket.is_empty() => result?,
            exit = instance.ended() => {
                let told = self.last_words(slot).await;
                let how = describe(&exit);
                slot.set_status(|status| status.last_exit = Some(exit));
                return Err(Error::failed_precondition(format!(
                    "plugin {name} {how} before it listened on {socket}{told}"
                )));
            }
            () = tokio::time::sleep(within) => {
                let told = self.last_words(slot).await;
                return Err(Error::deadline_exceeded(format!(
                    "plugin {name} does not listen on {socket} after {} s{told}",
                    within.as_secs_f32()
                )));
            }
        }
        slot.set_status(|status| {
            status.state = State::Running;
            status.problem = None;
        });
        Ok(())
    }

    /// What the plugin said last since it was started, for an error message.
    async fn last_words(&self, slot: &Slot) -> String {
        let (log, since) = (slot.home.log(), slot.now().started);
        let lines = blocking(move || logs::tail(&log, LAST_WORDS, since)).await.unwrap_or_default();
        if lines.is_empty() {
            return "; it said nothing".to_owned();
        }
        let lines: Vec<_> = lines.into_iter().map(|line| line.line).collect();
        format!("; its last words: {}", lines.join(" / "))
    }

    /// Stops what runs of a plugin and removes what the run needed; its mounts stay.
    pub(super) async fn halt(&self, slot: &Arc<Slot>) -> Option<Exit> {
        // Whoever calls it from now on waits for the next run.
        slot.set_status(Status::leave_running);
        let record = slot.record();
        let grace = record.choices.stop_timeout.map(Duration::from_secs);
        let grace = grace.unwrap_or(self.options.stop_timeout);
        let exit = match slot.now().instance {
            Some(instance) => match instance.stop(grace).await {
                Ok(exit) => Some(exit),
                Err(error) => {
                    tracing::error!(plugin = %record.name, %error, "stop a plugin");
                    None
                }
            },
            None => None,
        };
        self.clear(slot).await;
        exit
    }

    /// Removes what a run that has ended needed.
    async fn clear(&self, slot: &Arc<Slot>) {
        let (layers, home, record) = (self.layers.clone(), slot.home.clone(), slot.record());
        let runtime = self.options.runtime.clone();
        let cleared = blocking(move || {
            let cleaned = Instance::clean(&home.run, &record.id, &runtime);
            super::open::remove_temporaries(&home.run);
            layers.unmount(&home.rootfs()).and(cleaned)
        });
        if let Err(error) = cleared.await {
            tracing::error!(plugin = %slot.name(), %error, "clear away what a plugin left");
        }
        slot.set_status(|status| {
            status.instance = None;
            status.started = None;
        });
    }

    /// Looks after an enabled plugin from now on.
    pub(super) fn watch(self: &Arc<Self>, slot: &Arc<Slot>) {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Arc::clone(self).supervise(Arc::clone(slot), stopped));
        *slot.supervisor() = Some(Supervisor { stop, task });
    }

    async fn supervise(self: Arc<Self>, slot: Arc<Slot>, mut stopped: oneshot::Receiver<()>) {
        let mut failures = 0;
        // Of an engine that begins, not of a plugin that ended.
        let mut first = slot.now().instance.is_none();
        loop {
            let Status { instance, state, .. } = slot.now();
            if let Some(instance) = instance {
                let ready = async {
                    match state {
                        State::Running => Ok(()),
                        // Adopted before it was ready.
                        _ => self.ready(&slot, &instance, None).await,
                    }
                };
                let ended = async {
                    ready.await?;
                    let since = Instant::now();
                    let exit = instance.ended().await;
                    Ok((exit, since.elapsed() >= HEALTHY))
                };
                let ended = tokio::select! {
                    ended = ended => ended,
                    _ = &mut stopped => return,
                };
                // One that takes its time before it fails to listen is in a loop all the same.
                let was_healthy = matches!(ended, Ok((_, true)));
                failures = if was_healthy { 0 } else { failures + 1 };
                self.note_end(&slot, ended.map(|(exit, _)| exit)).await;
            }
            let pause = back_off(failures, self.options.restarts);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = &mut stopped => return,
            }
            let launched = self.launch(&slot).await;
            if let Err(error) = launched {
                failures += 1;
                self.note_failure(&slot, &error).await;
            } else if !std::mem::take(&mut first) {
                slot.set_status(|status| status.restarts += 1);
                self.tell(&slot, "restart", &[]);
            }
        }
    }

    /// A run of an enabled plugin is over.
    async fn note_end(&self, slot: &Arc<Slot>, ended: Result<Exit>) {
        slot.set_status(Status::leave_running);
        match ended {
            Ok(exit) => {
                let problem = format!("it {}{}", describe(&exit), self.last_words(slot).await);
                tracing::warn!(plugin = %slot.name(), %problem, "a plugin ended");
                let code = exit.code.map(|code| code.to_string()).unwrap_or_default();
                self.tell(slot, "die", &[("exitCode", &code)]);
                slot.set_status(|status| {
                    status.state = State::Failing;
                    status.last_exit = Some(exit);
                    status.problem = Some(problem);
                });
                self.clear(slot).await;
            }
            Err(error) => {
                self.halt(slot).await;
                self.note_failure(slot, &error).await;
            }
        }
    }

    async fn note_failure(&self, slot: &Arc<Slot>, error: &Error) {
        tracing::warn!(plugin = %slot.name(), %error, "a plugin does not start; it is tried again");
        self.clear(slot).await;
        slot.set_status(|status| {
            status.state = State::Failing;
            status.problem = Some(error.chain());
        });
    }

    /// Publishes an event about a plugin.
    pub(super) fn tell(&self, slot: &Slot, action: &str, more: &[(&str, &str)]) {
        let record = slot.record();
        let mut attributes = vec![("name", record.name.as_str())];
        attributes.extend_from_slice(more);
        self.events.publish("plugin", action, record.id.as_str(), &attributes);
    }
}

/// How a plugin ended, as part of a sentence about it.
pub(super) fn describe(exit: &Exit) -> String {
    let memory = if exit.out_of_memory { " (out of memory)" } else { "" };
    match (exit.code, exit.signal) {
        (_, Some(signal)) => format!("was killed by signal {signal}{memory}"),
        (Some(code), None) => format!("ended with code {code}{memory}"),
        (None, None) => format!("ended{memory}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_crash_is_mended_at_once_and_a_loop_of_crashes_slows_down() {
        let pauses: Vec<_> = (0..12).map(|failures| back_off(failures, 10).as_millis()).collect();
        assert_eq!(&pauses[..5], [0, 0, 100, 200, 400]);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[11], 60_000);
        assert_eq!(back_off(u32::MAX, u32::MAX), LONGEST_PAUSE);
        // A hundred starts in a row: no more than one a minute, all but the first few.
        let all: Duration = (0..100).map(|failures| back_off(failures, 10)).sum();
        assert!(all >= Duration::from_secs(80 * 60), "{all:?}");
    }
}
