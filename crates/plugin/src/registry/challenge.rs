//! `WWW-Authenticate` (RFC 9110, 11.6.1): what a registry wants to see. Pure.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `basic`, `bearer`.
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let is_it = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.parameters.iter().find(is_it).map(|(_, value)| value.as_str())
    }
}

/// The challenges of an answer, in order. What cannot be read ends the list.
pub(super) fn parse(headers: &HeaderMap) -> Vec<Challenge> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(parse_line).collect()
}

fn parse_line(line: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = line.trim_start_matches(is_between);
    while !rest.is_empty() {
        let end = rest.find(|c: char| is_between(c) || c == '=').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        rest = match (after.trim_start().strip_prefix('='), challenges.last_mut()) {
            (Some(value), Some(challenge)) => {
                let (value, after) = take_value(value.trim_start());
                challenge.parameters.push((word.to_owned(), value));
                after
            }
            (Some(_), None) => break,
            (None, _) => {
                let scheme = word.to_ascii_lowercase();
                challenges.push(Challenge { scheme, parameters: Vec::new() });
                after
            }
        }
        .trim_start_matches(is_between);
    }
    challenges
}

fn is_between(c: char) -> bool {
    c == ',' || c.is_ascii_whitespace()
}

fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(is_between).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !is_escaped => return (value, &quoted[at + 1..]),
            '\\' if !is_escaped => is_escaped = true,
            c => {
                value.push(c);
                is_escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges_are_told_apart_from_their_parameters() {
        let line = r#"Basic realm="a, b", Bearer realm="https://t.example/x?y=1",service=reg , scope="repository:a/b:pull,push""#;
        let found = parse_line(line);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].scheme.as_str(), found[0].get("realm")), ("basic", Some("a, b")));
        assert_eq!(found[1].get("Realm"), Some("https://t.example/x?y=1"));
        assert_eq!(found[1].get("service"), Some("reg"));
        assert_eq!(found[1].get("scope"), Some("repository:a/b:pull,push"));
    }

    #[test]
    fn escapes_and_missing_ends_are_borne() {
        assert_eq!(parse_line(r#"bearer realm="a\"b"#)[0].get("realm"), Some("a\"b"));
        assert!(parse_line("=x").is_empty());
        assert_eq!(parse_line("Negotiate").len(), 1);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(line in "\\PC*", shaped in "[a-z=\", \\\\]{0,60}") {
            parse_line(&line);
            parse_line(&shaped);
        }
    }
}
