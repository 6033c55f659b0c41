//! The tags of a volume of EBS (crate `volume`, driver `ebs`): whatever somebody wrote into them is
//! read or refused, and what they say is written so that it reads back as the same. The first line
//! is the tag of the file system, the others are those of the record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use volume::VolumeName;
use volume::drivers::ebs::tags;

/// What AWS takes in the values of tags, wherever.
const TAKEN: &str = "+-=._:/@";

fuzz_target!(|text: &str| {
    let (filesystem, record) = text.split_once('\n').unwrap_or((text, ""));
    let mut given = BTreeMap::new();
    if !filesystem.is_empty() {
        given.insert("mobula:filesystem".to_owned(), filesystem.to_owned());
    }
    for (index, part) in record.split('\n').enumerate() {
        let key = if index == 0 { String::new() } else { format!(".{index}") };
        given.insert(format!("mobula:record{key}"), part.to_owned());
    }
    let said = match tags::read(&given) {
        Ok(said) => said.expect("there is a record"),
        Err(error) => return assert!(!error.message().is_empty()),
    };
    let name = VolumeName::parse("pg").expect("a name");
    // What was escaped sparingly may not fit when it is escaped as it should be.
    let Ok(written) = tags::write(&name, &said) else { return };
    for (key, value) in &written {
        assert!(value.len() <= 256, "{key} has {}", value.len());
        let taken = |c: char| c.is_ascii_alphanumeric() || TAKEN.contains(c);
        assert!(value.chars().all(taken), "{key}: {value}");
    }
    let again = tags::read(&written).expect("what was written is read");
    assert_eq!(again.as_ref(), Some(&said));
});
