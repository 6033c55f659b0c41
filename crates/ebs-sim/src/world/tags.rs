//! Tags, and what may be one
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Tag.html>). Pure.

use crate::refusal::{Answered, Refusal};
use std::collections::BTreeMap;

/// Tags of one thing.
pub(crate) type Tags = BTreeMap<String, String>;

const MOST: usize = 50;
const LONGEST_KEY: usize = 127;
const LONGEST_VALUE: usize = 256;

/// Whether these may be tags.
pub(crate) fn check(tags: &Tags) -> Answered<()> {
    for (key, value) in tags {
        if key.is_empty() {
            return Err(Refusal::value("Tag key cannot be empty"));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Refusal::value(format!(
                "Tag keys starting with 'aws:' are reserved for internal use: '{key}'"
            )));
        }
        if key.chars().count() > LONGEST_KEY {
            return Err(Refusal::value(format!(
                "Tag key exceeds the maximum length of {LONGEST_KEY} characters: '{key}'"
            )));
        }
        if value.chars().count() > LONGEST_VALUE {
            return Err(Refusal::value(format!(
                "Tag value exceeds the maximum length of {LONGEST_VALUE} characters: '{value}'"
            )));
        }
    }
    check_count(tags)
}

fn check_count(tags: &Tags) -> Answered<()> {
    if tags.len() > MOST {
        return Err(Refusal::client(
            "TagLimitExceeded",
            format!("More than {MOST} tags specified"),
        ));
    }
    Ok(())
}

/// `tags` with `added` among them.
pub(crate) fn merged(tags: &Tags, added: &Tags) -> Answered<Tags> {
    let mut all = tags.clone();
    all.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
    check_count(&all)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Tags {
        Tags::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn what_is_too_long_or_reserved_is_no_tag() {
        check(&one(&"k".repeat(127), &"ä".repeat(256))).unwrap();
        check(&one("k", "")).unwrap();
        for wrong in [one("", "v"), one(&"k".repeat(128), ""), one("k", &"v".repeat(257))] {
            assert_eq!(check(&wrong).unwrap_err().code, "InvalidParameterValue");
        }
        assert_eq!(check(&one("AWS:x", "v")).unwrap_err().code, "InvalidParameterValue");
    }

    #[test]
    fn fifty_tags_are_the_most() {
        let tags: Tags = (0..50).map(|n| (n.to_string(), String::new())).collect();
        check(&tags).unwrap();
        merged(&tags, &one("7", "other")).unwrap();
        assert_eq!(merged(&tags, &one("x", "")).unwrap_err().code, "TagLimitExceeded");
    }
}
