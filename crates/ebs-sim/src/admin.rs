//! The admin API, below `/_sim/`: looking at the account and disturbing it from outside. JSON, not
//! signed. Adding an instance needs a listener and is in `server`.

use crate::api::{Reply, Request};
use crate::config::Delays;
use crate::core::{Core, Partition};
use crate::fault::Fault;
use crate::simulator;
use crate::state::State;
use crate::world::instance::Change;
use error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One fault, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Faults {
    Several(Vec<Fault>),
    One(Fault),
}

/// A change of the clock.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Clock {
    /// Milliseconds that pass at once.
    advance_ms: u64,
    /// How far the API's clock is ahead when it looks at signatures.
    skew_ms: Option<i64>,
}

/// Serves a request; the error's kind becomes the status.
pub(crate) fn serve(core: &mut Core, request: &Request) -> Reply {
    match answer(core, request) {
        Ok(value) => reply(200, &value),
        Err(error) => failed(&error),
    }
}

/// An answer in JSON.
pub(crate) fn reply(status: u16, value: &Value) -> Reply {
    Reply::new(status, format!("{value:#}\n"))
}

/// What went wrong, in JSON.
pub(crate) fn failed(error: &Error) -> Reply {
    reply(error.kind().http(), &json!({ "error": error.to_string() }))
}

/// Reads the body.
pub(crate) fn read<T: DeserializeOwned>(request: &Request) -> Result<T> {
    serde_json::from_slice(&request.body)
        .map_err(|cause| Error::invalid_argument("the body is not what is expected").because(cause))
}

fn answer(core: &mut Core, request: &Request) -> Result<Value> {
    let path = request.path.trim_start_matches("/_sim/");
    let parts: Vec<_> = path.split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["state"]) => state(core),
        ("GET", ["calls"]) => to_json(&core.calls),
        ("POST", ["calls", "reset"]) => {
            core.calls.clear();
            done()
        }
        ("GET", ["faults"]) => to_json(&core.faults.list()),
        ("POST", ["faults"]) => {
            let faults = match read(request)? {
                Faults::Several(faults) => faults,
                Faults::One(fault) => vec![fault],
            };
            faults.into_iter().for_each(|fault| core.inject(fault));
            done()
        }
        ("DELETE", ["faults"]) => core.clear_faults().and_then(|()| done()),
        ("POST", ["delays"]) => {
            core.set_delays(read::<Delays>(request)?);
            done()
        }
        ("POST", ["clock"]) => {
            let clock: Clock = read(request)?;
            core.skew = clock.skew_ms.unwrap_or(core.skew);
            core.go_ahead(clock.advance_ms)?;
            done()
        }
        ("POST", ["instances", id, change]) => change_instance(core, id, change),
        _ => Err(Error::not_found(format!(
            "there is no {} /_sim/{path}; there are GET state, GET calls, POST calls/reset, GET, POST \
             and DELETE faults, POST delays, POST clock, POST instances, and POST \
             instances/ID/(terminate|stop|start|partition|reset|heal)",
            request.method
        ))),
    }
}

fn done() -> Result<Value> {
    Ok(json!({}))
}

fn to_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|cause| Error::internal("cannot answer").because(cause))
}

fn state(core: &mut Core) -> Result<Value> {
    core.tick()?;
    let mut value = to_json(&State::of(&core.world))?;
    value["now"] = core.now().into();
    value["delays"] = to_json(&core.delays)?;
    value["faults"] = to_json(&core.faults.list())?;
    Ok(value)
}

fn change_instance(core: &mut Core, id: &str, change: &str) -> Result<Value> {
    if !core.world.instances.contains_key(id) {
        return Err(Error::not_found(format!("there is no instance {id}")));
    }
    match change {
        "terminate" => simulator::change(core, id, Change::Terminate)?,
        "stop" => simulator::change(core, id, Change::Stop)?,
        "start" => simulator::change(core, id, Change::Start)?,
        "partition" => {
            core.partitions.insert(id.to_owned(), Partition::Silent);
        }
        "reset" => {
            core.partitions.insert(id.to_owned(), Partition::Reset);
        }
        "heal" => {
            core.partitions.remove(id);
        }
        other => return Err(Error::not_found(format!("an instance cannot {other}"))),
    }
    done()
}
