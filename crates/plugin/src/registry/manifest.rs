//! Manifests and indexes (OCI image-spec, Docker schema 2): reading them with suspicion, choosing
//! this machine's platform, and writing what dockerd can install. Pure.

use super::{Descriptor, Manifest};
use crate::config;
use crate::digest::Digest;
use error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Docker's manifest.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// OCI's manifest.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's index.
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's layer, the only one that dockerd installs.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Everything that is asked for.
pub(super) const ACCEPTED: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.index.v1+json, application/json;q=0.5";

/// The largest manifest, in bytes.
pub(crate) const LARGEST_MANIFEST: u64 = 4 << 20;
/// The largest configuration, in bytes.
pub(crate) const LARGEST_CONFIG: u64 = 4 << 20;
/// The most layers of a plugin.
const MOST_LAYERS: usize = 1000;
/// How many machines an error names.
const SHOWN: usize = 10;
/// How deep indexes may nest.
pub(crate) const DEEPEST_INDEX: usize = 4;

/// What a manifest turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A plugin's.
    Plugin(Manifest),
    /// An index of further manifests.
    Index(Vec<Entry>),
}

/// One line of an index.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The manifest.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// For which machines it is.
    pub platform: Option<Platform>,
    /// Words about it, in archives its name.
    #[serde(default)]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// A machine in an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Platform {
    architecture: String,
    os: String,
    variant: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<RawBlob>,
    layers: Option<Vec<RawBlob>>,
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct RawBlob {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

/// Reads a manifest; `reference` is named in errors, `media_type` is what the carrier says it is.
pub fn parse(bytes: &[u8], media_type: &str, reference: &str) -> Result<Parsed> {
    let raw: Raw = serde_json::from_slice(bytes)
        .map_err(|error| no_plugin(reference, "its manifest cannot be read").because(error))?;
    let media_type = raw.media_type.as_deref().unwrap_or(media_type);
    if raw.schema_version == Some(1) || media_type.contains("manifest.v1+") && raw.config.is_none()
    {
        return Err(no_plugin(reference, "its manifest is of the withdrawn schema 1"));
    }
    match (raw.manifests, raw.config, raw.layers) {
        (Some(entries), None, None) if ![DOCKER_MANIFEST, OCI_MANIFEST].contains(&media_type) => {
            Ok(Parsed::Index(entries))
        }
        (None, Some(config), Some(layers)) if ![DOCKER_LIST, OCI_INDEX].contains(&media_type) => {
            let manifest = plugin(Digest::of(bytes), config, layers, reference)?;
            Ok(Parsed::Plugin(manifest))
        }
        _ => Err(no_plugin(reference, "what it names is neither a manifest nor an index")),
    }
}

/// The refusal of what is no plugin, in dockerd's words and ours.
pub(crate) fn no_plugin(reference: &str, why: &str) -> Error {
    Error::failed_precondition(format!(
        "did not find plugin config for specified reference {reference}: {why}"
    ))
}

fn plugin(
    digest: Digest,
    config: RawBlob,
    layers: Vec<RawBlob>,
    reference: &str,
) -> Result<Manifest> {
    if config.descriptor.media_type != config::MEDIA_TYPE {
        let kind = shown(&config.descriptor.media_type);
        let why = format!("it is no plugin but has a configuration of type {kind}");
        return Err(no_plugin(reference, &why));
    }
    let refused = |why: String| Err(Error::failed_precondition(format!("{reference} {why}")));
    if config.descriptor.size > LARGEST_CONFIG {
        return refused(format!("has a configuration of more than {LARGEST_CONFIG} bytes"));
    }
    if layers.is_empty() || layers.len() > MOST_LAYERS {
        return refused(format!("has {} layers; 1 to {MOST_LAYERS} are possible", layers.len()));
    }
    if let Some(layer) = layers.iter().find(|layer| !is_layer(layer)) {
        let (layer, kind) = (&layer.descriptor.digest, shown(&layer.descriptor.media_type));
        return refused(format!("has a layer {layer} of type {kind}, which cannot be unpacked"));
    }
    let layers = layers.into_iter().map(|layer| layer.descriptor).collect();
    Ok(Manifest { digest, config: config.descriptor, layers })
}

fn is_layer(layer: &RawBlob) -> bool {
    let kind = layer.descriptor.media_type.as_str();
    let docker = kind.strip_prefix("application/vnd.docker.image.rootfs.diff.tar");
    let oci = kind.strip_prefix("application/vnd.oci.image.layer.v1.tar");
    let is_known = matches!(docker, Some("" | ".gzip" | ".zstd"))
        || matches!(oci, Some("" | "+gzip" | "+zstd"));
    is_known && layer.urls.as_ref().is_none_or(Vec::is_empty)
}

fn shown(media_type: &str) -> String {
    format!("{:?}", media_type.chars().take(100).collect::<String>())
}

/// The line of an index for this machine; one without a platform will do if none has a fitting one.
pub fn choose<'a>(entries: &'a [Entry], reference: &str) -> Result<&'a Entry> {
    let fitting = entries.iter().filter_map(|entry| Some((fit(entry.platform.as_ref()?)?, entry)));
    let best = fitting.min_by_key(|(fit, _)| *fit).map(|(_, entry)| entry);
    best.or_else(|| entries.iter().find(|entry| entry.platform.is_none())).ok_or_else(|| {
        let known = entries.iter().filter_map(|entry| entry.platform.as_ref()).map(Platform::shown);
        let mut known: Vec<_> = known.take(SHOWN + 1).collect();
        if known.len() > SHOWN {
            known[SHOWN] = "others".to_owned();
        }
        let known = if known.is_empty() { "nothing at all".to_owned() } else { known.join(", ") };
        Error::not_found(format!(
            "{reference} has nothing for this machine (linux/{}); it has {known}",
            architecture()
        ))
    })
}

/// Whether what is for `platform` runs on this machine.
pub(crate) fn is_fitting(platform: &Platform) -> bool {
    fit(platform).is_some()
}

/// How well a platform fits this machine: 0 is best; `None`: not at all.
fn fit(platform: &Platform) -> Option<u8> {
    if platform.os != "linux" || platform.architecture != architecture() {
        return None;
    }
    let variants: &[&str] = match architecture() {
        "amd64" => &["", "v1"],
        "arm64" => &["v8", "", "v8.0"],
        "arm" => &["v7", "v6", "v5", ""],
        _ => &[""],
    };
    let place = variants.iter().position(|&variant| variant == platform.variant)?;
    u8::try_from(place).ok()
}

impl Platform {
    fn shown(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let text = parts.iter().map(|part| part.as_str()).collect::<Vec<_>>().join("/");
        text.chars().filter(|c| !c.is_control()).take(40).collect()
    }
}

/// This machine's architecture in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u8,
    config: Descriptor,
    layers: Vec<Descriptor>,
    // Last, as dockerd writes it: the same plugin gets the same digest.
    media_type: &'a str,
}

/// A manifest for dockerd, byte for byte as it writes them.
pub(super) fn for_docker(config: &Descriptor, layers: &[Descriptor]) -> Result<Vec<u8>> {
    let layers = layers.iter().map(|layer| retyped(layer, DOCKER_LAYER)).collect();
    write(retyped(config, config::MEDIA_TYPE), layers, DOCKER_MANIFEST)
}

/// An OCI manifest, for archives.
pub fn for_archive(config: &Descriptor, layers: &[Descriptor]) -> Result<Vec<u8>> {
    let typed = |layer: &Descriptor| {
        let docker = "application/vnd.docker.image.rootfs.diff.tar";
        match layer.media_type.strip_prefix(docker) {
            None => layer.clone(),
            Some(packing) => {
                let packing = packing.replace('.', "+");
                retyped(layer, &format!("application/vnd.oci.image.layer.v1.tar{packing}"))
            }
        }
    };
    let layers = layers.iter().map(typed).collect();
    write(retyped(config, config::MEDIA_TYPE), layers, OCI_MANIFEST)
}

fn write(config: Descriptor, layers: Vec<Descriptor>, media_type: &str) -> Result<Vec<u8>> {
    serde_json::to_vec(&Written { schema_version: 2, config, layers, media_type })
        .map_err(|error| Error::internal("write a manifest").because(error))
}

fn retyped(blob: &Descriptor, media_type: &str) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), ..blob.clone() }
}

#[cfg(test)]
mod tests;
