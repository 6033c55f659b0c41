//! Writing an archive: the same plugin always gives the same bytes.

use crate::digest::Digest;
use crate::registry::Descriptor;
use crate::registry::manifest::{self, OCI_INDEX, OCI_MANIFEST};
use crate::store::Store;
use error::{Error, IoContext, Result};
use serde_json::json;
use std::io::{Read, Write};
use tar::{Builder, EntryType, Header};

/// Writes a plugin as a tar of an OCI layout; `name` becomes `org.opencontainers.image.ref.name`.
pub fn save(
    store: &Store,
    name: &str,
    config: &Descriptor,
    layers: &[Descriptor],
    to: &mut dyn Write,
) -> Result<()> {
    let manifest = manifest::for_archive(config, layers)?;
    let digest = Digest::of(&manifest);
    let mut tar = Builder::new(to);
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", &index(name, &digest, manifest.len())?)?;
    append(&mut tar, &path(&digest), &manifest)?;
    let mut written = vec![&digest];
    for blob in layers.iter().chain([config]) {
        if !written.contains(&&blob.digest) {
            append_blob(&mut tar, store, blob)?;
            written.push(&blob.digest);
        }
    }
    let out = tar.into_inner().doing(|| "end the archive")?;
    out.flush().doing(|| "write the archive")
}

fn index(name: &str, digest: &Digest, size: usize) -> Result<Vec<u8>> {
    let entry = json!({
        "mediaType": OCI_MANIFEST,
        "digest": digest,
        "size": size,
        "annotations": { "org.opencontainers.image.ref.name": name },
    });
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] });
    serde_json::to_vec(&index).map_err(|error| Error::internal("write an index").because(error))
}

fn append_blob(tar: &mut Builder<&mut dyn Write>, store: &Store, blob: &Descriptor) -> Result<()> {
    let file = store.blob(&blob.digest)?;
    let length = file.metadata().doing(|| format!("look at blob {}", blob.digest))?.len();
    if length != blob.size {
        let message = format!("blob {} has {length} bytes instead of {}", blob.digest, blob.size);
        return Err(Error::internal(message));
    }
    append_reader(tar, &path(&blob.digest), blob.size, file)
}

fn append(tar: &mut Builder<&mut dyn Write>, name: &str, bytes: &[u8]) -> Result<()> {
    append_reader(tar, name, bytes.len() as u64, bytes)
}

fn append_reader(
    tar: &mut Builder<&mut dyn Write>,
    name: &str,
    size: u64,
    from: impl Read,
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    tar.append_data(&mut header, name, from).doing(|| format!("write {name} into the archive"))
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
