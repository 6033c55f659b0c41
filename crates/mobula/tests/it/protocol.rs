//! Docker's volume plugin protocol on the real socket.

use crate::fixture::{Home, call, exchange, is_root, read_answer};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;

/// A service whose volumes need no loop device.
const LOCAL: &str = "services: {mobula: {driver: local}}\n";
const LOOP: &str = "services: {mobula: {driver: loop, volume: {size: 64MiB}}}\n";

#[test]
fn activation_names_the_volume_driver_interface() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    let (status, answer) = call(&home.plugin(), "/Plugin.Activate", "");
    assert_eq!((status, answer), (200, json!({ "Implements": ["VolumeDriver"] })));
}

#[test]
fn the_socket_is_for_root_and_its_group_only() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    for socket in [home.plugin(), home.control()] {
        assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    }
    let run = home.path("run/mobula");
    assert_eq!(run.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_volume_lives_through_all_eight_calls() {
    if !is_root() {
        return;
    }
    let home = Home::with("services: {mobula: {driver: loop, volume: {size: 64MiB}}}\n");
    let _agent = home.start();
    assert_eq!(home.docker_ok("Capabilities", &json!({}))["Capabilities"]["Scope"], "local");
    assert_eq!(home.docker("Get", &json!({ "Name": "a" })).0, 404);
    home.create("a", json!(null));
    let volume = home.docker_ok("Get", &json!({ "Name": "a" }))["Volume"].clone();
    assert_eq!((&volume["Name"], &volume["Mountpoint"]), (&json!("a"), &json!("")));
    assert_eq!(volume["Status"]["size"], "64MiB");
    assert_eq!(volume["Status"]["fsType"], "ext4");
    let created = volume["CreatedAt"].as_str().unwrap();
    assert!(created.len() == 20 && created.ends_with('Z'), "RFC 3339: {created}");
    assert_eq!(home.docker_ok("Path", &json!({ "Name": "a" }))["Mountpoint"], "");

    let target = home.mount("a", "id-1");
    assert_eq!(target, home.target("a"));
    std::fs::write(target.join("kept"), "data").unwrap();
    assert_eq!(home.docker_ok("Path", &json!({ "Name": "a" }))["Mountpoint"], json!(target));
    let list = home.docker_ok("List", &json!({}));
    assert_eq!(list["Volumes"][0]["Mountpoint"], json!(target));
    home.unmount("a", "id-1");
    assert!(!target.exists(), "the mount point is gone: nothing can be written beside the volume");

    assert!(home.mount("a", "id-2").join("kept").exists());
    home.unmount("a", "id-2");
    home.remove("a");
    assert_eq!(home.docker_ok("List", &json!({}))["Volumes"], json!([]));
    home.assert_clean();
}

#[test]
fn a_new_volume_looks_empty_and_stays_sound() {
    if !is_root() {
        return;
    }
    let home = Home::with("services: {mobula: {driver: loop, volume: {size: 64MiB}}}\n");
    let _agent = home.start();
    home.create("a", json!({ "mode": "0700", "uid": "999", "gid": "998" }));
    let target = home.mount("a", "i");
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0, "no lost+found in a database's way");
    let root = target.metadata().unwrap();
    assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (999, 998, 0o700));
    std::fs::create_dir(target.join("lost+found")).unwrap();
    std::fs::write(target.join("lost+found/found"), "x").unwrap();
    home.unmount("a", "i");
    assert!(home.mount("a", "i").join("lost+found/found").exists(), "what is in it stays");
    home.unmount("a", "i");
    let image = home.volume_dir("a").join("image");
    let check = std::process::Command::new("e2fsck").arg("-fn").arg(image).output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn a_copy_keeps_the_options_of_its_source() {
    if !is_root() {
        return;
    }
    let home = Home::with("services: {mobula: {driver: loop, volume: {size: 16MiB}}}\n");
    let _agent = home.start();
    home.create("a", json!({ "subPath": "data", "mode": "0750" }));
    std::fs::write(home.mount("a", "i").join("kept"), "data").unwrap();
    home.create("b", json!({ "clone": "a", "mode": "0700" }));
    let target = home.mount("b", "i");
    assert_eq!(std::fs::read_to_string(target.join("kept")).unwrap(), "data");
    assert_eq!(target.metadata().unwrap().mode() & 0o7777, 0o700);
    home.unmount("a", "i");
    home.unmount("b", "i");
    home.assert_clean();
}

#[test]
fn the_first_exit_of_two_containers_does_not_unmount_their_volume() {
    if !is_root() {
        return;
    }
    let home = Home::with("services: {mobula: {driver: loop, volume: {size: 64MiB}}}\n");
    let _agent = home.start();
    home.create("a", json!({}));
    home.mount("a", "first");
    home.mount("a", "second");
    home.mount("a", "second");
    home.unmount("a", "second");
    assert!(home.is_mounted("a"), "the first still has it");
    home.unmount("a", "second");
    home.unmount("a", "never-seen");
    assert!(home.is_mounted("a"), "an unknown ID changes nothing");
    let (status, reason) = home.docker_err("Remove", &json!({ "Name": "a" }));
    assert_eq!(status, 412);
    assert!(reason.contains("first"), "names the user: {reason}");
    home.unmount("a", "first");
    assert!(!home.is_mounted("a"));
    home.remove("a");
    home.assert_clean();
}

#[test]
fn create_is_idempotent_for_equal_options_and_a_conflict_for_others() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let _agent = home.start();
    home.create("a", json!({ "size": "64MiB", "FSTYPE": "ext4" }));
    home.create("a", json!({ "Size": "64m", "fsType": "ext4" }));
    let (status, reason) =
        home.docker_err("Create", &json!({ "Name": "a", "Opts": { "size": "128MiB" } }));
    assert_eq!(status, 409);
    assert!(reason.contains("size is 64MiB, not 128MiB"), "{reason}");
}

#[test]
fn an_unknown_option_is_an_error_that_lists_the_valid_ones() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    let (status, reason) =
        home.docker_err("Create", &json!({ "Name": "a", "Opts": { "moed": "0700" } }));
    assert_eq!(status, 400);
    assert!(reason.contains("did you mean mode?") && reason.contains("mountOptions"), "{reason}");
    let (_, reason) =
        home.docker_err("Create", &json!({ "Name": "a", "Opts": { "size": "1GiB" } }));
    assert!(reason.contains("unknown option \"size\""), "local cannot enforce one: {reason}");
}

#[test]
fn a_volume_that_could_not_be_mounted_is_not_created() {
    if !is_root() {
        return;
    }
    for (config, options, words) in [
        (LOCAL, "discard", "mount option discard is one of file systems"),
        (LOCAL, "noexec,exec", "noexec and exec contradict each other"),
        (LOOP, "noatime,nouuid", "mount option nouuid is refused by this machine's ext4"),
        (LOOP, "commit=often", "commit=often is refused"),
        (LOOP, "noatime,,nodev", "one comma"),
        (LOOP, "journal_path=/dev/sda", "leads to another device"),
        ("services: {mobula: {driver: memory}}\n", "size=1G", "option size"),
        ("services: {mobula: {driver: memory}}\n", "nosuch", "this machine's tmpfs"),
    ] {
        let home = Home::with(config);
        let _agent = home.start();
        let request = json!({ "Name": "a", "Opts": { "mountOptions": options } });
        let (status, reason) = home.docker_err("Create", &request);
        assert!(status == 400 && reason.contains(words), "{options}: {status} {reason}");
        assert_eq!(home.docker("List", &json!({})).1["Volumes"], json!([]), "{options}");
    }
}

#[test]
fn usual_mount_options_are_no_obstacle() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    let _agent = home.start();
    for (name, fstype, size, options) in [
        (
            "a",
            "ext4",
            "64MiB",
            "noatime,discard,data=ordered,commit=30,errors=remount-ro,nobarrier",
        ),
        ("b", "xfs", "320MiB", "noatime,nouuid,logbsize=256k,inode64,discard"),
        ("c", "btrfs", "128MiB", "noatime,compress=zstd:3,ssd,discard=async,nodev,nosuid"),
        ("d", "ext4", "64MiB", ""),
    ] {
        home.create(name, json!({ "fsType": fstype, "size": size, "mountOptions": options }));
        home.mount(name, "i");
        home.unmount(name, "i");
    }
    home.assert_clean();
}

#[test]
fn requests_without_name_id_or_body_are_refused() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    for method in ["Create", "Get", "Path", "Mount", "Unmount", "Remove"] {
        for body in ["", "{}", "null", r#"{"Name":""}"#, r#"{"Name":null}"#] {
            let (status, answer) = call(&home.plugin(), &format!("/VolumeDriver.{method}"), body);
            assert_eq!(status, 400, "{method} {body}: {answer}");
            assert!(!answer["Err"].as_str().unwrap().is_empty());
        }
    }
    home.create("a", json!({}));
    for body in [json!({ "Name": "a" }), json!({ "Name": "a", "ID": "" })] {
        assert_eq!(home.docker("Mount", &body).0, 400);
        assert_eq!(home.docker("Unmount", &body).0, 400);
    }
    assert!(!home.is_mounted("a"));
    // Podman lists without a body.
    assert_eq!(call(&home.plugin(), "/VolumeDriver.List", "").0, 200);
}

#[test]
fn bad_names_are_refused_with_the_rule() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    let long = "x".repeat(300);
    for name in ["..", ".", "a/b", "/etc", "a/../b", "a\nb", "a\u{0}b", "-rf", "%2e%2e", "é", &long]
    {
        for method in ["Create", "Get", "Mount", "Unmount", "Remove", "Path"] {
            let body = json!({ "Name": name, "ID": "i" });
            let (status, reason) = home.docker_err(method, &body);
            assert_eq!(status, 400, "{method} {name:?}: {reason}");
            assert!(reason.contains("1 to 128 characters"), "{reason}");
        }
    }
    assert_eq!(home.docker_ok("List", &json!({}))["Volumes"], json!([]));
}

#[test]
fn garbage_is_answered_with_an_error_and_harms_nothing() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    let deep = "[".repeat(100_000);
    let nested = format!(r#"{{"Name":"a","Opts":{}"#, r#"{"a":"#.repeat(5000));
    for body in [
        "x",
        "[]",
        "42",
        "\"a\"",
        r#"{"Name":42}"#,
        r#"{"Name":["a"]}"#,
        r#"{"Name":"a","Opts":[]}"#,
        r#"{"Name":"a","Opts":{"uid":5}}"#,
        r#"{"Name":"a""#,
        "\u{0}",
        "{\"Name\":\"\\ud800\"}",
        r#"{"Name":"a","Name":"b"}"#,
        r#"{"Name":1e999}"#,
        &deep,
        &nested,
    ] {
        let (status, answer) = call(&home.plugin(), "/VolumeDriver.Create", body);
        assert_eq!(status, 400, "{body:.60}: {answer}");
        assert!(answer["Err"].is_string());
    }
    let mut raw = UnixStream::connect(home.plugin()).unwrap();
    let (status, _) = exchange(&mut raw, b"POST /VolumeDriver.Create HTTP/1.1\r\nHost: p\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01");
    assert_eq!(status, 400);
    assert_eq!(call(&home.plugin(), "/VolumeDriver.Nonsense", r#"{"Name":"a"}"#).0, 501);
    assert_eq!(call(&home.plugin(), "/", "{}").0, 501);
    // Fields that later versions of the protocol may bring are no reason to refuse.
    home.create("fine", json!(null));
    let body = r#"{"Name":"b","Opts":null,"Unknown":{"x":[1,2]}}"#;
    assert_eq!(call(&home.plugin(), "/VolumeDriver.Create", body).0, 200);
}

#[test]
fn a_request_of_a_hundred_mebibytes_is_refused_without_being_read() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    let mut stream = UnixStream::connect(home.plugin()).unwrap();
    let head = format!(
        "POST /VolumeDriver.Create HTTP/1.1\r\nHost: p\r\nContent-Length: {}\r\n\r\n",
        100 << 20
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = vec![b' '; 64 << 10];
    for _ in 0..64 {
        // The server has heard enough after the first mebibyte.
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let (status, body) = read_answer(&mut stream);
    assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body));
    assert!(String::from_utf8_lossy(&body).contains("larger than"));
}

#[test]
fn http_as_odd_clients_speak_it_is_understood() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    home.create("a", json!({}));
    let mut stream = UnixStream::connect(home.plugin()).unwrap();
    let chunked = "POST /VolumeDriver.Get HTTP/1.1\r\nHost: plugin\r\nContent-Type: text/plain\r\n\
        Transfer-Encoding: chunked\r\n\r\n5\r\n{\"Nam\r\n8\r\ne\":\"a\"}\n\r\n0\r\n\r\n";
    assert_eq!(exchange(&mut stream, chunked.as_bytes()).0, 200);
    let old = "POST /VolumeDriver.List HTTP/1.0\r\n\r\n";
    assert_eq!(exchange(&mut UnixStream::connect(home.plugin()).unwrap(), old.as_bytes()).0, 200);
    let no_host = "POST /VolumeDriver.List HTTP/1.1\r\nHost:\r\nContent-Length: 3\r\n\r\n{}\n";
    assert_eq!(
        exchange(&mut UnixStream::connect(home.plugin()).unwrap(), no_host.as_bytes()).0,
        200
    );
    let two =
        "POST /VolumeDriver.List HTTP/1.1\r\nHost: p\r\nContent-Length: 2\r\n\r\n{}".repeat(2);
    let mut pipelined = UnixStream::connect(home.plugin()).unwrap();
    assert_eq!(exchange(&mut pipelined, two.as_bytes()).0, 200);
}

#[test]
fn a_client_that_sends_nothing_holds_up_nobody() {
    if !is_root() {
        return;
    }
    let home = Home::with(LOCAL);
    let _agent = home.start();
    let idle: Vec<_> = (0..500).map(|_| UnixStream::connect(home.plugin()).unwrap()).collect();
    let mut slow = UnixStream::connect(home.plugin()).unwrap();
    slow.write_all(b"POST /VolumeDriver.List HT").unwrap();
    home.create("a", json!({}));
    assert_eq!(home.docker("Get", &json!({ "Name": "a" })).0, 200);
    drop(idle);
}

#[test]
fn each_plugin_serves_its_own_service() {
    if !is_root() {
        return;
    }
    let home = Home::with(
        "services:\n  mobula: {driver: local}\n  scratch: {driver: memory, volume: {size: 8MiB}}\n\
         docker:\n  mobula: {}\n  ram: {service: scratch}\n",
    );
    let _agent = home.start();
    home.create("a", json!({}));
    let ram = home.path("run/docker/plugins/ram.sock");
    let (status, _) = call(&ram, "/VolumeDriver.Get", r#"{"Name":"a"}"#);
    assert_eq!(status, 404, "another service's volumes are not seen");
    assert_eq!(call(&ram, "/VolumeDriver.Create", r#"{"Name":"b"}"#).0, 200);
    let (status, answer) = call(&ram, "/VolumeDriver.Mount", r#"{"Name":"b","ID":"i"}"#);
    assert_eq!(status, 200, "{answer}");
    let target = answer["Mountpoint"].as_str().unwrap().to_owned();
    let full = std::fs::write(format!("{target}/big"), vec![0; 9 << 20]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(call(&ram, "/VolumeDriver.Unmount", r#"{"Name":"b","ID":"i"}"#).0, 200);
    home.assert_clean();
}

#[test]
fn a_misconfigured_service_answers_each_call_with_the_exact_error() {
    if !is_root() {
        return;
    }
    let home = Home::with("services:\n  mobula: {driver: lop}\n  fine: {driver: local}\n");
    let _agent = home.start();
    for method in ["Create", "Get", "Mount", "Remove"] {
        let (_, reason) = home.docker_err(method, &json!({ "Name": "a", "ID": "i" }));
        assert!(reason.contains("there is no driver \"lop\"; did you mean loop?"), "{reason}");
    }
    let fine = home.path("run/docker/plugins/fine.sock");
    assert_eq!(call(&fine, "/VolumeDriver.Create", r#"{"Name":"a"}"#).0, 200);
}
