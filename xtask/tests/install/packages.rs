//! The packages: what is in them, and that the same program makes the same ones.

use crate::release::{Key, VERSION, dist, run, small_program};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const ARCH: &str = std::env::consts::ARCH;

fn small() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("mobula");
    std::fs::write(&program, small_program()).unwrap();
    (dir, program)
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut files: Vec<_> =
        named.map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn the_same_program_makes_the_same_release_byte_for_byte() {
    let (dir, program) = small();
    let said = dist(&program, &dir.path().join("one"), None);
    assert!(said.contains("not signed"), "{said}");
    dist(&program, &dir.path().join("another"), None);
    let (one, another) = (files(&dir.path().join("one")), files(&dir.path().join("another")));
    let deb = if ARCH == "x86_64" { "amd64" } else { "arm64" };
    let names: Vec<_> = one.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "SHA256SUMS",
            "install.sh",
            &format!("mobula-{VERSION}-1.{ARCH}.rpm"),
            &format!("mobula-{VERSION}-linux-{ARCH}.tar.gz"),
            &format!("mobula-{VERSION}.cdx.json"),
            &format!("mobula_{VERSION}_{deb}.deb"),
        ]
    );
    for ((name, first), (_, second)) in one.iter().zip(&another) {
        assert!(first == second, "{name} is not the same twice");
    }
    run(Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(dir.path().join("one")));
}

#[test]
fn a_release_has_every_architecture_that_it_was_given() {
    let (dir, program) = small();
    let mut other = small_program();
    // The machine in the ELF header.
    let (machine, name) = if ARCH == "x86_64" { (183, "aarch64") } else { (62, "x86_64") };
    other[18] = machine;
    let elsewhere = dir.path().join("elsewhere");
    std::fs::write(&elsewhere, other).unwrap();
    let out = dir.path().join("out");
    let key = Key::new(dir.path());
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.args(["dist", "--quick", "--binary"]).arg(&program).arg("--binary").arg(&elsewhere);
    xtask.arg("--out").arg(&out).arg("--key").arg(&key.secret).arg("--public-key").arg(&key.public);
    run(&mut xtask);
    let list = std::fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    for arch in [ARCH, name] {
        for file in [format!("linux-{arch}.tar.gz"), format!("-1.{arch}.rpm")] {
            assert!(list.contains(&file), "{file} in {list}");
        }
    }
    let mut minisign = Command::new("minisign");
    run(minisign.args(["-V", "-p"]).arg(&key.public).arg("-m").arg(out.join("SHA256SUMS")));
}

#[test]
fn both_packages_have_the_same_things_where_their_systems_look_for_them() {
    let (dir, program) = small();
    let out = dir.path().join("out");
    dist(&program, &out, None);
    let find = |suffix: &str| {
        let named = files(&out).into_iter().map(|(name, _)| name);
        out.join(named.into_iter().find(|name| name.ends_with(suffix)).unwrap())
    };
    let deb = run(Command::new("dpkg-deb").arg("-c").arg(find(".deb")));
    let rpm = run(Command::new("rpm").args(["-qlp", "--nosignature"]).arg(find(".rpm")));
    for (list, names) in [
        (&deb, ["/lib/systemd/system/mobula.service", "/usr/share/zsh/vendor-completions/_mobula"]),
        (&rpm, ["/usr/lib/systemd/system/mobula.service", "/usr/share/zsh/site-functions/_mobula"]),
        (&deb, ["/etc/init.d/mobula", "/usr/share/man/man1/mobula-volume.1.gz"]),
        (&rpm, ["/usr/lib/systemd/system/mobula-engine.service", "/usr/share/man/man1/mobula.1"]),
        (&deb, ["/usr/bin/mobula", "/etc/mobula/mobula.example.yml"]),
        (&rpm, ["/usr/bin/mobula", "/etc/mobula/mobula.example.yml"]),
    ] {
        for name in names {
            assert!(list.contains(name), "{name} in {list}");
        }
    }
    assert!(!deb.lines().any(|line| !line.contains("root/root")), "{deb}");
    let unit = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(find(".deb")).output().unwrap();
    let path = dir.path().join("deb.tar");
    std::fs::write(&path, unit.stdout).unwrap();
    let mut tar = Command::new("tar");
    let text = run(tar.arg("-xOf").arg(&path).arg("./lib/systemd/system/mobula.service"));
    assert!(text.contains("ExecStart=/usr/bin/mobula start\n"), "{text}");
    let scripts =
        run(Command::new("rpm").args(["-qp", "--nosignature", "--scripts"]).arg(find(".rpm")));
    assert!(scripts.contains("mobula service install"), "{scripts}");
    assert!(scripts.contains("volumes are mounted"), "{scripts}");
}

#[test]
fn the_bill_of_materials_names_what_is_linked_and_nothing_else() {
    let (dir, program) = small();
    let out = dir.path().join("out");
    dist(&program, &out, None);
    let text = std::fs::read(out.join(format!("mobula-{VERSION}.cdx.json"))).unwrap();
    let bill: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let components = bill["components"].as_array().unwrap();
    let names: Vec<_> = components.iter().filter_map(|one| one["name"].as_str()).collect();
    for name in ["tokio", "rustix", "glibc", "libseccomp", "volume"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    for name in ["proptest", "xtask", "testkit", "tempfile-only-in-tests"] {
        assert!(!names.contains(&name), "{name}");
    }
    let tokio = components.iter().find(|one| one["name"] == "tokio").unwrap();
    assert_eq!(tokio["hashes"][0]["content"].as_str().unwrap().len(), 64);
    assert_eq!(tokio["licenses"][0]["expression"], "MIT");
}

#[test]
fn nothing_of_others_is_thrown_away() {
    let (dir, program) = small();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("thesis.txt"), "years").unwrap();
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = xtask.args(["dist", "--binary"]).arg(&program).arg("--out").arg(&out).output();
    let output = output.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("thesis.txt"));
    assert_eq!(std::fs::read_to_string(out.join("thesis.txt")).unwrap(), "years");
}
