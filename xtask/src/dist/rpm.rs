//! The RPM package, by rpm's own rpmbuild.

use super::Release;
use super::deb::PROGRAM;
use super::tree::{Tree, put};
use crate::{program, workspace};
use error::{IoContext, Result};
use mobula::service::{Init, Part, packaged};
use std::fmt::Write;
use std::path::Path;

/// Makes the result depend on nothing but the files: not on the machine, the time or rpm's habits.
const MACROS: [&str; 9] = [
    "debug_package %{nil}",
    "__os_install_post %{nil}",
    "_build_id_links none",
    "_buildhost localhost",
    "use_source_date_epoch_as_buildtime 1",
    "clamp_mtime_to_source_date_epoch 1",
    "source_date_epoch_from_changelog 0",
    "_source_filedigest_algorithm 8",
    "_binary_filedigest_algorithm 8",
];

/// Writes `mobula-VERSION-1.ARCH.rpm`.
pub(super) fn write(release: &Release, tree: &Tree) -> Result<()> {
    let root = tree.packaged("rpm-root")?;
    for part in [Part::Agent, Part::Engine] {
        let (path, text) = packaged(part, Init::Systemd, Path::new(PROGRAM))?;
        put(&root.join("usr").join(path), text.as_bytes(), 0o644)?;
    }
    let top = tree.parent().join("rpm");
    let spec = tree.parent().join("mobula.spec");
    put(&spec, specification(release)?.as_bytes(), 0o644)?;
    let mut rpm = program::command(program::get("rpmbuild")?);
    rpm.env("SOURCE_DATE_EPOCH", release.epoch.to_string()).arg("-bb").arg("--quiet");
    rpm.arg("--target").arg(format!("{}-linux", tree.architecture.name));
    rpm.arg("--define").arg(format!("_topdir {}", top.display()));
    rpm.arg("--define").arg(format!("tree {}", root.display()));
    rpm.arg("--define").arg(format!("_rpmdir {}", top.display()));
    let payload = if release.quick { "w1.gzdio" } else { "w6.xzdio" };
    rpm.arg("--define").arg(format!("_binary_payload {payload}"));
    for line in MACROS {
        rpm.arg("--define").arg(line);
    }
    program::run(rpm.arg(&spec), b"")?;
    let arch = tree.architecture.name;
    let name = format!("mobula-{}-1.{arch}.rpm", release.version);
    let made = top.join(arch).join(&name);
    std::fs::copy(&made, release.out.join(&name)).doing(|| format!("copy {}", made.display()))?;
    Ok(())
}

fn specification(release: &Release) -> Result<String> {
    let mut spec = format!(
        "Name: mobula\nVersion: {}\nRelease: 1\nSummary: Volumes and managed plugins for \
         containers\nLicense: Apache-2.0\nURL: https://github.com/mobula/mobula\nAutoReqProv: \
         no\nRequires: util-linux\nRecommends: e2fsprogs\nSuggests: xfsprogs btrfs-progs\n\n\
         %description\nStorage that outlives containers: a volume orchestrator and Docker's \
         managed\nplugin system without Docker, in one static program.\n\n%install\nmkdir -p \
         %{{buildroot}}\ncp -a %{{tree}}/. %{{buildroot}}/\n\n",
        release.version
    );
    for (section, script) in [("post", "postinst"), ("preun", "prerm"), ("postun", "postrm")] {
        let text = workspace::read(&workspace::root().join("packaging/scripts").join(script))?;
        let _ = writeln!(spec, "%{section}\n{}", text.replace('%', "%%"));
    }
    spec.push_str(
        "%files\n%defattr(-,root,root)\n/usr/bin/mobula\n/usr/lib/systemd/system/*.service\n\
         /usr/share/man/man1/*\n/usr/share/bash-completion/completions/mobula\n\
         /usr/share/zsh/site-functions/_mobula\n/usr/share/fish/vendor_completions.d/mobula.fish\n\
         %doc /usr/share/doc/mobula\n%dir /etc/mobula\n/etc/mobula/mobula.example.yml\n",
    );
    Ok(spec)
}
