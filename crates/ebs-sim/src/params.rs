//! The parameters of a call (AWS's Query protocol): form-encoded names and values, lists as
//! `Name.1`, structures as `Name.1.Field`. Every parameter is taken out by whoever knows it; what is
//! left in the end is unknown.

use crate::refusal::{Answered, Refusal};
use std::collections::BTreeMap;
use std::str::FromStr;

/// The parameters that were not taken yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params {
    prefix: String,
    left: BTreeMap<String, String>,
}

impl Params {
    /// Decodes `application/x-www-form-urlencoded`. A name given twice → `InvalidParameter`.
    pub(crate) fn parse(form: &str) -> Answered<Self> {
        let mut left = BTreeMap::new();
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                decode(&text.replace('+', " ")).ok_or_else(|| {
                    Refusal::client("MalformedQueryString", "The query string is malformed")
                })
            };
            let name = decode(name)?;
            if left.insert(name.clone(), decode(value)?).is_some() {
                return Err(Refusal::client(
                    "InvalidParameter",
                    format!("The parameter {name} was given more than once"),
                ));
            }
        }
        Ok(Self { prefix: String::new(), left })
    }

    /// The values of the parameter or list `name`, without taking them.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let is_one = |key: &str| {
            key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || index(rest).is_some())
        };
        self.left.iter().filter(|(key, _)| is_one(key)).map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.left.remove(name)
    }

    pub(crate) fn need(&mut self, name: &str) -> Answered<String> {
        let full = format!("{}{name}", self.prefix);
        self.take(name).filter(|value| !value.is_empty()).ok_or_else(|| Refusal::missing(&full))
    }

    pub(crate) fn number<T: FromStr>(&mut self, name: &str) -> Answered<Option<T>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let wrong = || {
            Refusal::value(format!(
                "Invalid value '{text}' for {}{name}. Expected: an integer",
                self.prefix
            ))
        };
        text.parse().map(Some).map_err(|_| wrong())
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Answered<Option<bool>> {
        match self.take(name).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Refusal::value(format!(
                "Invalid value '{other}' for {}{name}. Expected: 'true' or 'false'",
                self.prefix
            ))),
        }
    }

    /// The list `name`, in its order.
    pub(crate) fn list(&mut self, name: &str) -> Vec<String> {
        let mut found: Vec<_> = self
            .left
            .keys()
            .filter_map(|key| Some((index(key.strip_prefix(name)?)?, key.clone())))
            .collect();
        found.sort();
        found.iter().filter_map(|(_, key)| self.left.remove(key)).collect()
    }

    /// The structures of the list `name`, in its order. Each is to be [finished](Self::finish).
    pub(crate) fn structures(&mut self, name: &str) -> Vec<Self> {
        let mut found: BTreeMap<u32, BTreeMap<String, String>> = BTreeMap::new();
        let keys: Vec<_> = self.left.keys().cloned().collect();
        for key in keys {
            let Some((number, field)) = key
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.'))
                .and_then(|rest| rest.split_once('.'))
                .and_then(|(number, field)| Some((number.parse().ok()?, field.to_owned())))
            else {
                continue;
            };
            let value = self.left.remove(&key).unwrap_or_default();
            found.entry(number).or_default().insert(field, value);
        }
        let prefixed = |number| format!("{}{name}.{number}.", self.prefix);
        found.into_iter().map(|(n, left)| Self { prefix: prefixed(n), left }).collect()
    }

    /// All that is left, for comparing two calls.
    pub(crate) fn fingerprint(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.left {
            text.push_str(&format!("{}:{name}={}:{value};", name.len(), value.len()));
        }
        text
    }

    /// Nothing may be left → `UnknownParameter`.
    pub(crate) fn finish(&self) -> Answered<()> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(Refusal::client(
                "UnknownParameter",
                format!("The parameter {}{name} is not recognized", self.prefix),
            )),
        }
    }
}

/// `.7` → 7.
fn index(rest: &str) -> Option<u32> {
    rest.strip_prefix('.')?.parse().ok()
}

/// Undoes percent-encoding. `None` when it is malformed or no UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match first {
            b'%' => (hex(tail.get(..2)?)?, &tail[2..]),
            other => (*other, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u8::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let mut params = Params::parse("A=b+c%26%C3%A4&B=&C.2=y&C.1=x&C.10=z").unwrap();
        assert_eq!(params.need("A").unwrap(), "b c&ä");
        assert_eq!(params.need("B").unwrap_err(), Refusal::missing("B"));
        assert_eq!(params.list("C"), ["x", "y", "z"]);
        params.finish().unwrap();
        assert_eq!(Params::parse("A=%G1").unwrap_err().code, "MalformedQueryString");
        assert_eq!(Params::parse("A=1&A=2").unwrap_err().code, "InvalidParameter");
    }

    #[test]
    fn what_nobody_took_is_unknown() {
        let mut params = Params::parse("F.1.Name=a&F.1.Value.1=b&F.1.Vale.2=c&Sise=1").unwrap();
        let mut filter = params.structures("F").remove(0);
        assert_eq!(filter.need("Name").unwrap(), "a");
        assert_eq!(filter.list("Value"), ["b"]);
        let error = filter.finish().unwrap_err();
        assert!(error.message.contains("F.1.Vale.2"), "{error:?}");
        assert_eq!(params.finish().unwrap_err().code, "UnknownParameter");
    }
}
