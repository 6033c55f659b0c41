//! What is in an image.

use super::make::{made, manifest, next_program, plugin_image, program};
use crate::engine::fixture::ok;
use crate::fixture::{Home, is_root};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn files(dir: &Path) -> Vec<PathBuf> {
    let said = ok(Command::new("find").arg(dir).args(["-type", "f"]));
    said.lines().map(PathBuf::from).collect()
}

#[test]
fn the_same_program_gives_the_same_image_and_another_one_another() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let make = |name: &str, program: &Path| {
        let out = home.path(name);
        ok(&mut plugin_image("ebs", program, &out));
        std::fs::read(out.join("ebs.tar")).unwrap()
    };
    let first = make("first", program());
    assert!(first == make("second", program()), "two runs differ");
    assert!(first != make("third", &next_program(&home)));
}

#[test]
fn an_image_holds_no_shell_nothing_setuid_and_little_beside_the_program() {
    if !is_root() {
        return;
    }
    for driver in ["local", "loop", "ebs"] {
        let root = made().join(driver).join("rootfs");
        let files = files(&root);
        assert!(files.contains(&root.join("mobula")));
        for file in &files {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7022, 0, "{} has mode {mode:o}", file.display());
            let name = file.file_name().unwrap().to_str().unwrap();
            let is_shell = ["sh", "bash", "dash", "busybox", "ash"].contains(&name);
            assert!(!is_shell, "{}", file.display());
        }
        let archive = tempfile::NamedTempFile::new().unwrap();
        ok(Command::new("tar")
            .args(["-czf"])
            .arg(archive.path())
            .args(["--exclude=./mobula", "-C"])
            .arg(&root)
            .arg("."));
        let packed = archive.path().metadata().unwrap().len();
        assert!(packed < 8 << 20, "{driver}: {packed} bytes beside the program");
    }
}

/// Each tool is there with its libraries: it starts in nothing but the image.
#[test]
fn every_tool_of_an_image_starts_in_it() {
    if !is_root() {
        return;
    }
    let root = made().join("loop/rootfs");
    for (name, _) in host::command::PROGRAMS {
        let output = Command::new("/usr/sbin/chroot")
            .arg(&root)
            .arg(Path::new("/usr/sbin").join(name))
            .arg("-V")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let missing = [126, 127].contains(&output.status.code().unwrap_or(127));
        assert!(!missing && !said.contains("shared libraries"), "{name}: {output:?}");
    }
}

/// What Docker asks for, and what can be set, follow from the driver's description.
#[test]
fn the_image_of_a_driver_with_a_network_asks_for_one_and_takes_its_variables() {
    if !is_root() {
        return;
    }
    let config = std::fs::read(made().join("ebs/config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let of = |name: &str| config.get(name).cloned().unwrap_or_default();
    assert_eq!(of("Entrypoint"), json!(["/mobula", "__managed", "ebs"]));
    assert_eq!(of("Network"), json!({ "Type": "host" }));
    assert_eq!(of("Linux")["AllowAllDevices"], json!(true));
    assert_eq!(of("Linux")["Capabilities"], json!(["CAP_SYS_ADMIN"]));
    assert_eq!(of("PropagatedMount"), json!("/run/mobula/mounts"));
    let mounts: Vec<_> =
        of("Mounts").as_array().unwrap().iter().map(|m| m["Source"].clone()).collect();
    assert_eq!(mounts, [json!("/dev"), json!("/srv")]);
    let env = of("Env");
    let env = env.as_array().unwrap();
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "SSL_CERT_FILE",
        "HTTPS_PROXY",
        "EBS_SECRETKEY",
        "EBS_KMSKEYID",
        "EBS_STATUSTIMEOUT",
        "EBS_NVMEBINPATH",
        "REXRAY_PREEMPT",
        "VOLUME_VOLUMETYPE",
    ] {
        let found = env.iter().find(|one| one["Name"] == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(found["Settable"], json!(["value"]), "{name}");
        let is_secret = ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "HTTPS_PROXY", "EBS_SECRETKEY"];
        let marked = found["Description"].as_str().unwrap().contains("@/machine/secrets/");
        assert_eq!(marked, is_secret.contains(&name), "{found}");
    }
}

#[test]
fn an_image_has_certificates_where_its_driver_has_a_network_and_nowhere_else() {
    if !is_root() {
        return;
    }
    for (driver, has_network) in [("local", false), ("loop", false), ("ebs", true)] {
        let root = made().join(driver).join("rootfs");
        let bundle = std::fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt"));
        assert_eq!(bundle.is_ok(), has_network, "{driver}");
        assert_eq!(root.join("etc/nsswitch.conf").exists(), has_network, "{driver}");
        if let Ok(bundle) = bundle {
            assert!(bundle.matches("BEGIN CERTIFICATE").count() > 50, "few authorities");
        }
    }
}

#[test]
fn an_image_is_one_layer_that_a_registry_names_by_its_digest() {
    if !is_root() {
        return;
    }
    for driver in ["local", "loop", "ebs"] {
        let manifest = manifest(driver);
        let config = made().join(driver).with_extension("layout").join("blobs");
        let digest = manifest["config"]["digest"].as_str().unwrap().replace(':', "/");
        let config = std::fs::read_to_string(config.join(digest)).unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap();
        assert!(config.contains(layer), "{config}");
    }
}
