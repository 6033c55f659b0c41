//! Legacy plugins: `.sock`, `.spec` and `.json` files in Docker's directories
//!. Only reads files; connects to nobody.

mod spec;
#[cfg(test)]
mod tests;

use crate::rpc::Address;
use error::{Error, IoContext, Kind, Result};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// What a socket's name ends with.
const SOCKET: &str = "sock";
/// What a specification's name ends with, in the order in which they are looked for.
const SPECS: [&str; 2] = ["spec", "json"];

/// A legacy plugin that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Legacy {
    /// The name: the file's, without its extension.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Where it listens.
    pub address: Address,
}

/// Looks for legacy plugins.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// The directory of sockets.
    pub sockets: PathBuf,
    /// The directories of specifications.
    pub specs: Vec<PathBuf>,
}

impl Discovery {
    /// Every legacy plugin, by name; sockets first. A malformed file is passed over with a warning,
    /// and so is a directory that may not be read.
    pub fn scan(&self) -> Result<Vec<Legacy>> {
        let mut seen = HashSet::new();
        let mut plugins = Vec::new();
        take(&mut plugins, &mut seen, named_files(&self.sockets, SOCKET)?);
        let sockets = plugins.len();
        for directory in &self.specs {
            for extension in SPECS {
                take(&mut plugins, &mut seen, named_files(directory, extension)?);
            }
        }
        plugins[sockets..].sort_by(|one, other| one.name.cmp(&other.name));
        Ok(plugins)
    }

    /// The plugin of this name; names that are no file names find nothing. A file of this name that
    /// cannot be used is an error, unless another one can.
    pub fn find(&self, name: &str) -> Result<Option<Legacy>> {
        if !is_plain(name) {
            return Ok(None);
        }
        let mut unusable = None;
        for file in self.candidates(name) {
            match read(&file) {
                Ok(Some(address)) => {
                    return Ok(Some(Legacy { name: name.to_owned(), file, address }));
                }
                Ok(None) => {}
                Err(error) => {
                    unusable.get_or_insert(error);
                }
            }
        }
        unusable.map_or(Ok(None), Err)
    }

    /// The files that may be the plugin's, in Docker's order.
    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        let both = |directory: &Path, extension: &str| {
            let file = format!("{name}.{extension}");
            [directory.join(&file), directory.join(name).join(&file)]
        };
        let specs = self.specs.iter();
        let specs = specs.flat_map(|directory| SPECS.map(|extension| both(directory, extension)));
        both(&self.sockets, SOCKET).into_iter().chain(specs.flatten()).collect()
    }
}

/// Adds those of `files` that can be used and whose name is not taken yet.
fn take(plugins: &mut Vec<Legacy>, seen: &mut HashSet<String>, files: BTreeMap<String, PathBuf>) {
    for (name, file) in files {
        match read(&file) {
            Ok(Some(address)) => {
                if seen.insert(name.clone()) {
                    plugins.push(Legacy { name, file, address });
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "legacy plugin passed over");
            }
        }
    }
}

/// Whether `name` stays inside the directory that it is joined to. `rexray/ebs` does.
fn is_plain(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    !name.contains('\0') && name.split('/').all(is_part)
}

/// `NAME.extension` and `NAME/NAME.extension` in `directory`, by name.
fn named_files(directory: &Path, extension: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for path in entries(directory)? {
        let Some(file_name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let plain = file_name.strip_suffix(extension).and_then(|name| name.strip_suffix('.'));
        if let Some(name) = plain.filter(|name| !name.is_empty()) {
            files.insert(name.to_owned(), path);
        } else if path.is_dir() {
            let inner = path.join(format!("{file_name}.{extension}"));
            if inner.symlink_metadata().is_ok() {
                files.entry(file_name.to_owned()).or_insert(inner);
            }
        }
    }
    Ok(files)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("list {}", directory.display());
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry.doing(doing)?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!(directory = %directory.display(), "plugins there may not be looked for");
            Ok(Vec::new())
        }
        Err(error) => Err(error).doing(doing),
    }
}

/// The address in or of `file`; `None` when there is no such file.
fn read(file: &Path) -> Result<Option<Address>> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some(SOCKET) => socket(file),
        Some("spec") => contents(file)?.map(|text| spec::parse_spec(&text)).transpose(),
        _ => contents(file)?.map(|text| spec::parse_json(&text)).transpose(),
    }
    .map_err(|error| {
        let kind = error.kind();
        Error::new(kind, format!("{} describes no plugin", file.display())).because(error)
    })
}

/// Links are followed, as they may lead to where the plugin really keeps its socket.
fn socket(file: &Path) -> Result<Option<Address>> {
    match file.metadata() {
        Ok(metadata) if metadata.file_type().is_socket() => {
            Ok(Some(Address::Unix(file.to_owned())))
        }
        Ok(_) => Err(Error::failed_precondition("it is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match file.symlink_metadata() {
            Ok(_) => Err(Error::failed_precondition("it is a link that leads nowhere")),
            Err(_) => Ok(None),
        },
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error).doing(|| format!("look at {}", file.display())),
    }
}

fn contents(file: &Path) -> Result<Option<String>> {
    match file.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        _ => {}
    }
    let bytes = match host::file::read_optional(file) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        other => other?,
    };
    bytes
        .map(|bytes| {
            String::from_utf8(bytes)
                .map_err(|source| Error::invalid_argument("it is no text").because(source))
        })
        .transpose()
}
