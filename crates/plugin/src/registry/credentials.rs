//! Credentials that come from outside: Docker's `X-Registry-Auth` header, its `config.json` and its
//! credential helpers. Nothing of them is ever written or shown.

use super::{Auth, Registry, blocking};
use crate::reference::{DOCKER_HUB, Reference};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use error::{Error, IoContext, Result};
use host::credential;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// The largest `config.json`, in bytes.
const LARGEST: u64 = 1 << 20;
/// Docker's historical name of Docker Hub in credential stores.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// What helpers give as user when the secret is an identity token.
const TOKEN_USER: &str = "<token>";

const LOOSE: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// One entry of `auths`, and the content of `X-Registry-Auth`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The parts of `config.json` that are about credentials.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: Option<BTreeMap<String, Entry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Base64 in either alphabet, padded or not.
fn decode(text: &str) -> Option<Vec<u8>> {
    let alphabet =
        if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, LOOSE).decode(text).ok()
}

impl Entry {
    fn into_auth(self) -> Auth {
        let given = |value: Option<String>| value.filter(|text| !text.is_empty());
        if let Some(token) = given(self.registrytoken) {
            return Auth::Bearer(token);
        }
        if let Some(token) = given(self.identitytoken) {
            return Auth::Identity(token);
        }
        let pair = given(self.auth).and_then(|auth| String::from_utf8(decode(auth.trim())?).ok());
        let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
        let username = given(self.username).or(pair.map(|(user, _)| user.to_owned()));
        let password = given(self.password).or(pair.map(|(_, word)| word.to_owned()));
        match (username, password) {
            (Some(username), Some(password)) if !username.is_empty() => {
                // Old files pad the password with NUL.
                let password = password.trim_end_matches('\0').to_owned();
                Auth::Basic { username, password }
            }
            _ => Auth::Anonymous,
        }
    }
}

impl Registry {
    /// Reads Docker's `X-Registry-Auth` header (base64url JSON); absent, `e30=` and invalid ones
    /// are anonymous.
    #[must_use]
    pub fn auth_header(value: Option<&str>) -> Auth {
        let bytes = value.and_then(|value| decode(value.trim()));
        let entry: Option<Entry> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        entry.map_or(Auth::Anonymous, Entry::into_auth)
    }

    /// The credentials that the Docker configuration has for `reference`'s registry (`auths`,
    /// `credHelpers`, `credsStore`).
    pub async fn stored_auth(&self, reference: &Reference) -> Result<Auth> {
        let Some(path) = self.options.docker_config.clone() else { return Ok(Auth::Anonymous) };
        let domain = reference.domain.clone();
        blocking(move || look_up(&path, &domain)).await
    }
}

fn look_up(path: &Path, domain: &str) -> Result<Auth> {
    let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
    let Some(mut config) = read(&file)? else { return Ok(Auth::Anonymous) };
    let keys = keys(domain);
    let helper = config.cred_helpers.as_ref().and_then(|helpers| {
        helpers.iter().find(|(key, _)| is_key(key, &keys)).map(|(_, name)| name.clone())
    });
    if let Some(name) = helper.or(config.creds_store.take()).filter(|name| !name.is_empty()) {
        let server = if domain == DOCKER_HUB { HUB_KEY } else { domain };
        if let Some(auth) = ask_helper(&name, server)? {
            return Ok(auth);
        }
    }
    let mut auths = config.auths.unwrap_or_default();
    let exact = keys.iter().find_map(|key| auths.remove(key));
    let found =
        exact.or_else(|| auths.into_iter().find(|(key, _)| is_key(key, &keys)).map(|(_, e)| e));
    Ok(found.map_or(Auth::Anonymous, Entry::into_auth))
}

/// The names of a registry in credential stores.
fn keys(domain: &str) -> Vec<String> {
    let names: &[&str] = match domain {
        DOCKER_HUB => &[HUB_KEY, "index.docker.io", DOCKER_HUB, "registry-1.docker.io"],
        other => &[other],
    };
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Whether `key` names one of `keys`, whatever scheme and path it has.
fn is_key(key: &str, keys: &[String]) -> bool {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or(bare);
    keys.iter().any(|known| known == key || known == host)
}

fn read(file: &Path) -> Result<Option<Config>> {
    let shown = file.display();
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.doing(|| format!("open {shown}"))?,
    };
    let mut bytes = Vec::new();
    opened.take(LARGEST).read_to_end(&mut bytes).doing(|| format!("read {shown}"))?;
    // The parser's own words may quote a secret.
    let config = serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = format!("{shown} cannot be read as JSON (line {line}, column {column})");
        Error::failed_precondition(message)
    })?;
    Ok(Some(config))
}

/// What the helper has for `server`; `None` if it has nothing.
fn ask_helper(name: &str, server: &str) -> Result<Option<Auth>> {
    let Some(answer) = credential::get(name, server, credential::DEADLINE)? else {
        return Ok(None);
    };
    let helped: Helped = serde_json::from_slice(&answer).map_err(|_| {
        let message =
            format!("the credential helper {name:?} answers with something else than JSON");
        Error::failed_precondition(message)
    })?;
    Ok(Some(match helped {
        Helped { username, secret } if username == TOKEN_USER => Auth::Identity(secret),
        Helped { username, .. } if username.is_empty() => return Ok(None),
        Helped { username, secret } => Auth::Basic { username, password: secret },
    }))
}

#[cfg(test)]
mod tests;
