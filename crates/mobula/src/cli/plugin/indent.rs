//! JSON on several lines, its keys in the order in which the engine wrote them.

use std::iter::repeat_n;

const STEP: usize = 4;

/// `json` indented by four spaces, as docker shows it. What is within strings stays as it is.
pub(super) fn indent(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut rest = json.trim().chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                text.push(c);
                copy_string(&mut rest, &mut text);
            }
            '{' | '[' => {
                text.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => text.push(end),
                    None => {
                        depth += 1;
                        break_line(&mut text, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                break_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => text.push(c),
        }
    }
    text
}

fn copy_string(rest: &mut impl Iterator<Item = char>, text: &mut String) {
    while let Some(c) = rest.next() {
        text.push(c);
        match c {
            '"' => return,
            '\\' => text.extend(rest.next()),
            _ => {}
        }
    }
}

fn break_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(repeat_n(' ', depth * STEP));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_docker_shows() {
        let json = r#"[{"b":[],"a": { },"c":["x,{\"y",1],"d":null}]"#;
        let expected = "\
[
    {
        \"b\": [],
        \"a\": {},
        \"c\": [
            \"x,{\\\"y\",
            1
        ],
        \"d\": null
    }
]";
        assert_eq!(indent(json), expected);
        assert_eq!(indent("[]"), "[]");
    }
}
