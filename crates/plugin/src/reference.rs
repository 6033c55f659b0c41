//! Docker-style references: `vieux/sshfs`, `host:5000/a/b:tag@sha256:…`; the grammar and the
//! normalisation of distribution/reference. Knows no registry and no network.

use crate::digest::Digest;
use error::{Error, Result};
use std::fmt;

/// The registry of references that name none.
pub const DOCKER_HUB: &str = "docker.io";
/// Where repositories of Docker Hub without an owner are.
const OFFICIAL: &str = "library/";
/// Docker's limit for the length of a repository's path.
const LONGEST_PATH: usize = 255;
/// The distribution specification's limit for the length of a tag.
const LONGEST_TAG: usize = 128;

/// A normalised reference (distribution/reference): `docker.io` and `library/` are filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// `docker.io`, `host:5000`.
    pub domain: String,
    /// `vieux/sshfs`.
    pub path: String,
    /// The tag, when one was given.
    pub tag: Option<String>,
    /// The digest, when one was given.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Reads and normalises; `InvalidArgument` says which rule is broken.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |why: String| {
            Error::invalid_argument(format!("failed to parse reference {text:?}: {why}"))
        };
        if is_identifier(text) {
            let why = "a repository cannot be named by 64 hexadecimal digits";
            return Err(refused(why.to_owned()));
        }
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => {
                (named, Some(Digest::parse(digest).map_err(|e| refused(e.to_string()))?))
            }
            None => (text, None),
        };
        let (domain, rest) = split_domain(named);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (rest, None),
        };
        let is_official = domain == DOCKER_HUB && !path.contains('/');
        let path = if is_official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
        let reference = Self { domain: domain.to_owned(), path, tag, digest };
        reference.check().map_err(refused)?;
        Ok(reference)
    }

    /// With `latest` where there is neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// As people write it: without `docker.io/` and `library/`; with tag and digest if any.
    #[must_use]
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// In full: `docker.io/vieux/sshfs:latest@sha256:…`.
    #[must_use]
    pub fn full(&self) -> String {
        format!("{}/{}{}", self.domain, self.path, self.suffix())
    }

    /// The name under which a plugin pulled from here is installed: familiar, always with a tag
    /// (`latest` if none), never with a digest.
    #[must_use]
    pub fn local_name(&self) -> String {
        format!("{}:{}", self.familiar_name(), self.tag.as_deref().unwrap_or("latest"))
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        tag.chain(self.digest.iter().map(|digest| format!("@{digest}"))).collect()
    }

    fn familiar_name(&self) -> String {
        let full = format!("{}/{}", self.domain, self.path);
        if self.domain != DOCKER_HUB {
            return full;
        }
        let official = self.path.strip_prefix(OFFICIAL).filter(|rest| !rest.contains('/'));
        let short = official.unwrap_or(&self.path);
        // `docker.io/a.b/c` must keep its domain: `a.b/c` would be read as repository c of host a.b.
        let is_clear = Self::parse(short).is_ok_and(|read| {
            (&read.domain, &read.path, read.tag) == (&self.domain, &self.path, None)
        });
        if is_clear { short.to_owned() } else { full }
    }

    fn check(&self) -> Result<(), String> {
        check_domain(&self.domain)?;
        check_path(&self.path)?;
        self.tag.as_deref().map_or(Ok(()), check_tag)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full())
    }
}

/// Whether the part before the first `/` of a reference names a registry rather than an owner.
fn is_domain(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn split_domain(named: &str) -> (&str, &str) {
    match named.split_once('/') {
        Some(("index.docker.io", rest)) => (DOCKER_HUB, rest),
        Some((first, rest)) if is_domain(first) => (first, rest),
        _ => (DOCKER_HUB, named),
    }
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_domain(domain: &str) -> Result<(), String> {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, port)) => (address, Some(port.strip_prefix(':').unwrap_or(""))),
        None => domain.split_once(':').map_or((domain, None), |(host, port)| (host, Some(port))),
    };
    let is_host = if domain.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        host.split('.').all(is_domain_part)
    };
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0)
    };
    if !is_host {
        return Err(format!("{host:?} is no host name"));
    }
    match port {
        Some(port) if !is_port(port) => Err(format!("{port:?} is no port")),
        _ => Ok(()),
    }
}

fn is_domain_part(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('-')
        && !part.ends_with('-')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn check_path(path: &str) -> Result<(), String> {
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!("the repository name {path:?} must be lower-case"));
    }
    if path.len() > LONGEST_PATH {
        return Err(format!("the repository name is longer than {LONGEST_PATH} characters"));
    }
    match path.split('/').find(|part| !is_path_part(part)) {
        Some(part) => Err(format!(
            "invalid reference format: {part:?} must be lower-case letters and digits, with \
             single dots, one or two underscores or dashes between them"
        )),
        None => Ok(()),
    }
}

/// Letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_path_part(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let has_ends =
        bytes.first().copied().is_some_and(is_word) && bytes.last().copied().is_some_and(is_word);
    has_ends
        && bytes.split(|&b| is_word(b)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-')
        })
}

fn check_tag(tag: &str) -> Result<(), String> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let is_fine = tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'));
    if is_fine {
        return Ok(());
    }
    Err(format!(
        "invalid reference format: the tag {tag:?} must be 1 to {LONGEST_TAG} letters, digits, \
         underscores, dots and dashes, not beginning with a dot or dash"
    ))
}

#[cfg(test)]
mod tests;
