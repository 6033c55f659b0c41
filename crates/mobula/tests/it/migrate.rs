//! The way over from REX-Ray, with the real program: what it reads, writes, refuses and never shows.

use crate::fixture::{Home, call, is_root};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Output, Stdio};

const VFS: &str = "rexray: {logLevel: debug}\nlibstorage: {service: vfs}\n";
const EBS: &str = "libstorage: {service: ebs}\nebs:\n  accessKey: hunter2\n  secretKey: hunter2\n";
const EFS: &str = "libstorage: {service: efs}\nefs:\n  accessKey: hunter2\n  secretKey: hunter2\n";

fn with_rexray(yaml: &str) -> Home {
    let home = Home::new();
    std::fs::create_dir_all(home.path("etc/rexray")).unwrap();
    std::fs::write(home.path("etc/rexray/rexray.yml"), yaml).unwrap();
    home
}

fn migrate(home: &Home, args: &[&str]) -> Output {
    let args: Vec<&str> = ["migrate", "rexray"].iter().chain(args).copied().collect();
    home.command(&args).env("HOME", home.dir()).output().unwrap()
}

fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(text).unwrap()
}

fn written(home: &Home) -> Option<String> {
    std::fs::read_to_string(home.path("etc/mobula/mobula.yml")).ok()
}

#[test]
fn rexrays_configuration_becomes_one_that_is_accepted_and_serves_its_plugin() {
    if !is_root() {
        return;
    }
    let home = with_rexray(VFS);
    let env = home.path("etc/rexray/rexray.env");
    std::fs::write(env, "LINUX_VOLUME_FILEMODE=0750\nREXRAY_FSTYPE=\n").unwrap();
    let output = migrate(&home, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output).contains("services.vfs.volume.mode=0750"), "{}", text(&output));
    let file = home.path("etc/mobula/mobula.yml");
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    assert!(home.ok(&["config", "check"]).contains("ok"));

    let agent = home.start();
    let socket = home.path("run/docker/plugins/rexray.sock");
    let ok = |method: &str, body: &Value| {
        let (status, answer) = call(&socket, &format!("/VolumeDriver.{method}"), &body.to_string());
        assert_eq!(status, 200, "{method}: {answer}\n{}", home.log_tail());
        answer
    };
    ok("Create", &json!({ "Name": "db", "Opts": {} }));
    let mounted = ok("Mount", &json!({ "Name": "db", "ID": "a" }));
    let target = mounted["Mountpoint"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o750);
    std::fs::write(format!("{target}/kept"), "x").unwrap();
    let data = home.path("var/lib/mobula/volumes/vfs/db/data/data/kept");
    assert!(data.exists(), "in the directory data of the volume, as REX-Ray kept it");
    ok("Unmount", &json!({ "Name": "db", "ID": "a" }));
    ok("Remove", &json!({ "Name": "db" }));
    home.assert_clean();
    agent.stop();
}

#[test]
fn nothing_is_overwritten_without_force_and_a_dry_run_writes_nothing() {
    let home = with_rexray(VFS);
    let output = migrate(&home, &["--dry-run"]);
    assert!(output.status.success() && text(&output).contains("Would write"), "{output:?}");
    assert_eq!(written(&home), None);
    for _ in 0..2 {
        // The second time it is there already, as it would be written.
        assert!(migrate(&home, &[]).status.success());
    }
    let made = written(&home);
    home.configure("log: {level: info}\n");
    let output = migrate(&home, &[]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(text(&output).contains("--force"), "{}", text(&output));
    assert_eq!(written(&home).as_deref(), Some("log: {level: info}\n"));
    assert!(migrate(&home, &["--force"]).status.success());
    assert_eq!(written(&home), made);
    let elsewhere = home.path("new/place.yml");
    assert!(migrate(&home, &["--output", elsewhere.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read_to_string(elsewhere).ok(), made);
}

#[test]
fn what_is_not_there_yet_is_told_and_no_secret_is() {
    let home = with_rexray(EFS);
    for args in [&["--dry-run"][..], &["--dry-run", "--format", "json"], &[]] {
        let output = migrate(&home, args);
        assert!(output.status.success(), "{output:?}");
        assert!(!text(&output).contains("hunter2"), "{args:?}: {}", text(&output));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("not there yet, and left out: service efs (driver efs)"), "{said}");
    }
    let made = written(&home).unwrap();
    assert!(made.contains("NOT THERE YET") && !made.contains("hunter2"), "{made}");
    let output = migrate(&home, &["-n", "-f", "json"]);
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(whole["rows"][1]["fate"], "not-there-yet");
    assert_eq!(whole["written"], Value::Null);
    assert_eq!(whole["leftOut"][0], "service efs (driver efs)");
}

#[test]
fn secrets_of_ebs_go_into_files_that_the_new_configuration_reads() {
    let home = with_rexray(EBS);
    let output = migrate(&home, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(!text(&output).contains("hunter2"), "{}", text(&output));
    assert!(!written(&home).unwrap().contains("hunter2"));
    for key in ["accessKey", "secretKey"] {
        let file = home.path("etc/mobula/secrets").join(format!("ebs-{key}"));
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(file).unwrap(), "hunter2");
    }
    assert!(home.ok(&["config", "check"]).contains("ok"));
}

#[test]
fn a_managed_plugins_settings_are_read_from_standard_input() {
    let home = Home::new();
    let args = ["migrate", "rexray", "--plugin-inspect", "-"];
    let mut command = home.command(&args);
    command.env("HOME", home.dir()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let inspected = json!([{
        "Name": "rexray/ebs:latest",
        "Settings": { "Env": ["EBS_REGION=eu-west-1", "EBS_SECRETKEY=hunter2"] },
    }]);
    child.stdin.take().unwrap().write_all(inspected.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = text(&output);
    assert!(said.contains("EBS_REGION") && !said.contains("hunter2"), "{said}");
    assert_eq!(written(&home), None, "a managed plugin is configured by its settings");
}

#[test]
fn where_there_is_no_rexray_the_places_that_were_looked_at_are_named() {
    let home = Home::new();
    let output = migrate(&home, &[]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output).contains("etc/rexray"), "{}", text(&output));
    let output = migrate(&home, &["--config", "nosuch.yml"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn a_malformed_file_is_refused_with_its_place_and_without_its_text() {
    let home = with_rexray("ebs:\n  secretKey: hunter2\n   region: hunter2\n");
    let output = migrate(&home, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = text(&output);
    assert!(said.contains("rexray.yml:3:") && !said.contains("hunter2"), "{said}");
    assert_eq!(written(&home), None);
}

/// 200 KB of aliases, with 400 MB of address space for all of the program.
#[test]
fn a_billion_laughs_are_refused_in_little_memory() {
    let mut yaml = "a0: &a0 [ha]\n".to_owned();
    for n in 1..400 {
        yaml += &format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(100));
    }
    assert!(yaml.len() > 200_000);
    let home = with_rexray(&yaml);
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 400000; exec \"$0\" migrate rexray"])
        .arg(env!("CARGO_BIN_EXE_mobula"))
        .envs([("MOBULA_HOME", home.dir()), ("HOME", home.dir())])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output).contains("aliases followed"), "{}", text(&output));
}

#[test]
fn a_disk_of_rexray_is_imported_on_the_command_line() {
    if !is_root() {
        return;
    }
    let home =
        Home::with("services: {mobula: {driver: loop, volume: {subPath: data, mode: '0700'}}}\n");
    let image = home.path("old.img");
    std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let tree = home.path("tree");
    std::fs::create_dir_all(tree.join("data")).unwrap();
    std::fs::write(tree.join("data/kept"), "of REX-Ray").unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&tree).arg(&image).output();
    assert!(made.unwrap().status.success());
    let from = image.to_str().unwrap();
    for name in ["without", "with"] {
        let agent = (name == "with").then(|| home.start());
        assert_eq!(home.ok(&["volume", "import", name, "--from", from]), name);
        let target = home.ok(&["volume", "mount", name]);
        let kept = std::fs::read_to_string(format!("{target}/kept")).unwrap();
        assert_eq!(kept, "of REX-Ray");
        home.ok(&["volume", "unmount", name]);
        let (code, said) = home.fails(&["volume", "import", "x", "--from", "/nonexistent"]);
        assert_eq!(code, 3, "{said}");
        home.ok(&["volume", "rm", name]);
        home.assert_clean();
        if let Some(agent) = agent {
            agent.stop();
        }
    }
}
