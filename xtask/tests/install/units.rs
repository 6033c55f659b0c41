//! The scripts and units in packaging/, by the word of the tools that check such things.

use crate::release::{program, run, shown};
use mobula::service::{Init, Part, packaged};
use std::path::{Path, PathBuf};
use std::process::Command;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let scripts = ["install.sh", "sysv", "openrc"].map(|name| packaging().join(name));
    let [install, sysv, openrc] = &scripts;
    let of_packages = ["postinst", "prerm", "postrm"];
    let of_packages = of_packages.map(|name| packaging().join("scripts").join(name));
    run(Command::new("shellcheck").args(["-s", "sh"]).arg(install).arg(sysv).args(of_packages));
    // What openrc-run reads, it reads by its name.
    run(Command::new("shellcheck").args(["-s", "sh", "-e", "SC2034"]).arg(openrc));
}

#[test]
fn systemd_accepts_the_units() {
    let dir = tempfile::tempdir().unwrap();
    for part in [Part::Agent, Part::Engine] {
        let (path, text) = packaged(part, Init::Systemd, &program()).unwrap();
        let unit = dir.path().join(Path::new(&path).file_name().unwrap());
        std::fs::write(&unit, text).unwrap();
        let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
        let said = shown(&output);
        let own: Vec<_> = said.lines().filter(|line| line.contains("mobula")).collect();
        assert!(output.status.success() && own.is_empty(), "{said}");
    }
}

#[test]
fn the_agent_works_with_what_its_unit_leaves_it() {
    if !testkit::root::is_root() {
        return;
    }
    host::sandbox::private_mounts().unwrap();
    let home = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string(packaging().join("mobula.service")).unwrap();
    let left = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let left: Vec<String> = left
        .split(' ')
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    let confined = |args: &[&str]| {
        let mut setpriv = Command::new("setpriv");
        setpriv.arg(format!("--bounding-set=-all,{}", left.join(","))).arg("--no-new-privs");
        run(setpriv.arg(program()).args(args).env("MOBULA_HOME", home.path()))
    };
    confined(&["volume", "create", "db", "--size", "32MiB", "-o", "uid=999", "-o", "mode=2750"]);
    let target = confined(&["volume", "mount", "db"]);
    std::fs::write(Path::new(target.trim()).join("kept"), "data").unwrap();
    confined(&["snapshot", "create", "db", "monday"]);
    confined(&["volume", "unmount", "db"]);
    confined(&["volume", "expand", "db", "64MiB"]);
    confined(&["snapshot", "rm", "monday"]);
    confined(&["volume", "rm", "db"]);
}

#[test]
fn the_example_configuration_is_a_good_one() {
    let mut mobula = Command::new(program());
    mobula.args(["config", "check", "-c"]).arg(packaging().join("mobula.yml"));
    assert!(run(&mut mobula).contains("ok"));
}
