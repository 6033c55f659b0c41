//! The interfaces other than that of volumes, as far as an engine of containers needs them to make a
//! network, to give out addresses, to ask for leave, and to begin and end logging and measuring.

use serde_json::{Value, json};

/// What a request that is denied has in its path.
const DENIED: &str = "denied";

/// The answer to a call; `None`: there is no such call.
pub(crate) fn answer(method: &str, body: &str) -> Option<Value> {
    let request: Value = serde_json::from_str(body).unwrap_or_default();
    Some(match method {
        "NetworkDriver.GetCapabilities" => {
            json!({ "Scope": "local", "ConnectivityScope": "local" })
        }
        "IpamDriver.GetCapabilities" => json!({ "RequiresMACAddress": false }),
        "IpamDriver.GetDefaultAddressSpaces" => json!({
            "LocalDefaultAddressSpace": "probe-local",
            "GlobalDefaultAddressSpace": "probe-global",
        }),
        "IpamDriver.RequestPool" => {
            json!({ "PoolID": "probe-pool", "Pool": "172.31.99.0/24", "Data": {} })
        }
        "IpamDriver.RequestAddress" => json!({ "Address": "172.31.99.1/24", "Data": {} }),
        "AuthZPlugin.AuthZReq" | "AuthZPlugin.AuthZRes" => {
            let uri = request["RequestUri"].as_str().unwrap_or_default();
            json!({ "Allow": !uri.contains(DENIED), "Msg": "denied on demand", "Err": "" })
        }
        "LogDriver.Capabilities" => json!({ "Cap": { "ReadLogs": false } }),
        method if is_plain(method) => json!({ "Err": "" }),
        _ => return None,
    })
}

/// Calls that nothing is to be said to.
fn is_plain(method: &str) -> bool {
    ["NetworkDriver.", "IpamDriver.Release", "LogDriver.St", "MetricsCollector.St"]
        .iter()
        .any(|begin| method.starts_with(begin))
}
