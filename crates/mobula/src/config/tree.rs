//! A configuration file as a tree that knows on which line each of its parts stands. It says what is
//! in the file, not whether that makes sense.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// A part of the file.
#[derive(Debug)]
pub(super) struct Node {
    /// Counted from 1.
    pub(super) line: u64,
    pub(super) content: Content,
}

/// What a part is.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing: `key:`.
    Nothing,
    /// A single value, as it is written.
    Value(String),
    List(Vec<Node>),
    /// Keys with the lines that they stand on.
    Map(Vec<(String, u64, Node)>),
}

impl Content {
    /// What people call it.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Value(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a section with keys",
        }
    }
}

/// Reads the tree of `text`. What stands in the text is in no error.
pub(super) fn parse(text: &str) -> Result<Node, serde_saphyr::Error> {
    let raw: Spanned<Raw> = serde_saphyr::from_str(text)?;
    Ok(node(raw, text))
}

/// As the parser gives it: values that look like numbers have lost how they were written.
enum Raw {
    Nothing,
    Text(String),
    /// To be read again where it stands.
    Typed,
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let content = match raw.value {
        Raw::Nothing => Content::Nothing,
        Raw::Text(value) => Content::Value(value),
        Raw::Typed => Content::Value(written(raw.defined, text).to_owned()),
        Raw::List(items) => Content::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => {
            let entry = |(key, value): (Spanned<String>, Spanned<Raw>)| {
                (key.value, key.referenced.line(), node(value, text))
            };
            Content::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { line: raw.referenced.line(), content }
}

fn written(place: Location, text: &str) -> &str {
    let span = place.span();
    let begin = span.byte_offset().and_then(|offset| usize::try_from(offset).ok()).unwrap_or(0);
    let length = span.byte_len().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    text.get(begin..begin.saturating_add(length)).unwrap_or_default().trim()
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a section")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(node: &Node, at: &str, found: &mut Vec<String>) {
        match &node.content {
            Content::Nothing => found.push(format!("{}: {at} nothing", node.line)),
            Content::Value(value) => found.push(format!("{}: {at} {value}", node.line)),
            Content::List(items) => items.iter().for_each(|item| leaves(item, at, found)),
            Content::Map(entries) => {
                for (key, _, value) in entries {
                    leaves(value, &format!("{at}.{key}"), found);
                }
            }
        }
    }

    #[test]
    fn every_value_is_as_written_and_knows_its_line() {
        let text = "a: &x 0770\nb:\n  c: true\n  d: [1.50, 'q']\n\n  e:\nf: *x\ng: \"0x10\"\n";
        let mut found = Vec::new();
        leaves(&parse(text).unwrap(), "", &mut found);
        let expected = [
            "1: .a 0770",
            "3: .b.c true",
            "4: .b.d 1.50",
            "4: .b.d q",
            "6: .b.e nothing",
            "7: .f 0770",
            "8: .g 0x10",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_key_knows_its_line() {
        let tree = parse("# first\nlog:\n  level: debug\n").unwrap();
        let Content::Map(entries) = &tree.content else { panic!("{tree:?}") };
        assert_eq!((entries[0].0.as_str(), entries[0].1), ("log", 2));
    }
}
