//! REX-Ray's YAML as a list of dotted keys in lower case, each with its place. An error names file,
//! line and column and never quotes the line: it may hold a secret. Aliases are counted before they
//! are followed, so that a small file cannot become a large tree.

use super::settings::{Origin, Raw, Value};
use error::{Error, Result};
use granit_parser::{ErrorKind, Event, Parser, Span, StrInput};
use std::collections::BTreeMap;
use std::rc::Rc;

/// How many values a file may have, aliases followed. REX-Ray's largest have a few hundred.
const MAX_NODES: u64 = 20_000;
/// How deep sections may lie in each other.
const MAX_DEPTH: usize = 32;
/// How long a dotted key may be, in bytes.
const MAX_KEY: usize = 512;

/// A place in a file; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

/// A part of the file.
struct Node {
    place: Place,
    /// How many nodes it is with everything in it, aliases followed.
    size: u64,
    content: Content,
}

enum Content {
    Null,
    Scalar(String),
    List(Vec<Rc<Node>>),
    Map(Vec<(String, Rc<Node>)>),
}

/// The settings in the file `name` with these contents.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Vec<Raw>> {
    let text = decode(name, bytes)?;
    let mut reader = Reader { name, events: Parser::new_from_str(text), anchors: BTreeMap::new() };
    let mut settings = Vec::new();
    if let Some(root) = reader.document(text)? {
        flatten(name, &root, "", &mut settings)?;
    }
    Ok(settings)
}

fn decode<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Error::invalid_argument(format!(
            "{name} is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"
        )));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        wrong(
            name,
            Place { line, column },
            "a byte that is not UTF-8; if the file is Windows-1252, \
             iconv -f WINDOWS-1252 -t UTF-8 makes it so",
        )
    })
}

fn wrong(name: &str, place: Place, what: &str) -> Error {
    Error::invalid_argument(format!("{name}:{}:{}: {what}", place.line, place.column))
}

fn place_of(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

struct Reader<'a> {
    name: &'a str,
    events: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Rc<Node>>,
}

/// A section or list whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    size: u64,
    what: Unfinished,
}

enum Unfinished {
    List(Vec<Rc<Node>>),
    /// The entries, the lines of their keys, and the key that waits for its value.
    Map(Entries, Option<(String, Place)>),
}

#[derive(Default)]
struct Entries {
    list: Vec<(String, Rc<Node>)>,
    lines: BTreeMap<String, usize>,
    merged: Vec<Rc<Node>>,
}

impl<'a> Reader<'a> {
    fn document(&mut self, text: &str) -> Result<Option<Rc<Node>>> {
        let mut open: Vec<Open> = Vec::new();
        let mut root = None;
        loop {
            let (event, span) = match self.events.next_event() {
                None => return Ok(root),
                Some(Ok(next)) => next,
                Some(Err(error)) => return Err(self.malformed(text, &error)),
            };
            let place = place_of(&span);
            let node = match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(
                        self.wrong(place, "a second document; REX-Ray reads the first only")
                    );
                }
                Event::Scalar(value, style, anchor, _) => {
                    let plain = style == granit_parser::ScalarStyle::Plain;
                    let null = plain && matches!(&*value, "" | "~" | "null" | "Null" | "NULL");
                    let is_key = open.last().is_some_and(Open::wants_key);
                    let content = if null && !is_key {
                        Content::Null
                    } else {
                        Content::Scalar(value.into_owned())
                    };
                    // A long text that is repeated counts as many.
                    let size = 1 + (span.end.index() - span.start.index()) as u64 / 64;
                    self.keep(anchor, Node { place, size, content })
                }
                Event::Alias(anchor) => match self.anchors.get(&anchor) {
                    Some(node) => Rc::clone(node),
                    None => return Err(self.wrong(place, "an alias of something it is part of")),
                },
                Event::SequenceStart(_, anchor, _) => {
                    let what = Unfinished::List(Vec::new());
                    self.open(&mut open, Open { place, anchor, size: 1, what })?;
                    continue;
                }
                Event::MappingStart(_, anchor, _) => {
                    let what = Unfinished::Map(Entries::default(), None);
                    self.open(&mut open, Open { place, anchor, size: 1, what })?;
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                    Some(done) => self.close(done)?,
                    None => continue,
                },
                _ => continue,
            };
            match open.last_mut() {
                None => root = Some(node),
                Some(around) => around.take(self.name, node, place)?,
            }
        }
    }

    fn open(&self, open: &mut Vec<Open>, new: Open) -> Result<()> {
        if open.len() >= MAX_DEPTH {
            return Err(self.wrong(new.place, "sections lie too deep in each other"));
        }
        if open.last().is_some_and(Open::wants_key) {
            return Err(self.wrong(new.place, "a section or list where a key belongs"));
        }
        open.push(new);
        Ok(())
    }

    fn close(&mut self, done: Open) -> Result<Rc<Node>> {
        let content = match done.what {
            Unfinished::List(nodes) => Content::List(nodes),
            Unfinished::Map(entries, _) => Content::Map(entries.finish(self.name)?),
        };
        Ok(self.keep(done.anchor, Node { place: done.place, size: done.size, content }))
    }

    fn keep(&mut self, anchor: usize, node: Node) -> Rc<Node> {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        node
    }

    fn wrong(&self, place: Place, what: &str) -> Error {
        wrong(self.name, place, what)
    }

    /// The library's words, but for those that quote a character of the file.
    fn malformed(&self, text: &str, error: &granit_parser::ScanError) -> Error {
        let place = Place { line: error.marker().line(), column: error.marker().col() + 1 };
        let line = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if line[..indent].contains('\t') {
            return self.wrong(place, "a tab in the indentation; YAML wants blanks");
        }
        match error.kind() {
            ErrorKind::UnexpectedCharacter { .. }
            | ErrorKind::Custom(_)
            | ErrorKind::InputDecoding { .. } => {
                self.wrong(place, "a character that cannot stand there; is a quote missing?")
            }
            _ => self.wrong(place, &error.info()),
        }
    }
}

impl Open {
    fn wants_key(&self) -> bool {
        matches!(&self.what, Unfinished::Map(_, None))
    }

    /// Puts a complete node into this section or list.
    fn take(&mut self, name: &str, node: Rc<Node>, place: Place) -> Result<()> {
        self.size = self.size.saturating_add(node.size);
        if self.size > MAX_NODES {
            return Err(wrong(
                name,
                place,
                &format!(
                    "more than {MAX_NODES} values, aliases followed; that is no configuration"
                ),
            ));
        }
        match &mut self.what {
            Unfinished::List(nodes) => nodes.push(node),
            Unfinished::Map(entries, waiting) => match waiting.take() {
                Some((key, at)) => entries.insert(name, key, at, node)?,
                None => match &node.content {
                    Content::Scalar(key) if key.len() <= MAX_KEY => {
                        *waiting = Some((key.to_ascii_lowercase(), place));
                    }
                    Content::Scalar(_) => return Err(wrong(name, place, "a key that is too long")),
                    _ => return Err(wrong(name, place, "a section or list where a key belongs")),
                },
            },
        }
        Ok(())
    }
}

impl Entries {
    fn insert(&mut self, name: &str, key: String, at: Place, node: Rc<Node>) -> Result<()> {
        if key == "<<" {
            self.merged.push(node);
            return Ok(());
        }
        if let Some(line) = self.lines.insert(key.clone(), at.line) {
            return Err(wrong(
                name,
                at,
                &format!("this key stands in line {line} already; keep the one that is right"),
            ));
        }
        self.list.push((key, node));
        Ok(())
    }

    /// With what `<<` brings in, for keys that are not said here.
    fn finish(mut self, name: &str) -> Result<Vec<(String, Rc<Node>)>> {
        for merged in std::mem::take(&mut self.merged) {
            let sections = match &merged.content {
                Content::List(nodes) => nodes.clone(),
                _ => vec![Rc::clone(&merged)],
            };
            for section in sections {
                let Content::Map(entries) = &section.content else {
                    return Err(wrong(name, section.place, "<< wants a section"));
                };
                for (key, node) in entries {
                    if !self.lines.contains_key(key) {
                        self.lines.insert(key.clone(), node.place.line);
                        self.list.push((key.clone(), Rc::clone(node)));
                    }
                }
            }
        }
        Ok(self.list)
    }
}

/// Appends the values below `node`, whose dotted key is `key`.
fn flatten(name: &str, node: &Node, key: &str, settings: &mut Vec<Raw>) -> Result<()> {
    let value = match &node.content {
        Content::Null => return Ok(()),
        Content::Map(entries) => {
            for (below, node) in entries {
                let key = if key.is_empty() { below.clone() } else { format!("{key}.{below}") };
                if key.len() > MAX_KEY {
                    return Err(wrong(name, node.place, "a key that is too long"));
                }
                flatten(name, node, &key, settings)?;
            }
            return Ok(());
        }
        Content::Scalar(_) | Content::List(_) if key.is_empty() => {
            return Err(wrong(name, node.place, "no section at all; REX-Ray's file has keys"));
        }
        Content::Scalar(text) => Value::single(text.clone()),
        Content::List(nodes) => Value { list: true, ..Value::single(joined(name, nodes)?) },
    };
    let Place { line, column } = node.place;
    let origin = Origin::File { name: name.to_owned(), line, column };
    settings.push(Raw { key: key.to_owned(), value, origin });
    Ok(())
}

fn joined(name: &str, nodes: &[Rc<Node>]) -> Result<String> {
    let word = |node: &Rc<Node>| match &node.content {
        Content::Scalar(text) => Ok(text.clone()),
        Content::Null => Ok(String::new()),
        _ => Err(wrong(name, node.place, "a section or list within a list")),
    };
    Ok(nodes.iter().map(word).collect::<Result<Vec<_>>>()?.join(","))
}

#[cfg(test)]
mod tests;
