//! What goes wrong around the agent: records, disks, holders, hanging file systems, full tables.

use crate::fixture::{Home, PATIENCE, call, eventually, is_root};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const LOOP: &str = "services: {mobula: {driver: loop, volume: {size: 16MiB}}}\n";
const LOCAL: &str = "services: {mobula: {driver: local}}\n";

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

fn names(home: &Home) -> Vec<String> {
    let list = home.docker_ok("List", &json!({}));
    let volumes = list["Volumes"].as_array().unwrap();
    volumes.iter().map(|volume| volume["Name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_damaged_record_is_set_aside_and_its_volume_keeps_its_data() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let agent = home.start();
    for name in ["empty", "zeros", "flipped", "torn", "fine"] {
        home.create(name, json!({ "subPath": "inner", "mode": "0711" }));
        std::fs::write(home.mount(name, "i").join("kept"), name).unwrap();
        home.unmount(name, "i");
    }
    agent.kill();
    let record = |name: &str| home.volume_dir(name).join("volume.json");
    let text = std::fs::read(record("torn")).unwrap();
    std::fs::write(record("empty"), "").unwrap();
    std::fs::write(record("zeros"), vec![0; text.len()]).unwrap();
    let mut flipped = text.clone();
    flipped[0] ^= 0x40;
    std::fs::write(record("flipped"), flipped).unwrap();
    std::fs::write(record("torn"), &text[..text.len() / 2]).unwrap();
    let _agent = home.start();
    assert_eq!(names(&home), ["empty", "fine", "flipped", "torn", "zeros"]);
    for name in ["empty", "zeros", "flipped", "torn", "fine"] {
        // Without its options it would be mounted as a whole: another, empty place to its container.
        let kept = home.mount(name, "i").join("kept");
        assert_eq!(std::fs::read_to_string(kept).unwrap(), name);
        home.create(name, json!({ "subPath": "inner", "mode": "0711" }));
        home.unmount(name, "i");
        let aside = home.volume_dir(name).join("volume.json.unusable");
        assert_eq!(aside.exists(), name != "fine", "the damaged one is kept");
    }
    assert!(home.log().contains("set aside"), "{}", home.log());
}

#[test]
fn a_record_of_a_newer_version_is_refused_and_left_as_it_is() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("old", json!({}));
    home.create("new", json!({}));
    let record = home.volume_dir("new").join("volume.json");
    let text =
        std::fs::read_to_string(&record).unwrap().replace("\"version\": 1", "\"version\": 2");
    std::fs::write(&record, &text).unwrap();
    let (_, reason) = home.docker_err("Mount", &json!({ "Name": "new", "ID": "i" }));
    assert!(reason.contains("newer mobula"), "{reason}");
    assert_eq!(names(&home), ["new", "old"], "what is not listed is taken for gone");
    assert_eq!(std::fs::read_to_string(&record).unwrap(), text);
}

#[test]
fn a_volume_that_cannot_be_used_is_shown_as_faulty_and_kept_as_it_is() {
    if !is_root() {
        return;
    }
    for driver in ["loop", "local"] {
        let home = Home::with(&format!("services: {{mobula: {{driver: {driver}}}}}\n"));
        let look = |home: &Home| {
            let table = home.ok(&["volume", "ls"]);
            assert!(
                table.lines().any(|line| line.contains("pg") && line.contains("faulty")),
                "{table}"
            );
            let shown = home.ok(&["volume", "inspect", "pg"]);
            let shown: Value = serde_json::from_str(&shown).unwrap();
            let rows: Value = serde_json::from_str(&home.ok(&["volume", "ls", "--json"])).unwrap();
            assert_eq!(rows, shown, "in the same shape");
            let fault = shown[0]["fault"].as_str().unwrap().to_owned();
            assert!(fault.contains("volume.json") && fault.contains("newer mobula"), "{fault}");
            for words in [&["create"][..], &["mount"], &["rm"], &["rm", "--force"]] {
                let (_, said) = home.fails(&[&["volume"], words, &["pg"]].concat());
                assert!(said.contains("newer mobula"), "{words:?}: {said}");
            }
        };
        home.ok(&["volume", "create", "pg"]);
        let record = home.volume_dir("pg").join("volume.json");
        let sound = std::fs::read_to_string(&record).unwrap();
        let newer = sound.replace("\"version\": 1", "\"version\": 2");
        std::fs::write(&record, &newer).unwrap();
        look(&home);
        let agent = home.start();
        look(&home);
        let docker = home.docker_ok("Get", &json!({ "Name": "pg" }));
        let fault = docker["Volume"]["Status"]["fault"].as_str().unwrap();
        assert!(fault.contains("newer mobula"), "{fault}");
        assert_eq!(home.docker_err("Create", &json!({ "Name": "pg" })).0, 412);
        assert_eq!(home.docker_err("Remove", &json!({ "Name": "pg" })).0, 412);
        let report = home.run(&["doctor", "--json"]).stdout;
        let report: Value = serde_json::from_slice(&report).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["check"] == "volume").unwrap();
        assert_eq!(finding["status"], "problem", "{finding}");
        assert!(finding["lookedAt"].as_str().unwrap().contains("volume pg"), "{finding}");
        assert!(finding["found"].as_str().unwrap().contains("newer mobula"), "{finding}");
        assert_eq!(std::fs::read_to_string(&record).unwrap(), newer, "left as it is");
        std::fs::write(&record, &sound).unwrap();
        assert!(home.ok(&["volume", "ls"]).contains("available"));
        home.ok(&["volume", "rm", "pg"]);
        agent.stop();
    }
}

#[test]
fn a_volume_whose_disk_holds_something_else_is_never_touched() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    let image = home.volume_dir("a").join("image");
    for (what, damage) in [
        ("swap", vec!["mkswap", "-q"]),
        ("another ext4 file system", vec!["mkfs.ext4", "-q", "-F"]),
        ("xfs", vec!["mkfs.btrfs", "-q", "-f"]),
        ("nothing at all", vec!["truncate", "-s0"]),
    ] {
        File::options().write(true).open(&image).unwrap().set_len(0).unwrap();
        File::options().write(true).open(&image).unwrap().set_len(128 << 20).unwrap();
        let mut args: Vec<&str> = damage[1..].to_vec();
        args.push(image.to_str().unwrap());
        run(damage[0], &args);
        File::options().write(true).open(&image).unwrap().set_len(128 << 20).unwrap();
        let before = digest(&image);
        let (status, reason) = home.docker_err("Mount", &json!({ "Name": "a", "ID": "i" }));
        assert_eq!(status, 412, "{what}: {reason}");
        assert!(reason.contains("volume a: device /dev/loop"), "{what}: {reason}");
        assert_eq!(digest(&image), before, "{what}: not a byte is changed");
        home.assert_clean();
        assert!(!home.target("a").exists());
    }
}

fn digest(path: &Path) -> Vec<u8> {
    Command::new("sha256sum").arg(path).output().unwrap().stdout
}

#[test]
fn a_volume_that_somebody_works_in_is_not_unmounted_and_released_later() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    let file = File::create(home.mount("a", "i").join("open")).unwrap();
    let (status, reason) = home.docker_err("Unmount", &json!({ "Name": "a", "ID": "i" }));
    assert_eq!(status, 412);
    assert!(reason.contains(&format!("(pid {})", std::process::id())), "{reason}");
    assert!(home.is_mounted("a"), "never lazily");
    let (_, reason) = home.docker_err("Remove", &json!({ "Name": "a" }));
    assert!(reason.contains("in use"), "{reason}");
    drop(file);
    eventually("it is released as soon as it can be", PATIENCE, || !home.is_mounted("a"));
    eventually("it can be removed", PATIENCE, || {
        home.docker("Remove", &json!({ "Name": "a" })).0 == 200
    });
    home.assert_clean();
}

#[test]
fn a_volume_is_not_removed_while_another_mount_namespace_holds_it() {
    if !is_root() {
        return;
    }
    for config in [LOOP, LOCAL] {
        let home = Home::with(config);
        let _agent = home.start();
        home.create("a", json!({}));
        home.mount("a", "i");
        let place = home.path("container");
        std::fs::create_dir(&place).unwrap();
        let mut container = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount --bind \"$0\" \"$1\" && umount \"$0\" && touch \"$1/ready\" && exec sleep 300")
            .args([home.target("a"), place])
            .spawn()
            .unwrap();
        eventually("the container runs", PATIENCE, || home.target("a").join("ready").exists());
        home.unmount("a", "i");
        let (status, reason) = home.docker_err("Remove", &json!({ "Name": "a" }));
        assert_eq!(status, 412, "{reason}");
        assert!(reason.contains("sleep (pid"), "{config}: names who: {reason}");
        // It can be mounted again meanwhile: the same file system, not a second device.
        assert!(home.mount("a", "j").join("ready").exists());
        assert!(home.loops().len() <= 1);
        home.unmount("a", "j");
        container.kill().unwrap();
        container.wait().unwrap();
        eventually("it can be removed", PATIENCE, || {
            home.docker("Remove", &json!({ "Name": "a" })).0 == 200
        });
        home.assert_clean();
    }
}

#[test]
fn a_file_system_that_the_kernel_made_read_only_is_reported() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    let target = home.mount("a", "i");
    let before = home.docker_ok("Get", &json!({ "Name": "a" }))["Volume"]["Status"].clone();
    assert_eq!(before["fault"], Value::Null);
    run("mount", &["-o", "remount,ro", target.to_str().unwrap()]);
    eventually("the fault is seen", PATIENCE, || {
        let answer = home.docker_ok("Get", &json!({ "Name": "a" }));
        let fault = answer["Volume"]["Status"]["fault"].clone();
        fault.as_str().is_some_and(|fault| fault.contains("read-only"))
    });
    assert!(home.ok(&["volume", "ls"]).contains("faulty"));
    home.unmount("a", "i");
    home.mount("a", "j");
    eventually("mounted again it is well", PATIENCE, || {
        let answer = home.docker_ok("Get", &json!({ "Name": "a" }));
        answer["Volume"]["Status"]["fault"] == Value::Null
    });
    home.unmount("a", "j");
    home.assert_clean();
}

#[test]
fn a_disk_that_fails_while_it_is_mounted_is_reported_and_can_be_let_go() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    // The image believes it has 16 MiB, and the disk below it runs out before that.
    let state = state_on(&home, "size=6m");
    home.configure(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    let target = home.mount("a", "i");
    let mut filler = File::create(state.join("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    let mut number = 0;
    eventually("the kernel gives up on the file system", PATIENCE, || {
        number += 1;
        let _ = std::fs::write(target.join(format!("file-{number}")), vec![1; 1 << 18]);
        let _ = Command::new("sync").arg("-f").arg(&target).output();
        host::mountinfo::at(&target).unwrap().unwrap().is_read_only()
    });
    eventually("the fault is reported", PATIENCE, || {
        home.docker_ok("Get", &json!({ "Name": "a" }))["Volume"]["Status"]["fault"].is_string()
    });
    home.unmount("a", "i");
    drop(filler);
    std::fs::remove_file(state.join("filler")).unwrap();
    home.mount("a", "j");
    assert!(std::fs::write(target.join("again"), "x").is_ok(), "repaired, and mounted for writing");
    home.unmount("a", "j");
    home.remove("a");
    home.assert_clean_but(&state);
}

#[test]
fn a_mount_that_somebody_else_undid_is_made_again() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    run("umount", &[home.mount("a", "one").to_str().unwrap()]);
    home.mount("a", "two");
    assert!(home.is_mounted("a"), "never a bare directory");
    home.unmount("a", "two");
    assert!(home.is_mounted("a"), "the first still has it");
    home.unmount("a", "one");
    home.assert_clean();
}

#[test]
fn something_else_at_the_mount_point_is_never_given_out_as_the_volume() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    let target = home.target("a");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::write(target.join("stray"), "x").unwrap();
    let (_, reason) = home.docker_err("Mount", &json!({ "Name": "a", "ID": "i" }));
    assert!(reason.contains("not empty"), "{reason}");
    std::fs::remove_file(target.join("stray")).unwrap();
    run("mount", &["-t", "tmpfs", "other", target.to_str().unwrap()]);
    let (_, reason) = home.docker_err("Mount", &json!({ "Name": "a", "ID": "i" }));
    assert!(reason.contains("tmpfs other"), "{reason}");
    run("umount", &[target.to_str().unwrap()]);
    home.mount("a", "i");
    home.unmount("a", "i");
    home.assert_clean();
}

/// A FUSE file system whose server never answers, until the descriptor is dropped.
fn hang(target: &Path) -> File {
    let fuse = File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
    let flags = rustix::mount::MountFlags::empty();
    let options = std::ffi::CString::new(options).unwrap();
    rustix::mount::mount("hung", target, "fuse", flags, options.as_c_str()).unwrap();
    fuse
}

#[test]
fn a_hanging_file_system_delays_only_its_own_volume() {
    if !is_root() {
        return;
    }
    let home = Home::with("services: {mobula: {driver: local, volume: {mode: 0700}}}\n");
    // The agent must see the mount made below: it starts in this very mount namespace.
    let agent = home.start();
    home.create("hung", json!({}));
    home.create("fine", json!({}));
    let data = home.volume_dir("hung").join("data");
    let fuse = hang(&data);
    let socket = home.plugin();
    let stuck = std::thread::spawn(move || {
        call(&socket, "/VolumeDriver.Mount", r#"{"Name":"hung","ID":"i"}"#)
    });
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(home.docker("Get", &json!({ "Name": "hung" })).0, 200);
        assert_eq!(names(&home), ["fine", "hung"]);
        home.mount("fine", "i");
        home.unmount("fine", "i");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // Aborts the connection: whoever waits for it gets an error.
    drop(fuse);
    let _ = Command::new("umount").arg("-l").arg(&data).output();
    let _ = stuck.join();
    agent.kill();
}

#[test]
fn a_mount_whose_caller_gave_up_does_not_pin_the_volume() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    let body = r#"{"Name":"a","ID":"of-a-caller-that-hung-up"}"#;
    // The caller lives on, as dockerd does, but it has hung up before the answer came.
    eventually("the mount outlives its call", PATIENCE, || {
        let mut client = UnixStream::connect(home.plugin()).unwrap();
        let head = format!(
            "POST /VolumeDriver.Mount HTTP/1.1\r\nHost: p\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write_all(head.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_micros(300));
        drop(client);
        // Where the agent had not read the call by then, nothing was asked of it.
        let begun = Instant::now();
        while !home.is_mounted("a") {
            if begun.elapsed() > Duration::from_secs(2) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let ledger = home.path("run/mobula/ledger/mobula/a.json");
        eventually("it is recorded", PATIENCE, || {
            std::fs::read_to_string(&ledger).is_ok_and(|entry| entry.contains("hung-up"))
        });
        let lapses = std::fs::read_to_string(&ledger).unwrap().contains("\"found\"");
        if !lapses {
            home.unmount("a", "of-a-caller-that-hung-up");
        }
        lapses
    });
    eventually("it lapses", PATIENCE * 2, || !home.is_mounted("a"));
    home.remove("a");
    home.assert_clean();
}

#[test]
fn a_new_volume_never_gets_the_mount_of_one_that_was_removed_by_hand() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    std::fs::write(home.mount("a", "i").join("old"), "x").unwrap();
    std::fs::remove_dir_all(home.volume_dir("a")).unwrap();
    let (status, reason) = home.docker_err("Create", &json!({ "Name": "a" }));
    assert!(status == 412 && reason.contains("unmount --all a"), "{status}: {reason}");
    assert!(home.ok(&["volume", "ls"]).contains("faulty"));
    home.ok(&["volume", "unmount", "--all", "a"]);
    home.create("a", json!({}));
    assert!(!home.mount("a", "j").join("old").exists());
    home.unmount("a", "j");
    home.assert_clean();
}

#[test]
fn what_is_no_mount_point_is_not_given_out_by_lookups_either() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    run("umount", &[home.mount("a", "i").to_str().unwrap()]);
    assert_eq!(home.docker_ok("Path", &json!({ "Name": "a" }))["Mountpoint"], "");
    assert_eq!(home.docker_ok("Get", &json!({ "Name": "a" }))["Volume"]["Mountpoint"], "");
    assert_eq!(home.fails(&["volume", "path", "a"]).0, 4);
    home.unmount("a", "i");
    home.assert_clean();
}

#[test]
fn a_directory_that_never_was_a_volume_is_none() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    std::fs::create_dir_all(home.volume_dir("project").join("data")).unwrap();
    std::fs::write(home.volume_dir("project").join("main.c"), "kept").unwrap();
    assert_eq!(names(&home), Vec::<String>::new());
    let _ = home.docker("Remove", &json!({ "Name": "project" }));
    assert!(home.volume_dir("project").join("main.c").exists());
}

#[test]
fn a_full_run_directory_does_not_keep_a_volume_from_being_given_back() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let run_dir = home.path("run");
    std::fs::create_dir_all(&run_dir).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=1m", "run", run_dir.to_str().unwrap()]);
    home.configure(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    home.mount("a", "i");
    let mut filler = File::create(run_dir.join("filler")).unwrap();
    while filler.write_all(&[1; 512]).is_ok() {}
    home.unmount("a", "i");
    assert!(!home.is_mounted("a"));
    home.assert_clean_but(&run_dir);
}

#[test]
fn a_foreign_mount_is_not_adopted_by_a_start() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let agent = home.start();
    home.create("a", json!({}));
    agent.kill();
    let target = home.target("a");
    std::fs::create_dir_all(&target).unwrap();
    run("mount", &["-t", "tmpfs", "other", target.to_str().unwrap()]);
    let _agent = home.start();
    eventually("the start says so", PATIENCE, || home.log().contains("is not this volume"));
    let (_, reason) = home.docker_err("Mount", &json!({ "Name": "a", "ID": "i" }));
    assert!(reason.contains("tmpfs other"), "{reason}");
    assert!(host::mountinfo::at(&target).unwrap().is_some(), "what others mounted stays");
    run("umount", &[target.to_str().unwrap()]);
    home.mount("a", "i");
    home.unmount("a", "i");
    home.assert_clean();
}

#[test]
fn what_somebody_else_holds_is_not_copied_as_if_it_were_still() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    home.mount("a", "i");
    let place = home.path("container");
    std::fs::create_dir(&place).unwrap();
    let mut container = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg("mount --bind \"$0\" \"$1\" && umount \"$0\" && touch \"$1/ready\" && exec sleep 300")
        .args([home.target("a"), place])
        .spawn()
        .unwrap();
    eventually("the container runs", PATIENCE, || home.target("a").join("ready").exists());
    home.unmount("a", "i");
    let (code, said) = home.fails(&["snapshot", "create", "a", "s"]);
    assert!(code == 4 && said.contains("sleep (pid"), "{code}: {said}");
    home.mount("a", "j");
    home.ok(&["snapshot", "create", "a", "s"]);
    // Who takes one a day under one name must not believe that it was taken.
    let (code, said) = home.fails(&["snapshot", "create", "a", "s"]);
    assert!(code == 4 && said.contains("none was taken"), "{code}: {said}");
    home.ok(&["snapshot", "create", "--idempotent", "a", "s"]);
    home.unmount("a", "j");
    container.kill().unwrap();
    container.wait().unwrap();
    home.ok(&["snapshot", "rm", "s"]);
    eventually("it can be removed", PATIENCE, || {
        home.docker("Remove", &json!({ "Name": "a" })).0 == 200
    });
    home.assert_clean();
}

#[test]
fn a_stuck_volume_does_not_keep_a_new_configuration_from_other_services() {
    if !is_root() {
        return;
    }
    let home = Home::with("services: {mobula: {driver: local, volume: {mode: 0700}}}\n");
    let agent = home.start();
    home.create("hung", json!({}));
    let data = home.volume_dir("hung").join("data");
    let fuse = hang(&data);
    let socket = home.plugin();
    let stuck = std::thread::spawn(move || {
        call(&socket, "/VolumeDriver.Mount", r#"{"Name":"hung","ID":"i"}"#)
    });
    eventually("the mount is under way", PATIENCE, || {
        home.path("run/mobula/ledger/mobula/hung.json").exists()
    });
    home.configure(
        "services:\n  mobula: {driver: local, volume: {mode: 0750}}\n  other: {driver: local}\n",
    );
    agent.signal("-HUP");
    let other = home.path("run/docker/plugins/other.sock");
    eventually("the other service is there", PATIENCE, || {
        UnixStream::connect(&other).is_ok()
            && call(&other, "/VolumeDriver.Create", r#"{"Name":"b"}"#).0 == 200
    });
    assert!(home.log().contains("its old configuration stays"), "{}", home.log_tail());
    assert_eq!(home.docker("Get", &json!({ "Name": "hung" })).0, 200);
    drop(fuse);
    let _ = Command::new("umount").arg("-l").arg(&data).output();
    let _ = stuck.join();
    agent.kill();
}

#[test]
fn work_goes_on_when_its_client_has_gone_and_the_next_call_joins_it() {
    if !is_root() {
        return;
    }
    let home =
        Home::with("services: {mobula: {driver: loop, volume: {size: 2GiB, fsType: btrfs}}}\n");
    let _agent = home.start();
    let body = json!({ "Name": "a" }).to_string();
    for _ in 0..5 {
        let mut client = UnixStream::connect(home.plugin()).unwrap();
        let head = format!(
            "POST /VolumeDriver.Create HTTP/1.1\r\nHost: p\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write_all(head.as_bytes()).unwrap();
    }
    home.create("a", json!({}));
    assert_eq!(names(&home), ["a"], "one volume, not six");
    assert!(home.mount("a", "i").exists());
    home.unmount("a", "i");
    home.assert_clean();
}

/// A file system for the state directory with this mkfs and size.
fn state_on(home: &Home, options: &str) -> PathBuf {
    let state = home.path("var/lib/mobula");
    std::fs::create_dir_all(&state).unwrap();
    run("mount", &["-t", "tmpfs", "-o", options, "state", state.to_str().unwrap()]);
    state
}

#[test]
fn a_full_state_directory_is_an_error_and_nothing_is_lost() {
    if !is_root() {
        return;
    }
    for options in ["size=12m", "size=64m,nr_inodes=24"] {
        let home = Home::new();
        let state = state_on(&home, options);
        home.configure("services: {mobula: {driver: local}}\n");
        let _agent = home.start();
        home.create("before", json!({}));
        std::fs::write(home.mount("before", "i").join("kept"), "data").unwrap();
        let mut filler = 0;
        while std::fs::write(state.join(format!("filler-{filler}")), vec![0; 1 << 20]).is_ok() {
            filler += 1;
        }
        let (status, reason) = home.docker_err("Create", &json!({ "Name": "late" }));
        assert_eq!(status, 507, "{options}: {reason}");
        assert!(reason.contains("No space left"), "{reason}");
        assert_eq!(names(&home), ["before"]);
        for n in 0..=filler {
            let _ = std::fs::remove_file(state.join(format!("filler-{n}")));
        }
        home.create("late", json!({}));
        assert_eq!(std::fs::read_to_string(home.target("before").join("kept")).unwrap(), "data");
        home.unmount("before", "i");
    }
}

#[test]
fn a_read_only_state_directory_is_an_error_and_volumes_stay_readable() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let state = state_on(&home, "size=64m");
    home.configure(LOOP);
    let _agent = home.start();
    home.create("a", json!({}));
    run("mount", &["-o", "remount,ro", state.to_str().unwrap()]);
    let (status, reason) = home.docker_err("Create", &json!({ "Name": "b" }));
    assert_eq!(status, 412, "{reason}");
    assert!(reason.contains("Read-only file system"), "{reason}");
    home.docker_err("Remove", &json!({ "Name": "a" }));
    assert_eq!(names(&home), ["a"]);
    run("mount", &["-o", "remount,rw", state.to_str().unwrap()]);
    home.create("b", json!({}));
    home.remove("a");
}

#[test]
fn a_disk_that_fails_on_fsync_fails_the_operation() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    // A file system that believes it has 64 MiB, on a disk that runs out after 6.
    let thin = home.path("thin");
    std::fs::create_dir(&thin).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=6m", "thin", thin.to_str().unwrap()]);
    let image = thin.join("image");
    File::create(&image).unwrap().set_len(64 << 20).unwrap();
    run(
        "mkfs.ext4",
        &[
            "-q",
            "-F",
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
            image.to_str().unwrap(),
        ],
    );
    let state = home.path("var/lib/mobula");
    std::fs::create_dir_all(&state).unwrap();
    run("mount", &["-o", "loop,errors=continue", image.to_str().unwrap(), state.to_str().unwrap()]);
    home.configure(LOCAL);
    let agent = home.start();
    home.create("before", json!({}));
    run("sync", &[]);
    // What is written from here on reaches the cache, and fails on its way to the disk.
    let mut filler = File::create(thin.join("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    let failed =
        (0..2000).find(|n| home.docker("Create", &json!({ "Name": format!("late{n}") })).0 != 200);
    let failed = failed.expect("a create that cannot be made durable is not acknowledged");
    let (_, reason) = home.docker_err("Create", &json!({ "Name": format!("late{failed}") }));
    assert!(!reason.is_empty());
    assert_eq!(home.docker("Get", &json!({ "Name": "before" })).0, 200);
    agent.kill();
    run("umount", &["-l", state.to_str().unwrap()]);
}

#[test]
fn an_agent_out_of_file_descriptors_recovers() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    home.create_limited_agent_and_exhaust_it();
}

impl Home {
    fn create_limited_agent_and_exhaust_it(&self) {
        let mut agent = Command::new("bash")
            .args(["-c", "ulimit -n 64; exec \"$0\" start", env!("CARGO_BIN_EXE_mobula")])
            .env("MOBULA_HOME", self.dir())
            .stderr(File::create(self.path("agent.log")).unwrap())
            .spawn()
            .unwrap();
        eventually("it listens", PATIENCE, || UnixStream::connect(self.plugin()).is_ok());
        self.create("a", json!({}));
        let many: Vec<_> =
            (0..200).filter_map(|_| UnixStream::connect(self.plugin()).ok()).collect();
        eventually("it is out of descriptors", PATIENCE, || self.log().contains("cannot accept"));
        drop(many);
        self.mount("a", "i");
        self.unmount("a", "i");
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
}
