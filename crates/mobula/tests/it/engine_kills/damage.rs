//! Records that are torn, newer or gone, blobs that are gone, and what does not belong into the
//! state directory: the engine starts, says what is wrong, and destroys nothing.

use super::lab::Lab;
use crate::fixture::{PATIENCE, eventually, is_root};
use crate::plugins::image::probe;
use std::path::{Path, PathBuf};

/// Two plugins; the first is the one to be damaged. Its directory.
fn two() -> (Lab, PathBuf) {
    let lab = Lab::started();
    lab.create("good", &probe().and_file("good", "good"));
    lab.create("bad", &probe().and_file("bad", "bad"));
    let dir = lab.state_dir("bad");
    (lab, dir)
}

fn blobs(lab: &Lab) -> usize {
    lab.entries("var/lib/mobula/blobs/sha256").len()
}

/// Starts the engine with what was damaged, does what collects garbage, and compares.
fn survives(lab: &mut Lab, dir: &Path, about: &str) {
    lab.kill();
    let before = (
        std::fs::read(dir.join("plugin.json")).unwrap(),
        blobs(lab),
        lab.entries("var/lib/mobula/layers").len(),
    );
    lab.start();
    assert_eq!(lab.names(), ["good:latest"], "{about}");
    assert!(lab.log().contains("left alone"), "{about}: {}", lab.log());
    lab.create("other", &probe().and_file("other", about));
    lab.ok(&["rm", "other"]);
    let refused = lab.fails(&["gc"]);
    assert!(refused.contains("nobody knows"), "{about}: {refused}");
    lab.ok(&["enable", "good"]);
    lab.ok(&["disable", "good"]);
    let kept =
        lab.entries("var/lib/mobula/plugins").contains(dir.file_name().unwrap().to_str().unwrap());
    assert!(kept, "{about}: it is gone");
    assert_eq!(std::fs::read(dir.join("plugin.json")).unwrap(), before.0, "{about}");
    assert!(blobs(lab) >= before.1, "{about}: its blobs were taken for garbage");
    assert!(lab.entries("var/lib/mobula/layers").len() >= before.2, "{about}: its layers were");
}

#[test]
fn a_torn_or_newer_record_is_left_alone_with_all_that_belongs_to_it() {
    if !is_root() {
        return;
    }
    let (mut lab, dir) = two();
    let path = dir.join("plugin.json");
    let whole = std::fs::read(&path).unwrap();
    let newer =
        String::from_utf8_lossy(&whole).replace("\"version\": 1", "\"version\": 99").into_bytes();
    assert_ne!(newer, whole);
    let damaged = [
        newer,
        whole[..whole.len() / 2].to_vec(),
        whole[..7].to_vec(),
        Vec::new(),
        vec![0; whole.len()],
    ];
    for (round, text) in damaged.iter().enumerate() {
        std::fs::write(&path, text).unwrap();
        survives(&mut lab, &dir, &format!("damage {round}"));
    }
    lab.kill();
    std::fs::write(&path, &whole).unwrap();
    lab.start();
    lab.ok(&["enable", "bad"]);
    lab.ok(&["disable", "bad"]);
}

#[test]
fn a_plugin_whose_record_is_gone_keeps_its_data() {
    if !is_root() {
        return;
    }
    let (mut lab, dir) = two();
    lab.ok(&["enable", "bad"]);
    let data = dir.join("propagated-mount/data");
    std::fs::write(&data, "precious").unwrap();
    lab.ok(&["disable", "bad"]);
    lab.kill();
    std::fs::remove_file(dir.join("plugin.json")).unwrap();
    lab.start();
    assert_eq!(lab.names(), ["good:latest"]);
    assert_eq!(std::fs::read_to_string(&data).unwrap(), "precious");
}

#[test]
fn a_plugin_without_its_configuration_can_be_removed_and_others_go_on() {
    if !is_root() {
        return;
    }
    let (mut lab, dir) = two();
    lab.ok(&["enable", "bad"]);
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("plugin.json")).unwrap()).unwrap();
    let text = record["config"]["digest"].as_str().unwrap();
    let blob =
        lab.home.path("var/lib/mobula/blobs/sha256").join(text.trim_start_matches("sha256:"));
    std::fs::remove_file(&blob).unwrap();
    lab.restart();
    assert_eq!(lab.names(), ["bad:latest", "good:latest"]);
    eventually("it says why", PATIENCE, || {
        let problem = lab.describe("bad")["problem"].to_string();
        problem.contains("cannot be read") || problem.contains("is not here")
    });
    lab.ok(&["enable", "good"]);
    lab.ok(&["rm", "-f", "bad"]);
    lab.ok(&["rm", "-f", "good"]);
    assert!(lab.entries("var/lib/mobula/plugins").is_empty());
}

#[test]
fn what_does_not_belong_there_is_left_alone() {
    if !is_root() {
        return;
    }
    let (mut lab, _) = two();
    lab.kill();
    let plugins = lab.plugins_dir();
    std::fs::write(plugins.join("README"), "mine").unwrap();
    std::fs::create_dir_all(plugins.join("lost+found/x")).unwrap();
    std::fs::write(plugins.join("f".repeat(64)), "a file with the name of a plugin").unwrap();
    std::os::unix::fs::symlink("/etc", plugins.join("e".repeat(64))).unwrap();
    std::fs::write(lab.home.path("var/lib/mobula/blobs/sha256/notes.txt"), "mine").unwrap();
    lab.start();
    assert_eq!(lab.names(), ["bad:latest", "good:latest"]);
    lab.ok(&["enable", "bad"]);
    lab.ok(&["disable", "bad"]);
    for name in ["README", "lost+found/x"] {
        assert!(plugins.join(name).exists(), "{name}");
    }
    assert!(Path::new("/etc/passwd").exists());
}

/// A file that can't be removed: the plugin is gone for its users all the same.
#[test]
fn a_plugin_whose_directory_cannot_be_removed_is_not_shown_half() {
    if !is_root() {
        return;
    }
    let (mut lab, dir) = two();
    // A mount inside it that is made in the meantime can't be simulated; an attribute can.
    let file = dir.join("stuck");
    std::fs::write(&file, "").unwrap();
    let made = std::process::Command::new("chattr").arg("+i").arg(&file).output().unwrap();
    if !made.status.success() {
        return;
    }
    let removed = lab.run(&["rm", "bad"]);
    let names = lab.names();
    let stuck =
        lab.plugins_dir().join(format!("{}-removing", dir.file_name().unwrap().to_str().unwrap()));
    let _ = std::process::Command::new("chattr").args(["-R", "-i"]).arg(lab.plugins_dir()).output();
    assert_eq!(names, ["good:latest"], "{removed:?}; {}", stuck.exists());
    lab.restart();
    assert_eq!(lab.entries("var/lib/mobula/plugins").len(), 1);
}
