//! Values that are not kept here: files and credentials, read whenever a plugin starts.

use error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The largest secret, in bytes.
const LIMIT: usize = 64 << 10;

/// Where a secret value is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// In this file; absolute.
    File(PathBuf),
    /// In the service's credential of this name.
    Credential(String),
}

impl Secret {
    /// Its value now, without the newline at its end. `FailedPrecondition` says what is wrong with
    /// the file, never what is in it.
    pub(super) fn read(&self, credentials: Option<&Path>) -> Result<String> {
        let path = self.path(credentials)?;
        let refuse = |why: &str| {
            let what = format!("secret file {} {why}", path.display());
            Error::failed_precondition(what)
        };
        let bytes = match host::file::read_optional(&path) {
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
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::File(_) => self.read(None).map(drop),
            Self::Credential(_) => Ok(()),
        }
    }

    fn path(&self, credentials: Option<&Path>) -> Result<PathBuf> {
        match (self, credentials) {
            (Self::File(path), _) => Ok(path.clone()),
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
