//! `mobula doctor` on machines that are really ill: each defect is made, found, mended where that is
//! safe, and gone afterwards; and nothing else is touched.

use crate::fixture::{Home, PATIENCE, eventually, is_root};
use serde_json::Value;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

const LOOP: &str = "services: {mobula: {driver: loop, volume: {size: 16MiB}}}\n";

fn home() -> Option<Home> {
    if !is_root() {
        return None;
    }
    let home = Home::with(LOOP);
    std::fs::create_dir_all(home.path("run/docker/plugins")).unwrap();
    Some(home)
}

/// The report, and the exit code.
fn report(home: &Home, args: &[&str]) -> (Value, i32) {
    let output = home.run(&[&["doctor", "--json"], args].concat());
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|_| panic!("{output:?}")), output.status.code().unwrap())
}

/// The statuses of this check about what contains this.
fn statuses(report: &Value, check: &str, about: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let is_it = |finding: &&Value| {
        finding["check"] == check && finding["lookedAt"].as_str().unwrap().contains(about)
    };
    findings.filter(is_it).map(|finding| finding["status"].as_str().unwrap().to_owned()).collect()
}

fn status_of(report: &Value, check: &str, about: &str) -> String {
    let statuses = statuses(report, check, about);
    assert_eq!(statuses.len(), 1, "{check} about {about}: {report:#}");
    statuses[0].clone()
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_healthy_machine_has_no_problem() {
    let Some(home) = home() else { return };
    let (report, code) = report(&home, &[]);
    let bad: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["status"] == "problem")
        .collect();
    assert_eq!(code, 0, "{bad:#?}");
    assert_eq!((report["ok"].as_bool(), report["version"].as_u64()), (Some(true), Some(1)));
    assert_eq!(status_of(&report, "agent", ""), "warning", "none runs");
    home.assert_clean();
    assert!(!home.path("var").exists() && !home.path("run/mobula").exists(), "it only looked");
}

#[test]
fn people_see_what_is_wrong_why_and_what_mends_it() {
    let Some(home) = home() else { return };
    std::fs::remove_dir(home.path("run/docker/plugins")).unwrap();
    let output = home.run(&["doctor"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    let dir = home.path("run/docker/plugins");
    for line in [
        format!("problem  {}: it does not exist", dir.display()),
        format!("         mend: mkdir -p {}", dir.display()),
    ] {
        assert!(shown.lines().any(|one| one == line), "{line}\n{shown}");
    }
    assert!(shown.contains("         why: Docker and Podman look for plugins there"), "{shown}");
    assert!(!shown.contains("ok  "), "what is well is shown with --all only: {shown}");
    assert!(String::from_utf8(home.run(&["doctor", "--all"]).stdout).unwrap().contains("ok  "));
    let fixed = String::from_utf8(home.run(&["doctor", "--fix"]).stdout).unwrap();
    assert!(fixed.contains(&format!("done: made {}", dir.display())) && dir.is_dir(), "{fixed}");
    home.ok(&["doctor"]);
}

#[test]
fn a_private_mount_root_is_found_and_shared_again() {
    let Some(home) = home() else { return };
    home.ok(&["volume", "create", "db"]);
    home.ok(&["volume", "mount", "db"]);
    let root = home.path("run/mobula/mounts");
    assert_eq!(status_of(&report(&home, &[]).0, "mount-root", ""), "ok");
    run("mount", &["--make-private", text(&root)]);
    let (found, code) = report(&home, &[]);
    assert_eq!((status_of(&found, "mount-root", ""), code), ("problem".to_owned(), 1));
    let (mended, _) = report(&home, &["--fix"]);
    assert_eq!(status_of(&mended, "mount-root", ""), "ok");
    assert!(mended.to_string().contains("a shared mount"), "{mended}");
    assert!(host::mountinfo::at(&root).unwrap().unwrap().shared.is_some());
    assert!(home.is_mounted("db"), "the volume stays mounted");
    let again = report(&home, &[]).0;
    assert_eq!(status_of(&again, "mount-root", ""), "ok");
    home.ok(&["volume", "unmount", "db"]);
    home.assert_clean();
}

#[test]
fn a_mount_namespace_that_volumes_do_not_reach_is_found() {
    let Some(home) = home() else { return };
    let agent = home.start();
    let found = report(&home, &[]).0;
    assert_eq!(status_of(&found, "agent", ""), "ok");
    assert_eq!(status_of(&found, "agent-version", ""), "ok");
    assert_eq!(status_of(&found, "service", "service mobula"), "ok");
    assert_eq!(status_of(&found, "open-files", ""), "ok");
    assert_eq!(statuses(&found, "mount-namespace", "this program"), Vec::<String>::new());
    for (propagation, status) in [("private", "problem"), ("slave", "ok")] {
        let output = Command::new("unshare")
            .args(["--mount", &format!("--propagation={propagation}")])
            .args([env!("CARGO_BIN_EXE_mobula"), "doctor", "--json"])
            .env("MOBULA_HOME", home.dir())
            .output()
            .unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(status_of(&found, "mount-namespace", "this program"), status, "{propagation}");
        assert_eq!(output.status.code() == Some(1), status == "problem", "{found:#}");
    }
    agent.stop();
}

#[test]
fn a_socket_that_a_killed_agent_left_is_removed_and_no_other() {
    let Some(home) = home() else { return };
    home.start().kill();
    let foreign = home.path("run/docker/plugins/rexray.sock");
    drop(UnixListener::bind(&foreign).unwrap());
    let (found, code) = report(&home, &[]);
    assert_eq!((status_of(&found, "socket", "plugins/mobula.sock").as_str(), code), ("problem", 1));
    assert_eq!(status_of(&found, "socket", "rexray.sock"), "warning");
    assert!(home.plugin().exists(), "without --fix it only looks");
    report(&home, &["--fix"]);
    assert!(!home.plugin().exists() && !home.control().exists() && foreign.exists());
    let (again, _) = report(&home, &[]);
    assert_eq!(statuses(&again, "socket", "mobula.sock"), Vec::<String>::new());
    let agent = home.start();
    report(&home, &["--fix"]);
    home.docker_ok("List", &serde_json::json!({}));
    agent.stop();
}

#[test]
fn an_orphaned_loop_device_is_detached_and_one_in_use_is_not() {
    let Some(home) = home() else { return };
    home.ok(&["volume", "create", "used", "orphan", "kept"]);
    home.ok(&["volume", "mount", "used"]);
    home.ok(&["volume", "attach", "kept"]);
    let image = |name: &str| {
        let dir = home.volume_dir(name);
        let files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        files.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
    };
    run("losetup", &["--find", text(&image("orphan"))]);
    let open = |path: &Path| {
        let attached = host::loopdev::attached().unwrap();
        let device = attached.into_iter().find(|found| found.backing == path).unwrap().device;
        std::fs::File::open(device).unwrap()
    };
    let held = open(&image("orphan"));
    let (found, _) = report(&home, &["--fix"]);
    assert_eq!(status_of(&found, "loop-device", "/orphan/"), "ok", "somebody has it open");
    drop(held);
    let (found, code) = report(&home, &[]);
    assert_eq!((status_of(&found, "loop-device", "/orphan/").as_str(), code), ("problem", 1));
    assert_eq!(home.loops().len(), 3, "without --fix it only looks");
    let (mended, _) = report(&home, &["--fix"]);
    assert_eq!(status_of(&mended, "loop-device", "/orphan/"), "ok");
    for name in ["used", "kept"] {
        assert_eq!(status_of(&mended, "loop-device", &format!("/{name}/")), "ok");
    }
    let mut loops = home.loops();
    loops.sort();
    assert_eq!(loops, [image("kept"), image("used")]);
    assert_eq!(statuses(&report(&home, &[]).0, "loop-device", "/orphan/"), Vec::<String>::new());
    home.ok(&["volume", "detach", "kept"]);
    home.ok(&["volume", "unmount", "used"]);
    home.assert_clean();
}

#[test]
fn an_image_that_was_deleted_while_it_is_in_use_is_found_and_left_alone() {
    let Some(home) = home() else { return };
    home.ok(&["volume", "create", "db"]);
    home.ok(&["volume", "mount", "db"]);
    let image = home.loops().pop().unwrap();
    let copy = home.path("copy");
    std::fs::hard_link(&image, &copy).unwrap();
    std::fs::remove_file(&image).unwrap();
    let (found, _) = report(&home, &["--fix"]);
    assert_eq!(status_of(&found, "loop-device", text(&image)), "problem");
    assert!(home.is_mounted("db"));
    std::fs::rename(&copy, &image).unwrap();
    home.ok(&["volume", "unmount", "db"]);
}

#[test]
fn ledger_and_mount_table_are_compared_and_neither_is_changed() {
    let Some(home) = home() else { return };
    home.ok(&["volume", "create", "gone", "db"]);
    home.ok(&["volume", "mount", "gone"]);
    home.ok(&["volume", "mount", "db"]);
    assert_eq!(status_of(&report(&home, &[]).0, "ledger", "ledger"), "ok");
    run("umount", &[text(&home.target("gone"))]);
    let record = home.path("run/mobula/ledger/mobula/db.json");
    std::fs::rename(&record, home.path("kept.json")).unwrap();
    let (found, code) = report(&home, &["--fix"]);
    assert_eq!((status_of(&found, "ledger", "gone.json").as_str(), code), ("problem", 1));
    assert_eq!(status_of(&found, "orphaned-mount", text(&home.target("db"))), "warning");
    assert!(home.is_mounted("db"), "a container may have it");
    assert!(home.path("run/mobula/ledger/mobula/gone.json").exists());
    // The next command is what settles both, as every start does.
    home.ok(&["volume", "ls"]);
    let (again, _) = report(&home, &[]);
    assert_eq!(status_of(&again, "ledger", "ledger"), "ok", "{again:#}");
    let _ = home.run(&["volume", "unmount", "db", "--force"]);
}

#[test]
fn a_missing_tool_is_found_with_its_package() {
    let Some(home) = home() else { return };
    assert_eq!(status_of(&report(&home, &[]).0, "tools", "e2fsprogs"), "ok");
    // A file without the right to be run in the program's place, in this mount namespace only.
    let empty = home.path("empty");
    std::fs::write(&empty, "").unwrap();
    let programs = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"].map(Path::new);
    let program = programs.iter().find(|program| program.exists()).unwrap();
    run("mount", &["--bind", text(&empty), text(program)]);
    let (found, code) = report(&home, &[]);
    assert_eq!(
        (status_of(&found, "tools", "e2fsprogs").as_str(), code),
        ("problem", 1),
        "{found:#}"
    );
    assert!(found.to_string().contains("not installed: mkfs.ext4"), "{found:#}");
    run("umount", &[text(program)]);
    assert_eq!(status_of(&report(&home, &[]).0, "tools", "e2fsprogs"), "ok");
}

#[test]
fn a_full_disk_is_found() {
    let Some(home) = home() else { return };
    let run_dir = home.path("run/mobula");
    std::fs::create_dir_all(&run_dir).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=16m", "none", text(&run_dir)]);
    assert_eq!(status_of(&report(&home, &[]).0, "space-run", ""), "ok");
    let filler = run_dir.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let filled = std::io::copy(&mut std::io::Read::take(std::io::repeat(7), 1 << 30), &mut file);
    assert!(filled.is_err(), "it is full");
    drop(file);
    let (found, code) = report(&home, &["--fix"]);
    assert_eq!((status_of(&found, "space-run", "").as_str(), code), ("problem", 1));
    assert!(filler.exists(), "nobody's data is removed to make room");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(status_of(&report(&home, &[]).0, "space-run", ""), "ok");
    run("umount", &[text(&run_dir)]);
}

#[test]
fn a_record_from_the_future_is_found() {
    let Some(home) = home() else { return };
    home.ok(&["volume", "create", "db"]);
    assert_eq!(status_of(&report(&home, &[]).0, "clock-future", ""), "ok");
    let path = home.volume_dir("db").join("volume.json");
    let record = std::fs::File::options().write(true).open(path).unwrap();
    record.set_modified(SystemTime::now() + Duration::from_secs(86_400)).unwrap();
    assert_eq!(status_of(&report(&home, &[]).0, "clock-future", ""), "warning");
}

#[test]
fn a_file_system_that_hangs_holds_up_nothing() {
    let Some(home) = home() else { return };
    if !Path::new("/dev/fuse").exists() {
        println!("no FUSE on this kernel");
        return;
    }
    let target = home.target("stuck");
    std::fs::create_dir_all(&target).unwrap();
    // Whoever asks this file system anything waits until the descriptor is closed.
    let device = std::fs::File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&device);
    let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
    let options = std::ffi::CString::new(options).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("stuck", &target, "fuse.stuck", flags, options.as_c_str()).unwrap();
    let begun = Instant::now();
    let (found, _) = report(&home, &["--fix"]);
    assert!(begun.elapsed() < PATIENCE, "it does not wait for the file system");
    assert_eq!(status_of(&found, "orphaned-mount", text(&target)), "warning");
    let late = found["findings"].as_array().unwrap().iter();
    let late: Vec<_> = late.filter(|f| f["found"].as_str().unwrap().contains("in time")).collect();
    assert_eq!(late, Vec::<&Value>::new(), "no check touched it");
    drop(device);
    run("umount", &["-l", text(&target)]);
}

#[test]
fn without_root_what_cannot_be_seen_is_unknown() {
    let Some(home) = home() else { return };
    home.ok(&["volume", "create", "db"]);
    home.ok(&["volume", "mount", "db"]);
    let dir = home.dir();
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = dir.join("mobula");
    std::fs::copy(env!("CARGO_BIN_EXE_mobula"), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([text(&program), "doctor", "--json", "--fix"])
        .env("MOBULA_HOME", dir)
        .output()
        .unwrap();
    let found: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let needs: Vec<_> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["found"] == "needs root")
        .map(|f| f["check"].as_str().unwrap())
        .collect();
    assert!(needs.contains(&"ledger"), "{needs:?} {found:#}");
    assert!(home.is_mounted("db"));
    home.ok(&["volume", "unmount", "db"]);
}

#[test]
fn an_agent_that_runs_is_not_disturbed_by_mending() {
    let Some(home) = home() else { return };
    let agent = home.start();
    for round in 0..5 {
        let name = format!("v{round}");
        home.create(&name, serde_json::json!({ "size": "16MiB" }));
        let command = &mut home.command(&["doctor", "--fix", "--json"]);
        let mut doctor = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        home.mount(&name, "one");
        doctor.wait().unwrap();
        assert!(home.is_mounted(&name), "{}", home.log_tail());
        home.unmount(&name, "one");
        home.remove(&name);
    }
    eventually("nothing is left", PATIENCE, || home.mounts().is_empty() && home.loops().is_empty());
    agent.stop();
}
