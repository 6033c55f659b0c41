//! JSON as Go's `json.NewEncoder` writes it, so that a configuration has the digest that dockerd
//! would give it.

use super::Config;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

pub(super) fn document(config: &Config) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Strings, numbers and lists in memory: there is nothing that could fail.
    let written = config.serialize(&mut Serializer::with_formatter(&mut bytes, Go));
    debug_assert!(written.is_ok());
    bytes.push(b'\n');
    bytes
}

/// Go escapes what HTML or JavaScript could mistake.
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let is_special = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some((at, special)) = rest.char_indices().find(|(_, c)| is_special(*c)) {
            write!(writer, "{}\\u{:04x}", &rest[..at], u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}
