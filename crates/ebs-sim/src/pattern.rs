//! Patterns with `*` (any characters) and `?` (any one), as filters of Describe calls have them; a
//! backslash takes the meaning away. Pure.

/// Whether all of `text` is as `pattern` says. Case matters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?', '\\']) {
        return pattern == text;
    }
    let pattern = parts(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut read) = (0, 0);
    // Where the last star was, and what it has eaten so far: it gives way by one when stuck.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(Part::Any) => {
                star = Some((at, read));
                at += 1;
            }
            Some(part) if part.is(text[read]) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((back, eaten)) = star else { return false };
                star = Some((back, eaten + 1));
                at = back + 1;
                read = eaten + 1;
            }
        }
    }
    pattern[at..].iter().all(|part| matches!(part, Part::Any))
}

enum Part {
    Any,
    One,
    Just(char),
}

impl Part {
    fn is(&self, c: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Just(wanted) => *wanted == c,
        }
    }
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut chars = pattern.chars();
    let mut parts = Vec::new();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Just(chars.next().unwrap_or('\\')),
            other => Part::Just(other),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, text) in [
            ("*", ""),
            ("a*c", "abbbc"),
            ("*b*b*", "abab"),
            ("a?c", "abc"),
            ("vol-*", "vol-1"),
            ("\\*", "*"),
            ("a*b?c", "axxbbyc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a?c", "ac"), ("\\*", "a"), ("A", "a"), ("a*b", "abc")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
