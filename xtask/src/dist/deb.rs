//! The Debian package, by dpkg's own dpkg-deb.

use super::Release;
use super::tree::{Tree, put};
use crate::{program, workspace};
use error::{IoContext, Result};
use mobula::service::{Init, Part, packaged};
use std::path::Path;

/// Where a package has its program.
pub(super) const PROGRAM: &str = "/usr/bin/mobula";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: mobula
Source: https://github.com/mobula/mobula

Files: *
Copyright: The authors of Mobula
License: Apache-2.0
 On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0.
";

/// Writes `mobula_VERSION_ARCH.deb`.
pub(super) fn write(release: &Release, tree: &Tree) -> Result<()> {
    let root = tree.packaged("deb")?;
    for part in [Part::Agent, Part::Engine] {
        for (init, mode) in [(Init::Systemd, 0o644), (Init::SysV, 0o755)] {
            let (path, text) = packaged(part, init, Path::new(PROGRAM))?;
            put(&root.join(path), text.as_bytes(), mode)?;
        }
    }
    debianize(&root)?;
    control(release, tree, &root)?;
    let name = format!("mobula_{}_{}.deb", release.version, tree.architecture.debian);
    let mut dpkg = program::command(program::get("dpkg-deb")?);
    dpkg.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    dpkg.args(if release.quick { ["-Zgzip", "-z1"] } else { ["-Zxz", "-z6"] });
    dpkg.args(["--root-owner-group", "--build"]).arg(&root).arg(release.out.join(name));
    program::run(&mut dpkg, b"").map(drop)
}

/// What Debian has elsewhere, or otherwise.
fn debianize(root: &Path) -> Result<()> {
    let (zsh, vendor) = ("usr/share/zsh/site-functions", "usr/share/zsh/vendor-completions");
    std::fs::rename(root.join(zsh), root.join(vendor)).doing(|| "move zsh's completions")?;
    let doc = root.join("usr/share/doc/mobula");
    std::fs::remove_file(doc.join("LICENSE")).doing(|| "remove the license")?;
    put(&doc.join("copyright"), COPYRIGHT.as_bytes(), 0o644)?;
    let pages = root.join("usr/share/man/man1");
    let mut gzip = program::command(program::get("gzip")?);
    program::run(gzip.arg("-9nr").arg(pages), b"").map(drop)
}

fn control(release: &Release, tree: &Tree, root: &Path) -> Result<()> {
    let control = format!(
        "Package: mobula\nVersion: {}\nArchitecture: {}\nMaintainer: The authors of Mobula \
         <mobula@localhost>\nSection: admin\nPriority: optional\nDepends: util-linux\nRecommends: \
         e2fsprogs\nSuggests: xfsprogs, btrfs-progs, docker.io | podman\nHomepage: \
         https://github.com/mobula/mobula\nDescription: volumes and managed plugins for \
         containers\n Storage that outlives containers: a volume orchestrator and Docker's managed\n \
         plugin system without Docker, in one static program.\n",
        release.version, tree.architecture.debian
    );
    put(&root.join("DEBIAN/control"), control.as_bytes(), 0o644)?;
    let conffiles = "/etc/init.d/mobula\n/etc/init.d/mobula-engine\n";
    put(&root.join("DEBIAN/conffiles"), conffiles.as_bytes(), 0o644)?;
    for script in SCRIPTS {
        let text = workspace::read(&workspace::root().join("packaging/scripts").join(script))?;
        put(&root.join("DEBIAN").join(script), text.as_bytes(), 0o755)?;
    }
    Ok(())
}
