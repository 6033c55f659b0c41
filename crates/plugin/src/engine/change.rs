//! Operations on installed plugins: enable, disable, set, remove.

use super::slot::Slot;
use super::{Choices, Engine, State, blocking};
use crate::home::PluginHome;
use crate::ledger::Holder;
use error::{Error, IoContext, Result};
use host::{failpoint, process};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    pub(super) async fn enable_now(
        self: Arc<Self>,
        slot: Arc<Slot>,
        within: Option<Duration>,
    ) -> Result<()> {
        let _turn = slot.turn.lock().await;
        self.still_there(&slot)?;
        let name = slot.name();
        if slot.record().enabled {
            return Err(Error::failed_precondition(format!(
                "plugin already enabled: plugin {name} is enabled"
            )));
        }
        let started = self.start(&slot, within).await;
        let kept = match started {
            Ok(()) => {
                let slot = Arc::clone(&slot);
                blocking(move || {
                    failpoint::hit("plugin.enable");
                    slot.update(|record| record.enabled = true)
                })
                .await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            // A start that failed has cleared up by itself; one that cannot be noted has not.
            self.halt(&slot).await;
            slot.set_status(|status| {
                status.state = State::Disabled;
                status.problem = Some(error.chain());
            });
            return Err(error);
        }
        slot.set_status(|status| status.restarts = 0);
        self.watch(&slot);
        self.tell(&slot, "enable", &[]);
        self.refresh_published();
        Ok(())
    }

    pub(super) async fn disable_now(self: Arc<Self>, slot: Arc<Slot>, force: bool) -> Result<()> {
        let _turn = slot.turn.lock().await;
        self.still_there(&slot)?;
        let name = slot.name();
        if !slot.record().enabled {
            return Err(Error::failed_precondition(format!(
                "plugin is already disabled: plugin {name} found but disabled"
            )));
        }
        if !force {
            self.refuse_in_use(&slot, "what is mounted stays").await?;
        }
        self.stop(&slot).await?;
        self.tell(&slot, "disable", &[]);
        Ok(())
    }

    /// Makes an enabled plugin a disabled one; its mounts stay.
    pub(super) async fn stop(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<()> {
        let kept = Arc::clone(slot);
        blocking(move || kept.update(|record| record.enabled = false)).await?;
        failpoint::hit("plugin.disable");
        self.refresh_published();
        slot.unwatch().await;
        self.halt(slot).await;
        slot.set_status(|status| {
            status.state = State::Disabled;
            status.problem = None;
        });
        Ok(())
    }

    pub(super) async fn set_now(
        self: Arc<Self>,
        slot: Arc<Slot>,
        items: Vec<String>,
    ) -> Result<()> {
        let _turn = slot.turn.lock().await;
        self.still_there(&slot)?;
        if slot.record().enabled {
            return Err(Error::failed_precondition(
                "cannot set on an active plugin, disable plugin before setting",
            ));
        }
        let kept = Arc::clone(&slot);
        blocking(move || {
            let config = kept.installed().config()?;
            let mut overrides = kept.record().overrides.clone();
            overrides.set(&config, &items)?;
            kept.update(|record| record.overrides = overrides)
        })
        .await
    }

    pub(super) async fn choose_now(
        self: Arc<Self>,
        slot: Arc<Slot>,
        choices: Choices,
    ) -> Result<()> {
        let _turn = slot.turn.lock().await;
        self.still_there(&slot)?;
        let kept = Arc::clone(&slot);
        choices.check()?;
        blocking(move || kept.update(|record| record.choices = choices)).await?;
        self.refresh_published();
        Ok(())
    }

    pub(super) async fn remove_now(self: Arc<Self>, slot: Arc<Slot>, force: bool) -> Result<()> {
        let _turn = slot.turn.lock().await;
        self.still_there(&slot)?;
        let record = slot.record();
        if !force {
            const LOSS: &str = "all its data goes with it";
            self.refuse_in_use(&slot, LOSS).await?;
            let volumes = self.volumes.of_driver(&record.name);
            if !volumes.is_empty() {
                return Err(Error::failed_precondition(format!(
                    "plugin {} is in use by the volumes {}; remove them first, or remove it by \
                     force ({LOSS})",
                    record.name,
                    volumes.join(", ")
                )));
            }
            if record.enabled {
                return Err(Error::failed_precondition(format!(
                    "plugin {} is enabled; disable it first, or remove it by force",
                    record.name
                )));
            }
        }
        // No record is written: on a full disk a plugin must still be removable.
        slot.unwatch().await;
        self.halt(&slot).await;
        let home = slot.home.clone();
        let gone = blocking(move || {
            host::mount::unmount_below(&home.state, force)?;
            failpoint::hit("plugin.unmounted");
            // Of a removal that could not be finished: nothing may be in the way.
            host::file::remove_tree(&leaving(&home))?;
            host::file::rename_synced(&home.state, &leaving(&home))
        });
        if let Err(error) = gone.await {
            if record.enabled {
                self.watch(&slot);
            }
            return Err(error);
        }
        // It is gone, whatever becomes of its files: the next start would finish it.
        self.forget(&record.id);
        self.refresh_published();
        self.tell(&slot, "remove", &[]);
        let (home, ledger) = (slot.home.clone(), Arc::clone(&self.ledger));
        let cleared = blocking(move || {
            failpoint::hit("plugin.remove");
            ledger.clear(&record.id)?;
            host::file::remove_tree(&home.run)?;
            host::file::remove_tree(&leaving(&home)).map(drop)
        });
        if let Err(error) = cleared.await {
            tracing::warn!(plugin = %slot.name(), %error, "the next start removes the rest of a plugin");
        }
        let engine = Arc::clone(&self);
        tokio::spawn(async move { engine.collect_now(false).await });
        Ok(())
    }

    /// `FailedPrecondition` naming who uses the plugin's volumes.
    async fn refuse_in_use(&self, slot: &Arc<Slot>, by_force: &str) -> Result<()> {
        let users = self.users(slot).await?;
        if users.is_empty() {
            return Ok(());
        }
        let users: Vec<_> = users.into_iter().collect();
        Err(Error::failed_precondition(format!(
            "plugin {} is in use: {}; stop who uses it, or do it by force ({by_force})",
            slot.name(),
            users.join(", ")
        )))
    }

    /// Who uses volumes of a plugin: those who mounted one through the engine, and the mount
    /// namespaces that have one of its mounts without having asked.
    pub(super) async fn users(&self, slot: &Arc<Slot>) -> Result<BTreeSet<String>> {
        let (ledger, id, home) =
            (Arc::clone(&self.ledger), slot.record().id.clone(), slot.home.clone());
        let pid = slot.now().instance.map(|instance| instance.pid());
        blocking(move || {
            let holders = ledger.holders(&id)?;
            let mut users: BTreeSet<_> = holders.iter().map(describe_holder).collect();
            let known = |path: &Path| holders.iter().any(|holder| holder.mountpoint == path);
            for mount in host::mount::below(&home.propagated())? {
                if known(&mount.target) {
                    continue;
                }
                for user in process::other_users(&mount)? {
                    if !process::shares_mounts_with(user.pid, pid) {
                        let (command, at) = (&user.command, user.target.display());
                        users.insert(format!("{command}[{}] at {at}", user.pid));
                    }
                }
            }
            Ok(users)
        })
        .await
    }
}

/// One user, for people: `pgdata (mount 3f…)`.
pub(super) fn describe_holder(holder: &Holder) -> String {
    let id: String = holder.id.chars().take(12).collect();
    format!("{} (mount {id})", holder.volume)
}

/// Where a plugin's directory is while it is being removed.
fn leaving(home: &PluginHome) -> std::path::PathBuf {
    let name = home.state.file_name().unwrap_or_default().to_string_lossy();
    home.state.with_file_name(format!("{name}{}", super::open::REMOVING))
}

/// Removes what versions other than `generation` wrote over their layers.
pub(super) fn remove_old_changes(home: &PluginHome, generation: u32) {
    let current = format!("changes-{generation}");
    let entries = std::fs::read_dir(&home.state).doing(|| "read a plugin's directory");
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("changes-")
            && name != current
            && let Err(error) = host::file::remove_tree(&entry.path())
        {
            tracing::warn!(%error, "remove what an earlier version of a plugin wrote");
        }
    }
}
