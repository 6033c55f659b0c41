//! A registry of this machine, and what is put into it without any engine.

use super::image::Image;
use super::wire::{Answer, tcp};
use crate::engine::fixture::ok;
use crate::fixture::{Home, PATIENCE, eventually};
use plugin::digest::Digest;
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub const CONFIG: &str = "application/vnd.docker.plugin.v1+json";
pub const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Base64 of `ann:U*U`.
pub const CREDENTIALS: &str = "YW5uOlUqVQ==";
/// That password hashed by bcrypt.
const HTPASSWD: &str = "ann:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";

/// `docker-registry serve`; ended when dropped.
pub struct Registry {
    child: Child,
    /// `host:port`.
    pub address: String,
    has_users: bool,
}

/// How a layer is packed.
#[derive(Debug, Clone, Copy)]
pub enum Packing {
    Gzip,
    Zstd,
}

impl Registry {
    /// On the loopback, for everybody.
    pub fn start(home: &Home) -> Self {
        Self::at(home, "127.0.0.1", false)
    }

    /// For user `ann` with password `U*U` only.
    pub fn for_users(home: &Home) -> Self {
        Self::at(home, "127.0.0.1", true)
    }

    pub fn at(home: &Home, ip: &str, has_users: bool) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let dir =
            tempfile::Builder::new().prefix("registry").tempdir_in(home.dir()).unwrap().keep();
        let mut config = json!({
            "version": 0.1,
            "log": { "level": "warn" },
            "storage": { "filesystem": { "rootdirectory": dir.join("data") } },
            "http": { "addr": address },
        });
        if has_users {
            std::fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
            config["auth"] = json!({ "htpasswd": { "realm": "r", "path": dir.join("htpasswd") } });
        }
        // JSON is YAML.
        std::fs::write(dir.join("config.yml"), config.to_string()).unwrap();
        let log = std::fs::File::create(home.path("registry.log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.join("config.yml")).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        eventually("the registry listens", PATIENCE, || TcpStream::connect(&address).is_ok());
        Self { child, address, has_users }
    }

    pub fn request(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let basic = format!("Basic {CREDENTIALS}");
        let mut headers = headers.to_vec();
        if self.has_users {
            headers.push(("Authorization", &basic));
        }
        tcp(&self.address, line, &headers, body)
    }

    /// `host:port/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Uploads a blob; its descriptor.
    pub fn blob(&self, repository: &str, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        let started = self.request(&format!("POST /v2/{repository}/blobs/uploads/"), &[], &[]);
        let location = started.header("Location").unwrap_or_else(|| panic!("{started:?}"));
        let path = &location[location.find("/v2/").unwrap()..];
        let line = format!("PUT {path}&digest={}", digest.as_str());
        let done = self.request(&line, &[("Content-Type", "application/octet-stream")], content);
        assert_eq!(done.status, 201, "{done:?}");
        json!({ "mediaType": media_type, "digest": digest.as_str(), "size": content.len() })
    }

    /// Uploads a manifest; its descriptor.
    pub fn manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Value {
        let media_type = manifest["mediaType"].as_str().unwrap();
        let content = manifest.to_string();
        let line = format!("PUT /v2/{repository}/manifests/{tag}");
        let done = self.request(&line, &[("Content-Type", media_type)], content.as_bytes());
        assert_eq!(done.status, 201, "{done:?}");
        let digest = Digest::of(content.as_bytes());
        json!({ "mediaType": media_type, "digest": digest.as_str(), "size": content.len() })
    }

    /// The manifest of a tag, as registries give it to those who take Docker's.
    pub fn get(&self, repository: &str, tag: &str) -> Answer {
        let line = format!("GET /v2/{repository}/manifests/{tag}");
        self.request(&line, &[("Accept", DOCKER)], &[])
    }

    /// Puts an image there as dockerd does: Docker's manifest, one layer. Its digest.
    pub fn publish(&self, home: &Home, name: &str, image: &Image) -> String {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let layer = pack(&image.write(home).join("rootfs"), Packing::Gzip);
        let layers = [self.blob(repository, GZIP, &layer)];
        let manifest = self.describe(repository, image, &layers, DOCKER);
        let descriptor = self.manifest(repository, tag, &manifest);
        descriptor["digest"].as_str().unwrap().to_owned()
    }

    /// The manifest of an image with these layers.
    pub fn describe(
        &self,
        repository: &str,
        image: &Image,
        layers: &[Value],
        media_type: &str,
    ) -> Value {
        let mut config = image.config.clone();
        let diffs: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": diffs });
        let config = self.blob(repository, CONFIG, config.to_string().as_bytes());
        json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config,
            "layers": layers,
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// A directory as a layer.
pub fn pack(dir: &Path, packing: Packing) -> Vec<u8> {
    let archive: PathBuf = dir.with_extension("layer");
    let how = match packing {
        Packing::Gzip => "--gzip",
        Packing::Zstd => "--zstd",
    };
    ok(Command::new("tar").arg("-cf").arg(&archive).arg(how).arg("-C").arg(dir).arg("."));
    std::fs::read(archive).unwrap()
}
