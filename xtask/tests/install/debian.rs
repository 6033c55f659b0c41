//! A bare Debian from nothing to a mounted volume and back: by the script, by the package, under
//! each init system and without any.

use crate::chroot::{Chroot, eventually};
use crate::release::{Release, run, shown};
use crate::server::serve;
use std::path::Path;
use std::process::Command;

/// Commands of documents say sudo; in the chroot everybody is root.
const SUDO: &str = "sudo() { [ \"$1\" != -E ] || shift; \"$@\"; }\n";

/// The commands of the README's first steps.
fn steps() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let mut blocks = readme.split("```").filter_map(|block| block.strip_prefix("sh\n"));
    blocks.find(|block| block.contains("install.sh")).expect("README installs").to_owned()
}

/// Creates a volume, mounts it as Docker does, and writes to it.
fn mount_volume(chroot: &Chroot) -> String {
    chroot.docker("Create", r#"{"Name":"db","Opts":{"size":"32MiB"}}"#);
    let answer = chroot.docker("Mount", r#"{"Name":"db","ID":"container"}"#);
    let target = answer["Mountpoint"].as_str().unwrap().to_owned();
    chroot.ok(&format!("mountpoint {target} && echo kept >{target}/note"));
    target
}

fn unmount_volume(chroot: &Chroot) {
    chroot.docker("Unmount", r#"{"Name":"db","ID":"container"}"#);
}

fn install(chroot: &Chroot, url: &str, more: &str) -> String {
    chroot.ok(&format!("curl -sSL {url}/install.sh | MOBULA_URL={url} sh -s -- {more}"))
}

#[test]
fn the_three_steps_of_the_readme_end_in_a_mounted_volume() {
    if !testkit::root::is_root() {
        return;
    }
    let url = serve(&Release::real().dir, None);
    let chroot = Chroot::new();
    chroot.ok(&format!("set -e\nexport MOBULA_URL={url}\n{SUDO}{}", steps()));
    assert_eq!(chroot.code("mobula service status"), Some(0));
    let target = mount_volume(&chroot);
    assert!(chroot.ok("mobula volume ls").contains("mounted"));

    // Again: nothing changes, and the agent is the same process.
    let agent = chroot.agent().expect("it runs");
    assert!(install(&chroot, &url, "").contains("nothing was changed"));
    assert_eq!(chroot.agent(), Some(agent.clone()));

    // Over a running agent: the program is replaced whole, and the volume stays mounted.
    chroot.ok("cd /usr/local/bin && cp mobula other && printf x >>other && mv other mobula");
    assert!(install(&chroot, &url, "").contains("started again"));
    assert_ne!(chroot.agent().expect("it runs"), agent);
    assert!(chroot.ok(&format!("cat {target}/note")).contains("kept"));

    // Removed while it is mounted: refused.
    let words = ["volumes are mounted: mobula/db", "nothing was changed"];
    chroot.fails(&format!("curl -sSL {url}/install.sh | sh -s -- --uninstall"), &words);
    chroot.fails("mobula service uninstall", &["still mounted: mobula/db"]);
    assert_eq!(chroot.code("mobula service status"), Some(0));

    unmount_volume(&chroot);
    assert!(install(&chroot, &url, "--uninstall").contains("is removed"));
    assert_eq!(chroot.agent(), None);
    chroot.ok("test ! -e /usr/local/bin/mobula && test ! -e /etc/init.d/mobula");
    chroot.ok("test -z \"$(ls /etc/rc?.d | grep mobula)\" && test -e /etc/mobula/mobula.yml");

    // And back: the data is as it was.
    install(&chroot, &url, "");
    chroot.docker("Mount", r#"{"Name":"db","ID":"container"}"#);
    assert!(chroot.ok(&format!("cat {target}/note")).contains("kept"));
    unmount_volume(&chroot);
}

#[test]
fn the_package_ends_in_a_mounted_volume_and_does_not_go_before_it() {
    if !testkit::root::is_root() {
        return;
    }
    let release = Release::real();
    let chroot = Chroot::new();
    std::fs::copy(release.find("deb"), chroot.at("root/mobula.deb")).unwrap();
    chroot.ok("dpkg -i /root/mobula.deb");
    assert_eq!(chroot.code("mobula service status"), Some(0));
    mount_volume(&chroot);
    chroot.ok("mobula service install | grep 'installed already'");
    chroot.fails("mobula service uninstall", &["belongs to the package", "apt-get remove mobula"]);
    chroot.fails("dpkg -r mobula", &["volumes are mounted: mobula/db"]);
    assert_eq!(chroot.code("mobula service status"), Some(0));
    let url = serve(&release.dir, None);
    let script = format!("curl -sSL {url}/install.sh | MOBULA_URL={url} sh");
    chroot.fails(&script, &["the Debian package mobula is installed"]);

    // An upgrade leaves what is mounted alone.
    let agent = chroot.agent();
    chroot.ok("dpkg -i /root/mobula.deb");
    assert!(chroot.agent().is_some() && chroot.agent() != agent);
    chroot.ok("grep -q kept /run/mobula/mounts/mobula/db/note");

    unmount_volume(&chroot);
    chroot.ok("dpkg -r mobula");
    assert_eq!(chroot.agent(), None);
    chroot.ok("dpkg --purge mobula && test ! -e /etc/init.d/mobula");
    chroot.ok("test -z \"$(ls /etc/rc?.d | grep mobula)\" && test -d /var/lib/mobula/volumes");
}

#[test]
fn the_rpm_ends_in_a_mounted_volume_and_does_not_go_before_it() {
    if !testkit::root::is_root() {
        return;
    }
    // rpm from outside, its scripts inside: they find an init system that the package has nothing
    // for, as on an old Red Hat.
    let chroot = Chroot::new();
    let rpm = |args: &[&str]| {
        let mut rpm = Command::new("rpm");
        rpm.arg("--root").arg(chroot.at("")).args(args);
        rpm
    };
    let package = Release::real().find("rpm");
    run(&mut rpm(&["-i", "--nodeps", "--nosignature", package.to_str().unwrap()]));
    assert_eq!(chroot.code("mobula service status"), Some(0));
    mount_volume(&chroot);
    let output = rpm(&["-e", "mobula"]).output().unwrap();
    assert!(!output.status.success());
    assert!(shown(&output).contains("volumes are mounted: mobula/db"), "{}", shown(&output));
    assert_eq!(chroot.code("mobula service status"), Some(0));
    unmount_volume(&chroot);
    run(&mut rpm(&["-e", "mobula"]));
    assert_eq!(chroot.agent(), None);
    chroot.ok("test ! -e /usr/bin/mobula && test ! -e /etc/init.d/mobula");
    chroot.ok("test -d /var/lib/mobula/volumes/mobula/db");
}

#[test]
fn the_script_of_sysv_says_why_an_agent_does_not_start() {
    if !testkit::root::is_root() {
        return;
    }
    let url = serve(&Release::real().dir, None);
    let chroot = Chroot::new();
    install(&chroot, &url, "--no-start");
    assert_eq!(chroot.code("mobula service status"), Some(3));
    assert_eq!(chroot.code("mobula service status engine"), Some(4));
    chroot.ok("echo 'servces: {}' >/etc/mobula/mobula.yml");
    chroot.fails("mobula service start", &["did you mean services?"]);
    chroot.ok("rm /etc/mobula/mobula.yml");
    chroot.ok("echo MOBULA_LOG_FORMAT=json >/etc/mobula/mobula.env && mobula service start");
    chroot.ok("grep -q '{\"' /var/log/mobula.log");
    chroot.ok("mobula service install engine && test -S /run/mobula/engine.sock");
    chroot.ok("mobula service uninstall engine && mobula service restart && mobula service stop");
    assert_eq!(chroot.code("mobula service status"), Some(3));
    chroot.ok("mobula service start && kill -9 $(cat /run/mobula.pid)");
    assert_eq!(chroot.code("mobula service status"), Some(1), "it died, and its PID file is left");

    // Somebody's own agent is left alone.
    chroot.ok("setsid mobula start >/dev/null 2>&1 &");
    // The one that was killed has left its socket.
    let asked = "curl -s --unix-socket /run/mobula/mobula.sock http://agent/health";
    eventually("it answers", || chroot.code(asked) == Some(0));
    chroot.fails("mobula service start", &["somebody started it by hand"]);
}

#[test]
fn openrc_starts_the_agent_and_starts_it_again_when_it_dies() {
    if !testkit::root::is_root() {
        return;
    }
    let url = serve(&Release::real().dir, None);
    let chroot = Chroot::new();
    // As after its boot: what it did then needs a machine of its own.
    let states = "starting started stopping inactive wasinactive hotplugged daemons options \
         exclusive scheduled failed tmp";
    chroot.ok(&format!("for d in {states}; do mkdir -p /run/openrc/$d; done"));
    chroot.ok("echo default >/run/openrc/softlevel");
    for needed in ["localmount", "net", "netmount", "logger"] {
        chroot.ok(&format!(
            "printf '#!/sbin/openrc-run\\nstart() {{ :; }}\\n' >/etc/init.d/{needed} && \
             chmod 755 /etc/init.d/{needed}"
        ));
    }
    let said = install(&chroot, &url, "");
    assert!(said.contains("OpenRC"), "{said}");
    assert_eq!(chroot.code("mobula service status"), Some(0));
    chroot.ok("rc-update show default | grep -q mobula");
    let target = mount_volume(&chroot);
    let agent = chroot.agent().expect("it runs");
    chroot.ok(&format!("kill -9 {agent}"));
    eventually("it is started again", || chroot.agent().is_some_and(|now| now != agent));
    eventually("it answers", || chroot.code("mobula volume ls") == Some(0));
    chroot.ok(&format!("grep -q kept {target}/note && rc-service mobula reload"));
    chroot.ok("mobula service restart");
    unmount_volume(&chroot);
    chroot.ok("mobula service stop");
    assert_eq!(chroot.code("mobula service status"), Some(3));
    install(&chroot, &url, "--uninstall");
    chroot.ok("test ! -e /etc/init.d/mobula && test ! -e /etc/runlevels/default/mobula");
}

#[test]
fn systemd_is_told_in_its_own_words() {
    if !testkit::root::is_root() {
        return;
    }
    let url = serve(&Release::real().dir, None);
    let chroot = Chroot::new();
    // What is asked of systemd is written down; nothing is started.
    chroot.ok("mkdir -p /run/systemd/system && echo inactive >/root/state");
    chroot.put(
        "usr/bin/systemctl",
        "#!/bin/sh\necho \"$@\" >>/root/asked\ncase $1 in\n\
         is-active) cat /root/state; grep -q -x active /root/state || exit 3 ;;\n\
         start | restart) echo active >/root/state ;;\nstop) echo inactive >/root/state ;;\nesac\n",
    );
    let asked = || std::fs::read_to_string(chroot.at("root/asked")).unwrap_or_default();
    install(&chroot, &url, "");
    assert!(asked().contains("daemon-reload\n"), "{}", asked());
    assert!(asked().contains("start mobula.service\n"), "{}", asked());
    let link = "/etc/systemd/system/multi-user.target.wants/mobula.service";
    chroot.ok(&format!("test \"$(readlink {link})\" = /etc/systemd/system/mobula.service"));
    let mut verify = Command::new("systemd-analyze");
    verify.arg(format!("--root={}", chroot.at("").display())).args(["verify", "mobula.service"]);
    let said = verify.output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    // Without systemd's own targets nothing can be ordered after them.
    let wrong = |line: &&str| line.contains("mobula") && !line.contains(".target not found");
    assert_eq!(said.lines().find(wrong), None, "{said}");
    assert_eq!(chroot.code("mobula service status"), Some(0));
    assert!(install(&chroot, &url, "").contains("nothing was changed"));
    chroot.ok("mobula service restart && mobula service stop");
    assert!(asked().contains("restart mobula.service\nis-active"), "{}", asked());
    assert_eq!(chroot.code("mobula service status"), Some(3));
    chroot.ok("echo failed >/root/state");
    assert_eq!(chroot.code("mobula service status"), Some(1));
    install(&chroot, &url, "--uninstall");
    chroot.ok(&format!("test ! -L {link} && test ! -e /etc/systemd/system/mobula.service"));
    assert!(asked().ends_with("daemon-reload\n"), "{}", asked());
}

#[test]
fn a_machine_without_an_init_system_gets_the_program() {
    if !testkit::root::is_root() {
        return;
    }
    let url = serve(&Release::real().dir, None);
    let chroot = Chroot::new();
    run(Command::new("rm").arg("-r").arg(chroot.at("etc/init.d")));
    let said = install(&chroot, &url, "");
    assert!(said.contains("no init system is known here"), "{said}");
    chroot.fails("mobula service install", &["runs neither systemd nor OpenRC", "--init"]);
    chroot.ok("mobula volume create db --size 32MiB && mobula volume mount db");
    chroot.fails(&format!("curl -sSL {url}/install.sh | sh -s -- --uninstall"), &["mobula/db"]);
    chroot.ok("mobula volume unmount db");
    install(&chroot, &url, "--uninstall");
    chroot.ok("test ! -e /usr/local/bin/mobula");
}
