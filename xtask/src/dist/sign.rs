//! What makes a release trustworthy: the list of checksums, its signature, and the installer that
//! knows the key.

use super::Release;
use crate::{program, workspace};
use error::{Error, IoContext, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const SUMS: &str = "SHA256SUMS";

/// Writes install.sh, which then belongs to this release and its key.
pub(super) fn installer(release: &Release, public_key: Option<&Path>) -> Result<()> {
    let script = workspace::read(&workspace::root().join("packaging/install.sh"))?;
    let key = public_key.map(read_key).transpose()?.unwrap_or_default();
    let script = stamped(&script, "release", release.version)?;
    let script = stamped(&script, "public_key", &key)?;
    let path = release.out.join("install.sh");
    workspace::write(&path, &script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .doing(|| format!("set the mode of {}", path.display()))
}

/// The script with `name=''` given a value.
fn stamped(script: &str, name: &str, value: &str) -> Result<String> {
    let (empty, given) = (format!("\n{name}=''\n"), format!("\n{name}='{value}'\n"));
    if script.matches(&empty).count() != 1 {
        return Err(Error::internal(format!("packaging/install.sh has no line {name}=''")));
    }
    Ok(script.replace(&empty, &given))
}

/// The key of a minisign public key file: its second line.
fn read_key(path: &Path) -> Result<String> {
    let text = workspace::read(path)?;
    let key = text.lines().map(str::trim).find(|line| line.starts_with("RW"));
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    key.filter(|key| key.bytes().all(is_base64)).map(str::to_owned).ok_or_else(|| {
        Error::invalid_argument(format!("{} is no minisign public key", path.display()))
    })
}

/// Writes the list of the checksums of all files.
pub(super) fn checksums(release: &Release) -> Result<()> {
    let mut sum = program::command(program::get("sha256sum")?);
    let list = program::run(sum.current_dir(&release.out).args(release.files()?), b"")?;
    let path = release.out.join(SUMS);
    std::fs::write(&path, list).doing(|| format!("write {}", path.display()))
}

/// Signs the list. minisign asks for the key's password, if it has one.
pub(super) fn sign(release: &Release, key: &Path) -> Result<()> {
    let mut minisign = program::command(program::get("minisign")?);
    minisign.arg("-S").arg("-s").arg(key).arg("-m").arg(release.out.join(SUMS));
    minisign.arg("-t").arg(format!("mobula {}", release.version));
    program::attend(&mut minisign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installer_is_stamped_once_and_only_where_it_is_empty() {
        let script = "a\nrelease=''\nb\n";
        assert_eq!(stamped(script, "release", "1.2").unwrap(), "a\nrelease='1.2'\nb\n");
        assert!(stamped("a\n", "release", "1.2").is_err());
    }

    #[test]
    fn a_key_is_the_line_that_minisign_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pub");
        std::fs::write(&path, "untrusted comment: x\nRWQabc+/=\n").unwrap();
        assert_eq!(read_key(&path).unwrap(), "RWQabc+/=");
        std::fs::write(&path, "untrusted comment: x\nRW'; reboot; '\n").unwrap();
        assert!(read_key(&path).is_err());
    }
}
