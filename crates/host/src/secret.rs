//! Values that stand elsewhere: in files, in systemd's credentials and in Docker's secrets. They are
//! read when they are needed, and what is in them is told nobody.

use crate::file;
use error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest secret, in bytes.
const LIMIT: usize = 64 << 10;

/// Where systemd puts the credentials of a service (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where Docker puts the secrets of a service.
const DOCKER: &str = "/run/secrets";

/// What a value says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written<'a> {
    /// Itself.
    Literal(&'a str),
    /// Where the value is.
    Secret(Secret),
}

/// Where a secret value is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// In this file; absolute.
    File(PathBuf),
    /// In the service's credential of this name.
    Credential(String),
    /// In the Docker secret of this name.
    Docker(String),
}

/// Reads how a value is written: `@/path`, `@credential:NAME`, `@secret:NAME`, or itself; one that
/// begins with `@` itself is written `@@`.
pub fn parse(value: &str) -> Result<Written<'_>> {
    let Some(rest) = value.strip_prefix('@') else { return Ok(Written::Literal(value)) };
    let secret = if rest.starts_with('@') {
        return Ok(Written::Literal(rest));
    } else if rest.starts_with('/') {
        Secret::File(PathBuf::from(rest))
    } else if let Some(name) = rest.strip_prefix("credential:") {
        Secret::Credential(plain(name, "credential")?)
    } else if let Some(name) = rest.strip_prefix("secret:") {
        Secret::Docker(plain(name, "secret")?)
    } else {
        return Err(Error::invalid_argument(
            "it begins with @ but is neither @/path nor @credential:NAME nor @secret:NAME; write a \
             literal @ as @@",
        ));
    };
    Ok(Written::Secret(secret))
}

/// The value itself, wherever it stands.
pub fn resolve(value: &str) -> Result<String> {
    match parse(value)? {
        Written::Literal(text) => Ok(text.to_owned()),
        Written::Secret(secret) => secret.read(credentials().as_deref()),
    }
}

/// Where this service's credentials are, if it has any.
#[must_use]
pub fn credentials() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS).map(PathBuf::from)
}

fn plain(name: &str, what: &str) -> Result<String> {
    if name.is_empty() || name.contains('/') || matches!(name, "." | "..") {
        return Err(Error::invalid_argument(format!("{name:?} is no name of a {what}")));
    }
    Ok(name.to_owned())
}

impl Secret {
    /// Its value now, without the newline at its end. `FailedPrecondition` says what is wrong with
    /// the file, never what is in it.
    pub fn read(&self, credentials: Option<&Path>) -> Result<String> {
        let path = self.path(credentials)?;
        let refuse = |why: &str| {
            let what = format!("secret file {} {why}", path.display());
            Error::failed_precondition(what)
        };
        self.refuse_public(&path)?;
        let bytes = match file::read_optional(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(refuse("does not exist")),
            Err(error) => return Err(refuse("cannot be read").because(error)),
        };
        if bytes.len() > LIMIT {
            return Err(refuse("is larger than 64 KiB"));
        }
        let mut text = String::from_utf8(bytes).map_err(|_| refuse("is no text (UTF-8)"))?;
        if text.ends_with('\n') {
            text.pop();
        }
        match text {
            empty if empty.is_empty() => Err(refuse("is empty")),
            text if text.contains('\0') => Err(refuse("has a NUL character in it")),
            text => Ok(text),
        }
    }

    /// Refuses a file that could not be used now. Credentials are only known where the plugin is
    /// started.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::File(_) => self.read(None).map(drop),
            Self::Credential(_) | Self::Docker(_) => Ok(()),
        }
    }

    /// Whoever is on the machine could read it. Docker's own secrets are readable to all, in a
    /// container that is theirs alone.
    fn refuse_public(&self, path: &Path) -> Result<()> {
        let Self::File(_) = self else { return Ok(()) };
        let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
        let mode = found.mode() & 0o7777;
        if !found.is_file() || mode & 0o007 == 0 {
            return Ok(());
        }
        Err(Error::failed_precondition(format!(
            "secret file {path} is open to everybody (mode {mode:04o}); run chmod 600 {path}",
            path = path.display()
        )))
    }

    fn path(&self, credentials: Option<&Path>) -> Result<PathBuf> {
        match (self, credentials) {
            (Self::File(path), _) => Ok(path.clone()),
            (Self::Docker(name), _) => Ok(Path::new(DOCKER).join(name)),
            (Self::Credential(name), Some(directory)) => Ok(directory.join(name)),
            (Self::Credential(name), None) => Err(Error::new(
                Kind::FailedPrecondition,
                format!(
                    "credential {name} is not there: the service has no credentials; give it \
                     LoadCredential={name}:/path (systemd.exec(5))"
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_value_says_where_it_stands() {
        assert_eq!(parse("plain").unwrap(), Written::Literal("plain"));
        assert_eq!(parse("@@home").unwrap(), Written::Literal("@home"));
        let file = Secret::File(PathBuf::from("/a/b"));
        assert_eq!(parse("@/a/b").unwrap(), Written::Secret(file));
        let credential = Secret::Credential("c".to_owned());
        assert_eq!(parse("@credential:c").unwrap(), Written::Secret(credential));
        let docker = Secret::Docker("d".to_owned());
        assert_eq!(parse("@secret:d").unwrap(), Written::Secret(docker));
        for wrong in ["@", "@x", "@secret:", "@secret:../x", "@credential:a/b"] {
            assert_eq!(parse(wrong).unwrap_err().kind(), Kind::InvalidArgument, "{wrong}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "hunter2\n").unwrap();
        for (mode, is_fine) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match resolve(&format!("@{}", path.display())) {
                Ok(value) => assert!(is_fine && value == "hunter2", "{mode:o}"),
                Err(error) => {
                    let text = error.chain();
                    assert!(!is_fine && text.contains("chmod 600") && !text.contains("hunter2"));
                }
            }
        }
    }
}
