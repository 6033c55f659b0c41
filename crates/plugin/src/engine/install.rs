//! Installing and upgrading: everything is fetched, verified, unpacked and consented to before the
//! plugin's record is written, which is what makes it installed.

use super::slot::{Installed, Slot};
use super::{Engine, Pull, blocking};
use crate::archive;
use crate::config::Config;
use crate::id::PluginId;
use crate::made::{self, Made};
use crate::privileges::{self, Privilege};
use crate::progress::{BlobState, Progress, Step};
use crate::record::Record;
use crate::reference::Reference;
use crate::registry::{Auth, Descriptor, Manifest};
use crate::settings::Overrides;
use crate::store::Follower;
use error::{Error, Kind, Result};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use host::failpoint;
use jiff::Timestamp;
use std::io::{Read, Write};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Layers fetched side by side.
const PARALLEL: usize = 3;

/// What is about to be installed: all of it is in the store, unpacked and consented to.
struct Content {
    reference: String,
    manifest: Option<crate::digest::Digest>,
    config: Descriptor,
    decoded: Config,
    layers: Vec<Descriptor>,
    privileges: Vec<Privilege>,
}

impl Content {
    /// The same plugin with this content; its ID, name, data, settings and choices stay.
    fn upgrade_of(self, before: &Record, overrides: Overrides) -> Installed {
        let record = Record {
            reference: self.reference,
            manifest: self.manifest,
            config: self.config,
            layers: self.layers,
            generation: before.generation.wrapping_add(1),
            overrides,
            privileges: self.privileges,
            ..before.clone()
        };
        Installed::new(record, Ok(self.decoded))
    }
}

impl Engine {
    pub(super) async fn pull_now(
        self: Arc<Self>,
        pull: Pull,
        progress: Arc<dyn Progress>,
    ) -> Result<String> {
        let name = self.name_for(&pull.remote, &pull.name)?;
        let _reserved = self.reserve(&name)?;
        let _kept = self.collecting.read().await;
        let content = self.fetch(&pull, &progress).await?;
        let remote = content.reference.clone();
        let slot = self.add(&name, content).await?;
        self.tell(&slot, "pull", &[("remote", &remote)]);
        Ok(name)
    }

    pub(super) async fn create_now(
        self: Arc<Self>,
        name: String,
        mut tar: Box<dyn Read + Send>,
    ) -> Result<()> {
        let reference = Reference::parse(&name)?;
        if reference.digest.is_some() {
            return Err(Error::invalid_argument(format!(
                "canonical references are not permitted: {name:?} has a digest; give it a tag"
            )));
        }
        let reference = reference.or_latest();
        let name = reference.local_name();
        let _reserved = self.reserve(&name)?;
        let _kept = self.collecting.read().await;
        let (store, layers, limits) =
            (self.store.clone(), self.layers.clone(), self.options.limits);
        let content = blocking(move || {
            let Made { config, decoded, layer } = made::make(&mut *tar, &store, &layers, &limits)?;
            let privileges = privileges::required(&decoded);
            Ok(Content {
                reference: reference.full(),
                manifest: None,
                config,
                decoded,
                layers: vec![layer],
                privileges,
            })
        });
        let slot = self.add(&name, content.await?).await?;
        self.tell(&slot, "create", &[]);
        Ok(())
    }

    pub(super) async fn load_now(
        self: Arc<Self>,
        mut from: Box<dyn Read + Send>,
        rename: Option<String>,
        granted: Option<Vec<Privilege>>,
    ) -> Result<Vec<String>> {
        let _kept = self.collecting.read().await;
        let store = self.store.clone();
        let loaded = blocking(move || archive::load(&store, &mut *from)).await?;
        if rename.is_some() && loaded.len() != 1 {
            return Err(Error::invalid_argument(format!(
                "the archive has {} plugins; only a single one can be given another name",
                loaded.len()
            )));
        }
        let mut contents = Vec::new();
        for one in &loaded {
            let name = rename.clone().or_else(|| one.name.clone()).ok_or_else(|| {
                Error::invalid_argument("a plugin of the archive has no name; give it one")
            })?;
            let reference = Reference::parse(&name)?.or_latest();
            let decoded = decode(&one.config)?;
            let required = privileges::required(&decoded);
            let content = self.content(&reference, &one.manifest, decoded, required);
            contents.push((reference.local_name(), content));
        }
        let all: Vec<_> =
            contents.iter().flat_map(|(_, content)| content.privileges.clone()).collect();
        privileges::check(&all, granted.as_deref().unwrap_or_default()).map_err(|error| {
            // The front end shows them and asks for consent.
            error.with("privileges", serde_json::to_string(&all).unwrap_or_default())
        })?;
        let reserved: Result<Vec<_>> =
            contents.iter().map(|(name, _)| self.reserve(name)).collect();
        let _reserved = reserved?;
        let mut names = Vec::new();
        for (name, content) in contents {
            self.unpack(&content.layers, &(Arc::new(crate::progress::Silent) as _)).await?;
            let slot = self.add(&name, content).await?;
            self.tell(&slot, "load", &[]);
            names.push(name);
        }
        Ok(names)
    }

    pub(super) async fn upgrade_now(
        self: Arc<Self>,
        slot: Arc<Slot>,
        pull: Pull,
        drain: bool,
        progress: Arc<dyn Progress>,
    ) -> Result<()> {
        self.refuse_enabled(&slot, drain)?;
        let kept = self.collecting.read().await;
        // Before its turn: whoever wants to disable it does not wait for a slow registry.
        let content = self.fetch(&pull, &progress).await?;
        let _turn = slot.turn.lock().await;
        self.refuse_enabled(&slot, drain)?;
        let before = slot.installed();
        let runs = before.record.enabled;
        let (overrides, lost) = before.record.overrides.carried_to(&content.decoded);
        for text in lost {
            progress.report(Step::Status { id: None, text });
        }
        let after = content.upgrade_of(&before.record, overrides);
        if runs {
            slot.unwatch().await;
            self.halt(&slot).await;
        }
        let exchanged = self.exchange(&slot, after).await;
        if exchanged.is_err() && runs {
            self.watch(&slot);
        }
        exchanged?;
        if runs && let Err(error) = self.start(&slot, None).await {
            let restored = self.exchange(&slot, before).await;
            slot.set_status(|status| status.problem = Some(error.chain()));
            self.watch(&slot);
            restored?;
            // The next upgrade has the same number, and must not find what this one wrote.
            self.tidy(&slot);
            return Err(Error::failed_precondition(
                "the new version does not start, so the one before is back",
            )
            .because(error));
        }
        if runs {
            self.watch(&slot);
        }
        slot.set_status(|status| status.problem = None);
        // The new version may speak another protocol.
        self.refresh_published();
        drop(kept);
        self.tell(&slot, "upgrade", &[("remote", &slot.record().reference)]);
        self.tidy(&slot);
        Ok(())
    }

    fn refuse_enabled(&self, slot: &Slot, drain: bool) -> Result<()> {
        self.still_there(slot)?;
        let record = slot.record();
        if record.enabled && !drain {
            return Err(Error::failed_precondition(format!(
                "plugin must be disabled before upgrading: plugin {} is enabled",
                record.name
            )));
        }
        Ok(())
    }

    /// Makes another version the installed one; a failure leaves the one before.
    async fn exchange(&self, slot: &Arc<Slot>, installed: Installed) -> Result<()> {
        let slot = Arc::clone(slot);
        blocking(move || {
            failpoint::hit("plugin.exchange");
            slot.install(installed)?;
            failpoint::hit("plugin.exchanged");
            Ok(())
        })
        .await
    }

    /// Removes what only versions before the installed one needed, in the background.
    fn tidy(self: &Arc<Self>, slot: &Arc<Slot>) {
        let (engine, slot) = (Arc::clone(self), Arc::clone(slot));
        tokio::spawn(async move {
            // In its turn: another upgrade may be making the next version's directories.
            let turn = slot.turn.lock().await;
            let (home, generation) = (slot.home.clone(), slot.record().generation);
            let old = blocking(move || {
                super::change::remove_old_changes(&home, generation);
                Ok(())
            });
            let old = old.await;
            drop(turn);
            if let Err(error) = old.and(engine.collect_now(false).await) {
                tracing::warn!(%error, "remove what earlier versions needed");
            }
        });
    }

    pub(super) async fn save_now(
        self: Arc<Self>,
        slot: Arc<Slot>,
        mut to: Box<dyn Write + Send>,
    ) -> Result<()> {
        let _kept = self.collecting.read().await;
        let (record, store) = (slot.record(), self.store.clone());
        blocking(move || {
            archive::save(&store, &record.name, &record.config, &record.layers, &mut *to)
        })
        .await
    }

    pub(super) async fn privileges_now(
        self: Arc<Self>,
        remote: String,
        auth: Option<Auth>,
    ) -> Result<Vec<Privilege>> {
        let reference = Reference::parse(&remote)?.or_latest();
        let _kept = self.collecting.read().await;
        let auth = self.auth(&reference, auth).await?;
        let (_, config) = self.registry.resolve(&reference, &auth, &self.store).await?;
        Ok(privileges::required(&decode(&config)?))
    }

    /// Fetches, verifies and unpacks what `pull` names, after comparing privileges.
    async fn fetch(&self, pull: &Pull, progress: &Arc<dyn Progress>) -> Result<Content> {
        let reference = Reference::parse(&pull.remote)?.or_latest();
        let auth = self.auth(&reference, pull.auth.clone()).await?;
        let tag = reference.tag.clone();
        let repository = Reference { tag: None, digest: None, ..reference.clone() };
        let text = format!("Pulling from {}", repository.familiar());
        progress.report(Step::Status { id: tag, text });
        let (manifest, config) = self.registry.resolve(&reference, &auth, &self.store).await?;
        let text = format!("Digest: {}", manifest.digest);
        progress.report(Step::Status { id: None, text });
        let decoded = decode(&config)?;
        let required = privileges::required(&decoded);
        privileges::check(&required, &pull.privileges)?;
        for layer in &manifest.layers {
            report(&**progress, layer, BlobState::Waiting, 0);
        }
        let (senders, coming): (Vec<_>, Vec<_>) =
            manifest.layers.iter().map(|_| oneshot::channel()).unzip();
        let fetches: Vec<BoxFuture<'_, Result<()>>> = manifest
            .layers
            .iter()
            .zip(senders)
            .map(|(layer, sender)| {
                let begun = move |follower| drop(sender.send(follower));
                self.registry
                    .fetch(&reference, &auth, layer, &self.store, &**progress, begun)
                    .boxed()
            })
            .collect();
        let fetched = stream::iter(fetches).buffer_unordered(PARALLEL).try_collect::<()>();
        let unpacked = self.unpack_coming(&manifest.layers, coming, progress);
        let (fetched, unpacked) = tokio::join!(fetched, unpacked);
        // What unpacking says of bytes that turn out to be wrong is worth nothing.
        fetched.and(unpacked)?;
        let content = self.content(&reference, &manifest, decoded, required);
        self.unpack(&content.layers, progress).await?;
        Ok(content)
    }

    fn content(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        decoded: Config,
        privileges: Vec<Privilege>,
    ) -> Content {
        Content {
            reference: reference.full(),
            manifest: Some(manifest.digest.clone()),
            config: manifest.config.clone(),
            decoded,
            layers: manifest.layers.clone(),
            privileges,
        }
    }

    /// Unpacks layers while they come in, as far as that goes without a break; what is missing then
    /// is left to [`unpack`](Self::unpack).
    async fn unpack_coming(
        &self,
        chain: &[Descriptor],
        coming: Vec<oneshot::Receiver<Option<Follower>>>,
        progress: &Arc<dyn Progress>,
    ) -> Result<()> {
        let (layers, limits) = (self.layers.clone(), self.options.limits);
        let (chain, progress) = (chain.to_vec(), Arc::clone(progress));
        blocking(move || {
            for (at, begun) in coming.into_iter().enumerate() {
                // One that is here is unpacked in no time later on.
                let Ok(Some(follower)) = begun.blocking_recv() else { break };
                let outcome = follower.outcome();
                let mut told = |done| {
                    // Until then its bar shows how it comes in.
                    if outcome.is_whole() {
                        report(&*progress, &chain[at], BlobState::Extracting, done);
                    }
                };
                let unpacked =
                    layers.unpack_from(|| Ok(follower), &chain[..=at], &limits, &mut told);
                match unpacked {
                    Err(_) if outcome.is_broken() => break,
                    other => other?,
                }
            }
            Ok(())
        })
        .await
    }

    async fn unpack(&self, chain: &[Descriptor], progress: &Arc<dyn Progress>) -> Result<()> {
        let (store, layers, limits) =
            (self.store.clone(), self.layers.clone(), self.options.limits);
        let (chain, progress) = (chain.to_vec(), Arc::clone(progress));
        blocking(move || {
            for (at, layer) in chain.iter().enumerate() {
                let mut told = |done| report(&*progress, layer, BlobState::Extracting, done);
                layers.unpack(&store, &chain[..=at], &limits, &mut told)?;
                report(&*progress, layer, BlobState::Complete, layer.size);
            }
            Ok(())
        })
        .await
    }

    /// Makes `content` an installed plugin.
    async fn add(&self, name: &str, content: Content) -> Result<Arc<Slot>> {
        let record = Record {
            id: PluginId::random(),
            name: name.to_owned(),
            reference: content.reference,
            manifest: content.manifest,
            config: content.config,
            layers: content.layers,
            generation: 0,
            enabled: false,
            overrides: Overrides::default(),
            privileges: content.privileges,
            choices: super::Choices::default(),
            created: Timestamp::now(),
        };
        let home = self.options.home.plugin(&record.id);
        let slot = Slot::new(home, Installed::new(record, Ok(content.decoded)));
        let kept = Arc::clone(&slot);
        blocking(move || {
            super::open::make_private(&kept.home.state)?;
            failpoint::hit("plugin.add");
            kept.install(kept.installed()).inspect_err(|_| super::open::discard(&kept.home.state))
        })
        .await?;
        self.remember(&slot);
        Ok(slot)
    }

    pub(super) async fn auth(&self, reference: &Reference, given: Option<Auth>) -> Result<Auth> {
        match given {
            Some(auth) => Ok(auth),
            None => self.registry.stored_auth(reference).await,
        }
    }
}

/// Reads a configuration that came from outside.
fn decode(bytes: &[u8]) -> Result<Config> {
    let config = Config::decode(bytes)?;
    config.check()?;
    Ok(config)
}

fn report(progress: &dyn Progress, layer: &Descriptor, state: BlobState, current: u64) {
    let (digest, total) = (layer.digest.clone(), layer.size);
    progress.report(Step::Blob { digest, state, current, total });
}

/// The error for a name that is taken.
pub(super) fn taken(name: &str) -> Error {
    Error::new(Kind::AlreadyExists, format!("plugin {name} already exists"))
}
