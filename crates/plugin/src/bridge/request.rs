//! A request as it came in at a socket: any JSON object, with a name where one is needed.

use crate::rpc::fields;
use error::{Error, Result};
use serde_json::{Value, json};

/// A request; keys that nobody knows stay in it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) body: Value,
}

impl Request {
    /// Reads one that needs no name. Podman's List has no body at all.
    pub(super) fn read_nameless(body: &[u8]) -> Result<Self> {
        if body.trim_ascii().is_empty() {
            return Ok(Self { body: json!({}) });
        }
        match serde_json::from_slice(body) {
            Ok(body @ Value::Object(_)) => Ok(Self { body }),
            Ok(Value::Null) => Ok(Self { body: json!({}) }),
            Ok(_) => Err(Error::invalid_argument("the request is no JSON object")),
            Err(source) => Err(Error::invalid_argument("the request is no JSON").because(source)),
        }
    }

    /// Reads one that needs a name. dockerd's client repeats a call whose connection broke with an
    /// empty body: that must not pass for a request.
    pub(super) fn read(body: &[u8]) -> Result<Self> {
        let request = Self::read_nameless(body)?;
        if request.name().is_empty() {
            return Err(Error::invalid_argument("the request has no Name; every volume has one"));
        }
        Ok(request)
    }

    /// Reads one that needs a name and a mount ID.
    pub(super) fn read_mount(body: &[u8]) -> Result<Self> {
        let request = Self::read(body)?;
        if request.id().is_empty() {
            return Err(Error::invalid_argument("the request has no ID; mounts are counted by it"));
        }
        Ok(request)
    }

    /// The volume.
    pub(super) fn name(&self) -> &str {
        fields::text(&self.body, "Name")
    }

    /// The mount ID.
    pub(super) fn id(&self) -> &str {
        fields::text(&self.body, "ID")
    }
}
