//! A plugin's `config.json` (crate `plugin`, `config`): what is read is written so that it reads
//! back as the same, and what passes the check leads nowhere outside the plugin.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugin::config::Config;
use plugin::privileges;
use std::path::{Component, Path};

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = Config::decode(bytes) else { return };
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).expect("what is read is JSON");
    let written = config.encode();
    serde_json::from_slice::<serde_json::Value>(&written).expect("what is written is JSON");
    assert!(!written.iter().any(|byte| b"<>&".contains(byte)), "Go escapes these");
    let read = Config::decode(&written).expect("what is written can be read");
    assert_eq!(read.encode(), written);
    assert_eq!(read, config);
    assert_eq!(read.check().is_ok(), config.check().is_ok());
    if config.check().is_ok() {
        assert_inside(&config);
    }
    let required = privileges::required(&config);
    privileges::check(&required, &required).expect("all that is asked for was granted");
    assert!(privileges::added(&required, &required).is_empty());
});

fn assert_inside(config: &Config) {
    assert!(!config.interface.socket.contains('/'));
    let paths = config.mounts.iter().map(|mount| &mount.destination);
    for path in paths.chain([&config.work_dir, &config.propagated_mount]) {
        assert!(path.is_empty() || path.starts_with('/'), "{path}");
        assert!(!Path::new(path).components().any(|part| part == Component::ParentDir), "{path}");
    }
}
