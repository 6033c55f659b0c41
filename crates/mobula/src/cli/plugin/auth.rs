//! Who asks a registry: the caller's Docker configuration, as the header of Docker's API.

use crate::cli::terminal::{note, variable};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use error::Result;
use plugin::reference::Reference;
use plugin::registry::{Auth, Options, Registry};
use serde_json::json;
use std::path::PathBuf;

/// The header's name.
pub(super) const HEADER: &str = "x-registry-auth";

/// The header's value for `reference`'s registry. Credentials that cannot be read are told of, and
/// the registry is asked without any, as docker does it.
pub(super) async fn header(reference: &Reference) -> String {
    encode(&stored(reference).await.unwrap_or_else(|error| {
        note(&format!("going on without credentials for {}: {error}", reference.domain));
        Auth::Anonymous
    }))
}

async fn stored(reference: &Reference) -> Result<Auth> {
    let options = Options { docker_config: docker_config(), ..Options::default() };
    if options.docker_config.as_deref().is_none_or(|dir| !dir.join("config.json").exists()) {
        return Ok(Auth::Anonymous);
    }
    Registry::new(options)?.stored_auth(reference).await
}

/// The directory of docker's configuration.
fn docker_config() -> Option<PathBuf> {
    let told = variable("DOCKER_CONFIG").map(PathBuf::from);
    told.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".docker")))
}

fn encode(auth: &Auth) -> String {
    let value = match auth {
        Auth::Anonymous => json!({}),
        Auth::Basic { username, password } => {
            json!({ "username": username, "password": password })
        }
        Auth::Identity(token) => json!({ "identitytoken": token }),
        Auth::Bearer(token) => json!({ "registrytoken": token }),
    };
    URL_SAFE.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_an_empty_object() {
        assert_eq!(encode(&Auth::Anonymous), "e30=");
    }

    #[test]
    fn credentials_have_dockers_names() {
        let basic = Auth::Basic { username: "u".into(), password: "p?>".into() };
        for (auth, expected) in [
            (basic, json!({"username": "u", "password": "p?>"})),
            (Auth::Identity("t".into()), json!({"identitytoken": "t"})),
            (Auth::Bearer("t".into()), json!({"registrytoken": "t"})),
        ] {
            let decoded = URL_SAFE.decode(encode(&auth)).unwrap();
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&decoded).unwrap(), expected);
        }
    }
}
