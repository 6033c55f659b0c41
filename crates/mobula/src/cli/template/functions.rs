//! The functions that templates can call: Go's own, and docker's.

use super::evaluate::{Value, inapplicable};
use super::parse::refused;
use error::Result;
use serde_json::Value as Json;
use std::cmp::Ordering;

/// What [`call`] knows.
const NAMES: [&str; 19] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "print", "printf", "println", "split", "upper",
];

/// Calls a function.
pub(super) fn call(name: &str, arguments: Vec<Value>) -> Result<Value> {
    match (name, arguments.as_slice()) {
        ("json", [_]) => json(arguments),
        ("join", [Value::Plain(Json::Array(list)), separator]) => {
            let words: Vec<_> = list.iter().map(|entry| Value::of(entry).text()).collect();
            Ok(text(words.join(&separator.text())))
        }
        ("split", [whole, separator]) => {
            let (whole, separator) = (whole.text(), separator.text());
            Ok(Value::Plain(whole.split(separator.as_str()).map(Json::from).collect()))
        }
        ("upper", [value]) => Ok(text(value.text().to_uppercase())),
        ("lower", [value]) => Ok(text(value.text().to_lowercase())),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => {
            keys.iter().try_fold(value.clone(), |value, key| index(&value, key))
        }
        ("not", [value]) => Ok(boolean(!value.is_true())),
        ("and", [.., last]) => Ok(first(&arguments, last, false)),
        ("or", [.., last]) => Ok(first(&arguments, last, true)),
        ("eq", [value, others @ ..]) if !others.is_empty() => {
            let equals = |other| compare(value, other) == Some(Ordering::Equal);
            Ok(boolean(others.iter().any(equals)))
        }
        ("ne", [a, b]) => Ok(boolean(compare(a, b) != Some(Ordering::Equal))),
        ("lt", [a, b]) => order(a, b).map(|order| boolean(order.is_lt())),
        ("le", [a, b]) => order(a, b).map(|order| boolean(order.is_le())),
        ("gt", [a, b]) => order(a, b).map(|order| boolean(order.is_gt())),
        ("ge", [a, b]) => order(a, b).map(|order| boolean(order.is_ge())),
        ("print", values) => Ok(text(values.iter().map(Value::text).collect())),
        ("println", values) => {
            let words: Vec<_> = values.iter().map(Value::text).collect();
            Ok(text(words.join(" ") + "\n"))
        }
        ("printf", [format, values @ ..]) => printf(&format.text(), values).map(text),
        _ => Err(inapplicable(&format!("{name} cannot take these arguments"))),
    }
}

/// Whether there is a function `name`; otherwise an error that says which there are.
pub(super) fn check(name: &str) -> Result<()> {
    if NAMES.contains(&name) {
        return Ok(());
    }
    let hint = volume::options::nearest(name, &NAMES);
    let hint = hint.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    let known = NAMES.join(", ");
    Err(refused(&format!("there is no function {name}; {hint}functions are {known}")))
}

fn text(text: String) -> Value {
    Value::Plain(text.into())
}

fn boolean(value: bool) -> Value {
    Value::Plain(value.into())
}

fn json(arguments: Vec<Value>) -> Result<Value> {
    let value = arguments.into_iter().next().map(Value::into_json).unwrap_or_default();
    Ok(text(value.to_string()))
}

/// The first argument that is as true as `wanted`; otherwise the last.
fn first(arguments: &[Value], last: &Value, wanted: bool) -> Value {
    arguments.iter().find(|value| value.is_true() == wanted).unwrap_or(last).clone()
}

fn length(value: &Value) -> Result<Value> {
    let length = match value {
        Value::Structure(members) => members.len(),
        Value::Plain(Json::Object(map)) => map.len(),
        Value::Plain(Json::Array(list)) => list.len(),
        Value::Plain(Json::String(text)) => text.len(),
        Value::Plain(_) => return Err(inapplicable("len needs a text, a list or a map")),
    };
    Ok(Value::Plain(length.into()))
}

fn index(value: &Value, key: &Value) -> Result<Value> {
    match (value, key) {
        (Value::Plain(Json::Object(map)), Value::Plain(Json::String(key))) => {
            Ok(Value::Plain(map.get(key).cloned().unwrap_or_default()))
        }
        (Value::Plain(Json::Array(list)), Value::Plain(Json::Number(key))) => {
            let at = key.as_u64().and_then(|key| usize::try_from(key).ok());
            let entry = at.and_then(|at| list.get(at)).map(Value::of);
            entry.ok_or_else(|| inapplicable(&format!("a list has no element {key}")))
        }
        _ => Err(inapplicable("index needs a list and a number, or a map and a text")),
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Plain(Json::Number(a)), Value::Plain(Json::Number(b))) => {
            a.as_f64()?.partial_cmp(&b.as_f64()?)
        }
        (Value::Plain(Json::String(a)), Value::Plain(Json::String(b))) => Some(a.cmp(b)),
        _ => (a == b).then_some(Ordering::Equal),
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering> {
    compare(a, b).ok_or_else(|| inapplicable("numbers and texts have no common order"))
}

/// Go's `%s`, `%v`, `%d` and `%q` with `-`, width and precision.
fn printf(format: &str, values: &[Value]) -> Result<String> {
    let mut shown = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        shown.push_str(before);
        let verb = after.find(|c: char| c.is_alphabetic() || c == '%');
        let verb = verb.ok_or_else(|| inapplicable("printf: a verb is missing after %"))?;
        let (flags, tail) = after.split_at(verb);
        let mut tail = tail.chars();
        match tail.next() {
            Some('%') => shown.push('%'),
            Some(c @ ('s' | 'v' | 'd' | 'q')) => {
                let value = values.next();
                let value = value.ok_or_else(|| inapplicable("printf: a value is missing"))?;
                let word = if c == 'q' { format!("{:?}", value.text()) } else { value.text() };
                shown.push_str(&padded(&word, flags)?);
            }
            _ => return Err(inapplicable("printf knows %s, %v, %d, %q and %%")),
        }
        rest = tail.as_str();
    }
    shown.push_str(rest);
    Ok(shown)
}

/// `-20.5`: at least 20 characters, on the left, of at most 5.
fn padded(word: &str, flags: &str) -> Result<String> {
    let (left, sizes) = match flags.strip_prefix('-') {
        Some(sizes) => (true, sizes),
        None => (false, flags),
    };
    let (width, most) = sizes.split_once('.').unwrap_or((sizes, ""));
    let width = size(width)?.unwrap_or(0);
    let word: String = word.chars().take(size(most)?.unwrap_or(usize::MAX)).collect();
    Ok(if left { format!("{word:<width$}") } else { format!("{word:>width$}") })
}

fn size(digits: &str) -> Result<Option<usize>> {
    const MOST: usize = 1000;
    if digits.is_empty() {
        return Ok(None);
    }
    let size = digits.parse().ok().filter(|size| *size <= MOST);
    size.map(Some).ok_or_else(|| inapplicable("printf: a width is a number up to 1000"))
}
