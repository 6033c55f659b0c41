//! The JSON schema (draft 2020-12) of the configuration file, for editors: made of the same data as
//! the documentation, so that both say the same.

use super::known::{KEYS, Key, Kind, is_free};
use serde_json::{Map, Value, json};
use volume::options::Unit;
use volume::{OptionSpec, Spec, drivers};

/// Where it is published.
const ID: &str = "https://github.com/mobula/mobula/raw/main/docs/mobula.schema.json";
/// A value that stands in a file, a credential or a Docker secret.
const ELSEWHERE: &str = "^@(/|credential:.|secret:.)";
/// What names of services and plugins look like.
const NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_.@+~-]{0,127}$";

/// The schema.
pub fn schema() -> Value {
    let mut schema = section(0, &KEYS.iter().collect::<Vec<_>>());
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "mobula.yml",
        "description": "The configuration of mobula. Names of options may be written in any case; \
                        this schema knows the usual spelling.",
    });
    if let (Value::Object(schema), Value::Object(head)) = (&mut schema, head) {
        schema.extend(head);
    }
    schema
}

/// The schema of the section that all of `keys` are in, `depth` parts down.
fn section(depth: usize, keys: &[&Key]) -> Value {
    let mut properties = Map::new();
    let mut free = None;
    for key in keys {
        let Some(part) = key.parts().nth(depth) else { continue };
        if properties.contains_key(part) || (free.is_some() && is_free(part)) {
            continue;
        }
        let inside: Vec<&Key> =
            keys.iter().copied().filter(|other| other.parts().nth(depth) == Some(part)).collect();
        let schema =
            if key.parts().count() == depth + 1 { value(key) } else { section(depth + 1, &inside) };
        if is_free(part) {
            free = Some(schema);
        } else {
            properties.insert(part.to_owned(), schema);
        }
    }
    match free {
        Some(each) => json!({
            "type": "object",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": each,
        }),
        None => named(properties),
    }
}

/// A section whose keys are known. The one of a service depends on its driver.
fn named(mut properties: Map<String, Value>) -> Value {
    let is_service = properties.contains_key("driver");
    if is_service {
        for part in ["options", "volume"] {
            properties.insert(part.to_owned(), json!({ "type": "object" }));
        }
    }
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if is_service {
        schema["allOf"] = drivers::ALL.iter().map(|spec| of_driver(spec)).collect();
    }
    schema
}

/// What a service may say when its driver is this one.
fn of_driver(spec: &Spec) -> Value {
    let service = spec.service_options.iter().map(|spec| option(spec, true));
    // A default of all volumes can't name what a single one is copied from.
    let volume: Vec<OptionSpec> = spec
        .volume_options()
        .filter(|option| !matches!(option.name, "snapshot" | "clone"))
        .collect();
    let volume = volume.iter().map(|spec| option(spec, false));
    json!({
        "if": { "properties": { "driver": { "const": spec.name } }, "required": ["driver"] },
        "then": { "properties": {
            "options": closed(&service.collect()),
            "volume": closed(&volume.collect()),
        } },
    })
}

fn closed(properties: &Map<String, Value>) -> Value {
    json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn option(spec: &OptionSpec, may_stand_elsewhere: bool) -> (String, Value) {
    let mut schema = unit(spec.unit);
    if may_stand_elsewhere && spec.unit != Unit::Text {
        schema = json!({ "anyOf": [schema, { "type": "string", "pattern": ELSEWHERE }] });
    }
    schema["description"] = if spec.secret {
        format!("{} Secret: better @/path, @credential:NAME or @secret:NAME.", spec.help).into()
    } else {
        spec.help.into()
    };
    if let Some(default) = spec.default {
        schema["default"] = default.into();
    }
    (spec.name.to_owned(), schema)
}

fn unit(unit: Unit) -> Value {
    match unit {
        Unit::Text | Unit::Words | Unit::List => json!({ "type": ["string", "number", "boolean"] }),
        Unit::Size => size(),
        Unit::Number => {
            json!({ "type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$" })
        }
        Unit::Mode => json!({ "type": ["integer", "string"], "pattern": "^[0-7]+$" }),
        Unit::Bool => json!({ "type": ["boolean", "string"] }),
        Unit::Path => json!({ "type": "string", "pattern": "^/" }),
        Unit::Choice(words) => json!({ "enum": words }),
    }
}

fn size() -> Value {
    json!({ "type": ["integer", "string"], "minimum": 0, "pattern": "^ *[0-9]" })
}

fn value(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Path => json!({ "type": "string" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Number(least) => json!({ "type": "integer", "minimum": least }),
        Kind::Size => size(),
        Kind::List => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Driver => json!({ "enum": drivers::ALL.map(|spec| spec.name) }),
        Kind::ServiceOption | Kind::VolumeOption => json!({}),
    };
    schema["description"] = key.help.into();
    let is_plain = !key.default.is_empty() && !key.parts().any(is_free);
    if is_plain {
        schema["default"] = match key.kind {
            Kind::Bool | Kind::Number(_) => key.default.parse().unwrap_or(Value::Null),
            _ => key.default.into(),
        };
    }
    schema
}
