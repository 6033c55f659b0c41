//! What `install.sh` does when all is well.

use crate::machine::{Machine, names};
use crate::release::{Key, Release, VERSION, shown};
use crate::server::serve;
use std::path::Path;
use std::process::Command;

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

#[test]
fn a_release_is_installed_by_every_shell_and_a_second_run_changes_nothing() {
    let release = Release::small();
    let url = serve(&release.dir, None);
    for shell in SHELLS {
        let machine = Machine::new();
        let mut installer = machine.installer(shell, &release, &url);
        let said = shown(&installer.arg("--no-service").output().unwrap());
        assert!(said.contains("the signature of the list of checksums is good"), "{said}");
        assert!(said.contains("is installed: /usr/local/bin/mobula"), "{said}");
        for file in [
            "usr/local/bin/mobula",
            "usr/local/share/man/man1/mobula-volume-create.1",
            "usr/local/share/bash-completion/completions/mobula",
            "usr/local/share/zsh/site-functions/_mobula",
            "usr/local/share/fish/vendor_completions.d/mobula.fish",
            "usr/local/share/doc/mobula/LICENSE",
            "etc/mobula/mobula.example.yml",
        ] {
            assert!(machine.at(file).is_file(), "{file}: {said}");
        }
        let before = machine.snapshot();
        let said = shown(&machine.install(&release, &url, &["--no-service"]));
        assert!(said.contains("installed already; nothing was changed"), "{said}");
        assert!(machine.snapshot() == before, "{shell:?}: {said}");
    }
}

#[test]
fn a_directory_and_a_file_url_serve_without_any_network() {
    let release = Release::small();
    let dir = release.dir.display().to_string();
    for url in [dir.clone(), format!("file://{dir}/")] {
        let machine = Machine::new();
        machine.without(&["curl", "wget"]);
        let output = machine.install(&release, &url, &["--no-service"]);
        assert!(output.status.success(), "{}", shown(&output));
        assert!(machine.at("usr/local/bin/mobula").is_file());
    }
}

#[test]
fn openssl_verifies_what_minisign_signed_and_wget_fetches_as_curl_does() {
    let release = Release::small();
    let url = serve(&release.dir, None);
    let machine = Machine::new();
    machine.without(&["minisign", "curl"]);
    machine.program("wget", "exec busybox wget \"$@\"");
    let output = machine.install(&release, &url, &["--no-service"]);
    assert!(output.status.success(), "{}", shown(&output));
    assert!(machine.at("usr/local/bin/mobula").is_file());
}

#[test]
fn a_key_of_ones_own_is_taken_as_text_and_as_a_file() {
    let release = Release::small();
    let dir = tempfile::tempdir().unwrap();
    let other = Key::new(dir.path());
    other.sign(&release.dir);
    let url = release.dir.display().to_string();
    for key in [other.text(), other.public.display().to_string()] {
        let machine = Machine::new();
        let mut installer = machine.installer(&["sh"], &release, &url);
        let output = installer.arg("--no-service").env("MOBULA_PUBKEY", key).output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
    }
}

#[test]
fn a_configuration_is_never_written_and_never_removed() {
    let release = Release::small();
    let url = release.dir.display().to_string();
    let machine = Machine::new();
    machine.put("etc/mobula/mobula.yml", "mine");
    machine.put("var/lib/mobula/volumes/mobula/db/image", "data");
    let before = machine.snapshot();
    assert!(machine.install(&release, &url, &["--no-service"]).status.success());
    let output = machine.install(&release, &url, &["--no-service", "--uninstall"]);
    assert!(output.status.success(), "{}", shown(&output));
    let after = machine.snapshot();
    for (path, found) in &before {
        assert_eq!(after.get(path), Some(found), "{}", path.display());
    }
    let left = names(&after).into_iter().filter(|path| path.is_file()).count();
    assert_eq!(left, 2, "{:?}", names(&after));
    let said = shown(&machine.install(&release, &url, &["--no-service", "--uninstall"]));
    assert!(said.contains("is not installed") && said.contains("nothing was changed"), "{said}");
}

#[test]
fn what_a_later_release_no_longer_has_goes() {
    let release = Release::small();
    let url = release.dir.display().to_string();
    let machine = Machine::new();
    let old = "/usr/local/share/man/man1/mobula-gone.1";
    machine.put(&old[1..], "old");
    machine.put("usr/local/share/mobula/installed", &format!("mobula 0.0.1\n{old}\n"));
    assert!(machine.install(&release, &url, &["--no-service"]).status.success());
    assert!(!machine.at(&old[1..]).exists());
}

#[test]
fn a_dry_run_verifies_and_changes_nothing() {
    let release = Release::small();
    let machine = Machine::new();
    let before = machine.snapshot();
    let url = release.dir.display().to_string();
    let output = machine.install(&release, &url, &["--dry-run"]);
    let said = shown(&output);
    assert!(output.status.success() && said.contains("install:"), "{said}");
    assert!(said.contains("signature of the list of checksums is good"), "{said}");
    assert!(machine.snapshot() == before, "{said}");
}

#[test]
fn the_service_of_an_image_is_written_for_its_own_init_system() {
    let release = Release::real();
    let url = release.dir.display().to_string();
    for (sign, file) in [
        ("usr/lib/systemd/systemd", "etc/systemd/system/mobula.service"),
        ("sbin/openrc-run", "etc/init.d/mobula"),
        ("etc/init.d/README", "etc/init.d/mobula"),
    ] {
        let machine = Machine::new();
        machine.put(sign, "");
        let output = machine.install(release, &url, &["--prefix", "/opt/mobula"]);
        assert!(output.status.success(), "{}", shown(&output));
        let text = std::fs::read_to_string(machine.at(file)).unwrap();
        assert!(text.contains("/opt/mobula/bin/mobula"), "{text}");
        let output = machine.install(release, &url, &["--prefix", "/opt/mobula", "--uninstall"]);
        assert!(output.status.success(), "{}", shown(&output));
        assert!(!machine.at(file).exists());
    }
}

#[test]
fn help_and_wrong_usage_need_nothing_and_change_nothing() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/install.sh");
    let run = |args: &[&str]| Command::new("sh").arg(&script).args(args).output().unwrap();
    let help = run(&["--help"]);
    assert!(help.status.success() && shown(&help).contains("--uninstall"), "{}", shown(&help));
    for wrong in [&["--bogus"][..], &["--prefix"], &["--prefix", "x"], &["--prefix", "/a b"]] {
        let output = run(wrong);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    }
    let output = run(&["--dry-run"]);
    assert!(shown(&output).contains("which release?"), "{}", shown(&output));
}

#[test]
fn the_installer_of_a_release_knows_its_version_and_its_key() {
    let release = Release::small();
    let text = std::fs::read_to_string(release.script()).unwrap();
    assert!(text.contains(&format!("\nrelease='{VERSION}'\n")));
    assert!(text.contains(&format!("\npublic_key='{}'\n", release.key.text())));
}
