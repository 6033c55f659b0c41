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

/// Programs where helpers are looked for, in a mount namespace of this thread.
fn with_helper(name: &str, script: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    host::sandbox::private_mounts().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join(format!("docker-credential-{name}"));
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    host::mount::overlay::bind(dir.path(), Path::new("/usr/local/bin")).unwrap();
    dir
}

/// It has something for two registries, and writes down who asked for what.
const HELPER: &str = r#"
read -r server
echo "$1 $server" >> "$(dirname "$0")/asked"
case "$server" in
https://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"<token>","Secret":"identity"}' ;;
r.example:5000) echo '{"ServerURL":"x","Username":"me","Secret":"p:w"}' ;;
empty.example) echo '{"ServerURL":"x","Username":"","Secret":""}' ;;
odd.example) echo 'hunter2' ;;
*) echo 'credentials not found in native keychain'; exit 1 ;;
esac"#;

#[test]
fn what_a_helper_tells_is_used_and_its_tokens_are_identity_tokens() {
    if !testkit::root::is_root() {
        return;
    }
    let dir = with_helper("fake", HELPER);
    let entry = r#"{"auth":"bWU6c2VjcmV0"}"#;
    let store = format!(
        r#"{{"credsStore":"fake","auths":{{"none.example":{entry},"empty.example":{entry}}}}}"#
    );
    assert_eq!(stored(&store, "docker.io").unwrap(), Auth::Identity("identity".to_owned()));
    assert_eq!(stored(&store, "r.example:5000").unwrap(), basic("me", "p:w"));
    // What it has nothing for may be in the file.
    for domain in ["none.example", "empty.example"] {
        assert_eq!(stored(&store, domain).unwrap(), basic("me", "secret"), "{domain}");
    }
    assert_eq!(stored(&store, "nobody.example").unwrap(), Auth::Anonymous);
    let error = stored(&store, "odd.example").unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("\"fake\"") && !shown.contains("hunter2"), "{shown}");
    // A registry's own helper goes before the store.
    let own = r#"{"credsStore":"no-such-store","credHelpers":{"r.example:5000":"fake"}}"#;
    assert_eq!(stored(own, "r.example:5000").unwrap(), basic("me", "p:w"));
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
    let first: Vec<_> = asked.lines().take(3).collect();
    let expected = ["get https://index.docker.io/v1/", "get r.example:5000", "get none.example"];
    assert_eq!(first, expected);
    host::mount::unmount_below(Path::new("/usr/local/bin"), true).unwrap();
}
