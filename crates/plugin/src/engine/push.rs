//! Pushing: what goes to a registry is what dockerd can install.

use super::slot::Slot;
use super::{Engine, blocking};
use crate::progress::{Progress, Step};
use crate::record::Record;
use crate::reference::Reference;
use crate::registry::{Auth, Descriptor, is_gzip};
use error::Result;
use std::sync::Arc;

impl Engine {
    pub(super) async fn push_now(
        self: Arc<Self>,
        slot: Arc<Slot>,
        auth: Option<Auth>,
        progress: Arc<dyn Progress>,
    ) -> Result<()> {
        let _kept = self.collecting.read().await;
        let record = slot.record();
        let reference = Reference::parse(&record.name)?.or_latest();
        let auth = self.auth(&reference, auth).await?;
        let siblings = self.siblings(&reference, &record);
        let repository = Reference { tag: None, ..reference.clone() }.familiar();
        let text = format!("The push refers to repository [{repository}]");
        progress.report(Step::Status { id: None, text });
        let (config, layers) = self.installable(&record, &progress).await?;
        let registry = &self.registry;
        registry
            .push(&reference, &auth, &config, &layers, &siblings, &self.store, &*progress)
            .await?;
        self.tell(&slot, "push", &[]);
        if layers != record.layers {
            // What was made for this is in the registry now.
            let engine = Arc::clone(&self);
            tokio::spawn(async move { engine.collect_now(false).await });
        }
        Ok(())
    }

    /// Configuration and layers as dockerd installs them: a single gzip layer is left as it is; what
    /// else there may be becomes one.
    async fn installable(
        &self,
        record: &Arc<Record>,
        progress: &Arc<dyn Progress>,
    ) -> Result<(Descriptor, Vec<Descriptor>)> {
        let (store, unpacked) = (self.store.clone(), self.layers.clone());
        let (record, progress) = (Arc::clone(record), Arc::clone(progress));
        blocking(move || {
            if let [layer] = &record.layers[..]
                && is_gzip(&store, &layer.digest)?
            {
                return Ok((record.config.clone(), record.layers.clone()));
            }
            let count = record.layers.len();
            let text = format!("Packing {count} layer(s) as the one of gzip that dockerd installs");
            progress.report(Step::Status { id: None, text });
            let layer = unpacked.squash(&store, &record.chain())?;
            let mut config = record.configuration(&store)?;
            let config = crate::made::put_config(&mut config, &layer, &store)?;
            Ok((config, vec![layer]))
        })
        .await
    }

    /// Repositories of the same registry that have some of the record's blobs.
    fn siblings(&self, reference: &Reference, record: &Record) -> Vec<String> {
        let of_same_registry = |other: &Record| {
            let other = Reference::parse(&other.reference).ok()?;
            (other.domain == reference.domain && other.path != reference.path).then_some(other.path)
        };
        let shares =
            |other: &Record| other.blobs().any(|blob| record.blobs().any(|own| own == blob));
        let slots = self.slots();
        let mut found: Vec<_> = slots
            .iter()
            .map(|slot| slot.record())
            .filter(|other| other.id != record.id && shares(other))
            .filter_map(|other| of_same_registry(&other))
            .collect();
        found.sort();
        found.dedup();
        found
    }
}
