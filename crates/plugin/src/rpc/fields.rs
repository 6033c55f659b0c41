//! Keys of a plugin's JSON in any case: Go's decoder does not look at it, and plugins rely on that.

use serde_json::{Map, Value};

/// The value of `key`, spelled exactly or else in any case; `null` and a missing key are `None`.
pub(crate) fn get<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    let fields = object.as_object()?;
    fields.get(spelling(fields, key)?.as_str()).filter(|value| !value.is_null())
}

/// As [`get`], to be changed.
pub(crate) fn get_mut<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let fields = object.as_object_mut()?;
    let spelling = spelling(fields, key)?;
    fields.get_mut(&spelling).filter(|value| !value.is_null())
}

/// The text at `key`; empty when there is none.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    get(object, key).and_then(Value::as_str).unwrap_or_default()
}

fn spelling(fields: &Map<String, Value>, key: &str) -> Option<String> {
    if fields.contains_key(key) {
        return Some(key.to_owned());
    }
    fields.keys().find(|known| known.eq_ignore_ascii_case(key)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_found_in_any_case_and_exact_ones_first() {
        let object = json!({ "mountPOINT": "/a", "err": null, "Name": "right", "name": "wrong" });
        assert_eq!(text(&object, "Mountpoint"), "/a");
        assert_eq!(text(&object, "Name"), "right");
        assert_eq!(get(&object, "Err"), None);
        assert_eq!(get(&json!([1]), "Err"), None);
    }

    #[test]
    fn a_value_is_changed_under_the_key_it_has() {
        let mut object = json!({ "MOUNTPOINT": "/a" });
        *get_mut(&mut object, "Mountpoint").unwrap() = json!("/b");
        assert_eq!(object, json!({ "MOUNTPOINT": "/b" }));
    }
}
