//! From the text of a template to text and actions, and from an action to its words.

use super::parse::refused;
use error::Result;
use serde_json::{Number, Value as Json};

/// Text or an action of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    /// Text, its escapes resolved.
    Text(String),
    /// What stands between the braces.
    Action(&'a str),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.`, `.A.B`
    Field(Vec<String>),
    /// `$x.A`
    Variable(String, Vec<String>),
    /// `.A` right after a parenthesis.
    Chain(Vec<String>),
    /// A keyword or function.
    Word(String),
    /// A string, number, boolean or nil.
    Constant(Json),
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `:=` or `=`
    Assign,
    /// `,`
    Comma,
}

impl Token {
    /// How errors call it.
    pub(super) fn shown(&self) -> &'static str {
        match self {
            Self::Pipe => "|",
            Self::Open => "(",
            Self::Close => ")",
            Self::Assign => ":=",
            Self::Comma => ",",
            _ => "a word",
        }
    }
}

/// Separates text from actions; comments are left out, and `{{-` and `-}}` trim the text around.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_start = false;
    while let Some(start) = rest.find("{{") {
        let (before, action) = (&rest[..start], &rest[start + 2..]);
        let length = action_length(action)
            .ok_or_else(|| refused("an action is not closed; }} is missing"))?;
        rest = &action[length + 2..];
        let (inner, trims_before, trims_after) = trimmed(&action[..length]);
        push_text(&mut pieces, before, trim_start, trims_before);
        trim_start = trims_after;
        if !inner.starts_with("/*") {
            pieces.push(Piece::Action(inner));
        }
    }
    push_text(&mut pieces, rest, trim_start, false);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece<'_>>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
    }
}

/// An action without its braces' trim marks, and whether they were there.
fn trimmed(action: &str) -> (&str, bool, bool) {
    let before = action.strip_prefix('-').filter(|rest| rest.starts_with(char::is_whitespace));
    let inner = before.unwrap_or(action);
    let after = inner.strip_suffix('-').filter(|rest| rest.ends_with(char::is_whitespace));
    (after.unwrap_or(inner).trim(), before.is_some(), after.is_some())
}

/// Where the action ends; braces in strings and comments do not end it.
fn action_length(action: &str) -> Option<usize> {
    let start = action.strip_prefix("- ").unwrap_or(action).trim_start();
    if start.starts_with("/*") {
        let end = action.find("*/")?;
        return action[end..].find("}}").map(|more| end + more);
    }
    let mut quote = None;
    let mut characters = action.char_indices();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (Some('"'), '\\') => drop(characters.next()),
            (Some(open), _) if open == c => quote = None,
            (None, '"' | '`') => quote = Some(c),
            (None, '}') if action[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

/// The words of an action.
pub(super) fn tokens(action: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = action;
    while let Some(c) = rest.chars().next() {
        let (token, length) = match c {
            c if c.is_whitespace() => (None, c.len_utf8()),
            '|' => (Some(Token::Pipe), 1),
            '(' => (Some(Token::Open), 1),
            ')' => (Some(Token::Close), 1),
            ',' => (Some(Token::Comma), 1),
            '=' => (Some(Token::Assign), 1),
            ':' if rest.starts_with(":=") => (Some(Token::Assign), 2),
            '"' | '`' => string(rest)?,
            _ => word(rest, follows_parenthesis(action, rest))?,
        };
        tokens.extend(token);
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// Whether a parenthesis closes right before `rest`, the end of `action`.
fn follows_parenthesis(action: &str, rest: &str) -> bool {
    action[..action.len() - rest.len()].ends_with(')')
}

type Read = (Option<Token>, usize);

/// Reads "text" or `text`.
fn string(rest: &str) -> Result<Read> {
    let quote = &rest[..1];
    let mut escaped = false;
    let end = rest[1..].find(|c: char| {
        let ends = !escaped && quote.starts_with(c);
        escaped = !escaped && c == '\\' && quote == "\"";
        ends
    });
    let end = end.ok_or_else(|| refused("a string is not closed"))? + 1;
    let inner = &rest[1..end];
    let text = if quote == "`" { inner.to_owned() } else { unescape(inner)? };
    Ok((Some(Token::Constant(text.into())), end + 1))
}

fn unescape(text: &str) -> Result<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some('t')) => plain.push('\t'),
            ('\\', Some('r')) => plain.push('\r'),
            ('\\', Some(same @ ('"' | '\\' | '\''))) => plain.push(same),
            ('\\', _) => return Err(refused("a string has an unknown escape")),
            _ => plain.push(c),
        }
    }
    Ok(plain)
}

/// Reads a field, variable, number, keyword or function.
fn word(rest: &str, is_chain: bool) -> Result<Read> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '-' | '+');
    let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
    let word = &rest[..length];
    let token = match word.chars().next() {
        Some('.') if is_chain => Token::Chain(fields(word)?),
        Some('.') => Token::Field(fields(word)?),
        Some('$') => {
            let (name, path) = word.split_at(word.find('.').unwrap_or(length));
            Token::Variable(name.to_owned(), fields(path)?)
        }
        Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+') => Token::Constant(number(word)?),
        Some(c) if c.is_alphabetic() => keyword(word),
        _ => {
            let c = rest.chars().next().unwrap_or(' ');
            return Err(refused(&format!("\"{}\" cannot stand there", c.escape_debug())));
        }
    };
    Ok((Some(token), length))
}

fn keyword(word: &str) -> Token {
    match word {
        "true" => Token::Constant(true.into()),
        "false" => Token::Constant(false.into()),
        "nil" => Token::Constant(Json::Null),
        _ => Token::Word(word.to_owned()),
    }
}

/// `.A.B` is A, then B; `.` is nothing.
fn fields(path: &str) -> Result<Vec<String>> {
    let Some(path) = path.strip_prefix('.').filter(|path| !path.is_empty()) else {
        return Ok(Vec::new());
    };
    let is_name = |name: &&str| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    };
    match path.split('.').find(|name| !is_name(name)) {
        Some(_) => Err(refused(&format!("\".{path}\" is no field"))),
        None => Ok(path.split('.').map(str::to_owned).collect()),
    }
}

fn number(word: &str) -> Result<Json> {
    let whole = word.parse::<i64>().map(Json::from).ok();
    let fraction = || word.parse::<f64>().ok().and_then(Number::from_f64).map(Json::from);
    whole.or_else(fraction).ok_or_else(|| refused(&format!("\"{word}\" is no number")))
}
