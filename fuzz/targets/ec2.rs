//! EC2's answers in XML (crate `volume`, `cloud::aws` and the driver `ebs`): read as any kind of
//! answer they are an error or values, and whatever tags a volume has in them, it is described or
//! refused with words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use volume::cloud::aws::answers;
use volume::drivers::ebs::tags;

fuzz_target!(|text: &str| {
    for answer in answers::read(text) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                assert!(error.message().contains("cannot be read"), "{error:?}");
                continue;
            }
        };
        for raw in &answer.volumes {
            match tags::volume(raw) {
                Ok(volume) => {
                    assert_eq!(volume.id.as_str(), raw.id);
                    let name = raw.tag("Name").expect("a volume has a name");
                    assert!(name.ends_with(volume.name.as_str()), "{name:?}: {volume:?}");
                    let size = volume.size.expect("a disk has a size").0;
                    assert!(size.div_ceil(1 << 30) == raw.size || size == u64::MAX, "{raw:?}");
                }
                Err(error) => assert!(error.message().contains(&raw.id), "{error:?}"),
            }
        }
        for raw in &answer.snapshots {
            match tags::snapshot(raw) {
                Ok(None) => {}
                Ok(Some(snapshot)) => {
                    assert_eq!(raw.tag("mobula:snapshot"), Some(snapshot.name.as_str()));
                }
                Err(error) => assert!(!error.message().is_empty()),
            }
        }
    }
    for status in [400, 503] {
        let error = answers::refusal(status, text);
        assert!(error.message().starts_with("AWS refuses DescribeVolumes: "), "{error:?}");
    }
});
