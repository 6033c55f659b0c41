//! Plugins' answers to calls (crate `plugin`, `rpc`): an error in any spelling and under any status
//! is an error, and nothing else but bad JSON is one. The first byte is the status.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugin::rpc::Reply;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, body)) = bytes.split_first() else { return };
    let status = 100 + u16::from(first) * 2;
    let reply = Reply { status, body: body.to_vec().into() };
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let complaint = json.as_ref().and_then(complaint);
    match (reply.decode("VolumeDriver.Get"), complaint) {
        (Ok(answer), complaint) => {
            assert!((200..300).contains(&status));
            assert_eq!(complaint, None);
            assert!(answer.is_object() || json == Some(answer));
        }
        (Err(error), Some(Value::String(words))) => assert_eq!(error.message(), words),
        (Err(error), None) => {
            assert!(!(200..300).contains(&status) || json.is_none(), "{error:?}");
            assert!(!error.message().is_empty());
            assert!(error.message().chars().count() < 1200);
        }
        (Err(_), Some(_)) => {}
    }
});

/// What counts as an error: `Err`, or else its first spelling, unless null or empty.
fn complaint(answer: &Value) -> Option<Value> {
    let fields = answer.as_object()?;
    let any = || fields.iter().find(|(key, _)| key.eq_ignore_ascii_case("err"));
    let found = fields.get("Err").or_else(|| any().map(|(_, value)| value))?;
    let is_nothing = found.is_null() || found.as_str() == Some("");
    (!is_nothing).then(|| found.clone())
}
