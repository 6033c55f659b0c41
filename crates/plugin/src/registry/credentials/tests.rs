//! Credentials as Docker's clients hand them over and keep them.

use super::*;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

fn basic(username: &str, password: &str) -> Auth {
    Auth::Basic { username: username.to_owned(), password: password.to_owned() }
}

#[test]
fn the_header_is_read_in_each_of_its_forms() {
    let header = |json: &str| Registry::auth_header(Some(&URL_SAFE.encode(json)));
    assert_eq!(header(r#"{"username":"me","password":"p?>w"}"#), basic("me", "p?>w"));
    assert_eq!(header(r#"{"identitytoken":"t","username":"me"}"#), Auth::Identity("t".to_owned()));
    assert_eq!(header(r#"{"registrytoken":"t"}"#), Auth::Bearer("t".to_owned()));
    assert_eq!(header(r#"{"auth":"bWU6c2VjcmV0"}"#), basic("me", "secret"));
    let json = r#"{"username":"me","password":"~~~???"}"#;
    for text in [STANDARD.encode(json), URL_SAFE_NO_PAD.encode(json)] {
        assert_eq!(Registry::auth_header(Some(&text)), basic("me", "~~~???"));
    }
}

#[test]
fn an_absent_empty_or_invalid_header_is_anonymous() {
    for value in [None, Some("e30="), Some(""), Some("%%%"), Some("bnVsbA=="), Some("W10=")] {
        assert_eq!(Registry::auth_header(value), Auth::Anonymous, "{value:?}");
    }
}

fn stored(config: &str, domain: &str) -> Result<Auth> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    look_up(dir.path(), domain)
}

#[test]
fn the_docker_configuration_is_read_by_each_of_a_registrys_names() {
    let entry = r#"{"auth":"bWU6c2VjcmV0"}"#;
    let cases = [
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("r.example:5000", "r.example:5000"),
        ("https://r.example/v2/", "r.example"),
    ];
    for (key, domain) in cases {
        let config = format!(r#"{{"auths":{{"{key}":{entry}}}}}"#);
        assert_eq!(stored(&config, domain).unwrap(), basic("me", "secret"), "{key}");
        assert_eq!(stored(&config, "other.example").unwrap(), Auth::Anonymous);
        assert_eq!(stored(&config, "xr.example").unwrap(), Auth::Anonymous);
    }
    let token = r#"{"auths":{"r.example":{"auth":"bWU6","identitytoken":"t"}}}"#;
    assert_eq!(stored(token, "r.example").unwrap(), Auth::Identity("t".to_owned()));
}

#[test]
fn without_a_configuration_nobody_is_asking() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(look_up(dir.path(), "docker.io").unwrap(), Auth::Anonymous);
    assert_eq!(look_up(&dir.path().join("nowhere"), "docker.io").unwrap(), Auth::Anonymous);
    assert_eq!(stored("{}", "docker.io").unwrap(), Auth::Anonymous);
    assert_eq!(stored(r#"{"auths":null,"credsStore":""}"#, "docker.io").unwrap(), Auth::Anonymous);
}

#[test]
fn a_broken_configuration_is_named_and_not_quoted() {
    let error = stored(r#"{"auths":{"r.example":{"auth":["hunter2"]}}}"#, "r.example").unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("config.json") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_helper_is_chosen_by_registry_and_its_name_is_looked_at() {
    let config = r#"{"credsStore":"no-such-store","credHelpers":{"r.example":"../../bin/sh"}}"#;
    let error = stored(config, "r.example").unwrap_err();
    assert_eq!(error.kind(), error::Kind::InvalidArgument);
    let error = stored(config, "docker.io").unwrap_err();
    assert!(error.message().contains("docker-credential-no-such-store"), "{error}");
}
