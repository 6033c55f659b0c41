//! What is wrong with the options of a volume that is about to be made: told then, not by its first
//! mount, which is somebody else's.

use super::Orchestrator;
use crate::driver::{Driver, blocking};
use crate::options::{mistakes, told};
use crate::volume::{Create, Parameters};
use error::Result;
use host::Host;
use std::sync::Arc;

impl Orchestrator {
    /// Refuses (`InvalidArgument`) options with which the volume could not be mounted. `is_new`: it
    /// gets a file system of its own; otherwise the one of what it is made of, which nobody knows yet.
    pub(super) async fn refuse_wrong_options(&self, create: &Create, is_new: bool) -> Result<()> {
        let Err(wrong) = self.judge(create, is_new).await else { return Ok(()) };
        // One that is there answers the request as before: whoever made it has been let through.
        match self.driver.find(&create.name).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => Err(wrong),
        }
    }

    async fn judge(&self, create: &Create, is_new: bool) -> Result<()> {
        // A copy has its source's options where nothing is said.
        let is_copy = create.origin.is_some();
        let mut said = if is_copy { create.asked.clone() } else { create.parameters.clone() };
        if !is_new {
            (said.fs_type, said.mkfs_options) = (create.asked.fs_type, None);
        }
        told(mistakes(self.driver.spec(), &said))?;
        let types = self.types(&said);
        let options = said.mount_options.unwrap_or_default();
        if options.is_empty() {
            return Ok(());
        }
        let host = Arc::clone(&self.host);
        blocking(move || taken_by_one(&*host, &types, &options)).await
    }

    /// What the volume may be mounted as: the kernel's names of file systems; `None`: a directory.
    fn types(&self, said: &Parameters) -> Vec<Option<&'static str>> {
        let can = self.driver.capabilities();
        match said.fs_type {
            _ if can.filesystems.is_empty() => vec![can.network],
            Some(fstype) => vec![Some(fstype.name())],
            None => can.filesystems.iter().map(|fstype| Some(fstype.name())).collect(),
        }
    }
}

/// Whether one of these file systems takes the options; otherwise the first one's error.
fn taken_by_one(host: &dyn Host, types: &[Option<&str>], options: &[String]) -> Result<()> {
    let mut refused = Ok(());
    for fstype in types {
        let checked = host.check_options(*fstype, options);
        if checked.is_ok() {
            return checked;
        }
        refused = refused.and(checked);
    }
    refused
}
