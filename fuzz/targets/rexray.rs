//! REX-Ray's files (crate `mobula`, `migrate::rexray`): its YAML, a file of variables, and what
//! `docker plugin inspect` printed, parted by lines of `%%`. Whatever is in them becomes a report or an
//! error, and what a report shows is bounded by what was there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mobula::migrate::rexray::{File, Sources, migrate};

/// What variables may put into all values, in bytes.
const REPLACED: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = parts(bytes).into_iter();
    let mut file = |name: &str| {
        let bytes = parts.next().filter(|bytes| !bytes.is_empty())?.to_vec();
        Some(File { name: name.to_owned(), bytes })
    };
    let sources = Sources {
        files: file("rexray.yml").into_iter().collect(),
        environment: file("rexray.env").into_iter().collect(),
        plugins: file("plugins.json").into_iter().collect(),
        process: Vec::new(),
        secrets: "/etc/mobula/secrets".to_owned(),
    };
    let migration = match migrate(&sources) {
        Ok(migration) => migration,
        Err(error) => return assert!(!error.message().is_empty()),
    };
    for row in &migration.rows {
        assert!(!row.key.is_empty() && !row.from.is_empty(), "{row:?}");
    }
    let said: usize = migration.rows.iter().map(|row| row.was.len()).sum();
    // A service has the settings of those around it too: as many times as there are services.
    assert!(said <= REPLACED + bytes.len() * bytes.len().max(64), "{said} bytes");
});

fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(4).position(|window| window == b"\n%%\n") {
        parts.push(&rest[..at]);
        rest = &rest[at + 4..];
    }
    parts.push(rest);
    parts
}
