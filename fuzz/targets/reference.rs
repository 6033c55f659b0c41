//! References as people type them (crate `plugin`, `reference`): every form that is written of one
//! reads back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plugin::reference::Reference;

fuzz_target!(|text: &str| {
    let Ok(reference) = Reference::parse(text) else { return };
    for written in [reference.full(), reference.familiar(), reference.to_string()] {
        let read = Reference::parse(&written).expect("what is written can be read");
        assert_eq!(read, reference, "{written}");
    }
    let local = Reference::parse(&reference.local_name()).expect("the local name can be read");
    assert_eq!((&local.domain, &local.path), (&reference.domain, &reference.path));
    assert_eq!(local.tag.as_deref(), Some(reference.tag.as_deref().unwrap_or("latest")));
    assert_eq!(local.digest, None);
    assert_eq!(local.local_name(), reference.local_name());
    let complete = reference.clone().or_latest();
    assert!(complete.tag.is_some() || complete.digest.is_some());
    assert_eq!(complete.clone().or_latest(), complete);
    assert!(!reference.path.split('/').any(|part| matches!(part, "" | "." | "..")));
});
