//! Manifests that are fine, foreign and hostile.

use super::*;
use proptest::prelude::*;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn descriptor(media_type: &str, size: u64, more: &str) -> String {
    let digest = Digest::of(media_type.as_bytes());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}{more}}}"#)
}

fn manifest_of(config: &str, layers: &[String]) -> Vec<u8> {
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","))
        .into_bytes()
}

fn with_layers(layers: &[String]) -> Result<Parsed> {
    parse(&manifest_of(&descriptor(config::MEDIA_TYPE, 2, ""), layers), OCI_MANIFEST, "me/probe:v1")
}

fn refusal(outcome: Result<Parsed>) -> String {
    outcome.expect_err("refused").to_string()
}

#[test]
fn every_packing_of_layers_is_known() {
    for kind in
        ["application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"]
    {
        let dot = if kind.contains("docker") { '.' } else { '+' };
        for packing in [String::new(), format!("{dot}gzip"), format!("{dot}zstd")] {
            let parsed = with_layers(&[descriptor(&format!("{kind}{packing}"), 9, "")]).unwrap();
            assert!(matches!(parsed, Parsed::Plugin(plugin) if plugin.layers.len() == 1));
        }
    }
}

#[test]
fn foreign_and_unknown_layers_are_refused() {
    let foreign = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 9, "");
    let elsewhere = descriptor(LAYER, 9, r#","urls":["https://elsewhere.example/x"]"#);
    let unknown = descriptor("application/vnd.oci.image.layer.v1.tar+xz", 9, "");
    for layer in [foreign, elsewhere, unknown] {
        assert!(refusal(with_layers(&[layer])).contains("cannot be unpacked"));
    }
    assert!(with_layers(&[descriptor(LAYER, 9, r#","urls":[]"#)]).is_ok());
}

#[test]
fn no_layer_and_ten_thousand_layers_are_refused() {
    let layer = descriptor(LAYER, 9, "");
    assert!(refusal(with_layers(&[])).contains("0 layers"));
    assert!(refusal(with_layers(&vec![layer.clone(); 10_000])).contains("10000 layers"));
    assert!(with_layers(&vec![layer; 1000]).is_ok());
}

#[test]
fn images_and_schema_1_are_refused_in_dockerds_words() {
    let image = descriptor("application/vnd.oci.image.config.v1+json", 2, "");
    let image = manifest_of(&image, &[descriptor(LAYER, 9, "")]);
    let old =
        br#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"history":[],"signatures":[]}"#;
    for bytes in [&image[..], old, b"", b"[]", b"{}", b"<html>", br#"{"schemaVersion":2}"#] {
        let words = refusal(parse(bytes, "application/json", "me/probe:v1"));
        let expected = "did not find plugin config for specified reference me/probe:v1";
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let config = descriptor(config::MEDIA_TYPE, 2, "");
    let layers = descriptor(LAYER, 9, "");
    let both =
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}],"manifests":[]}}"#);
    assert!(parse(both.as_bytes(), "", "x").is_err());
    let disguised = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","config":{config},"layers":[{layers}]}}"#
    );
    assert!(parse(disguised.as_bytes(), OCI_MANIFEST, "x").is_err());
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#);
    assert!(parse(index.as_bytes(), "", "x").is_err());
}

#[test]
fn a_huge_configuration_is_refused_before_it_is_fetched() {
    let config = descriptor(config::MEDIA_TYPE, LARGEST_CONFIG + 1, "");
    let bytes = manifest_of(&config, &[descriptor(LAYER, 9, "")]);
    assert!(refusal(parse(&bytes, OCI_MANIFEST, "x")).contains("configuration of more than"));
}

fn entry(platform: &str) -> Entry {
    let text = descriptor(OCI_MANIFEST, platform.len() as u64, platform);
    serde_json::from_str(&text).unwrap()
}

fn platform(os: &str, architecture: &str, variant: &str) -> String {
    format!(r#","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#)
}

#[test]
fn an_index_of_many_machines_is_not_told_at_length() {
    let others: Vec<_> =
        (0..500).map(|n| entry(&platform("linux", &format!("cpu{n}"), ""))).collect();
    let error = choose(&others, "me/probe").unwrap_err();
    assert!(error.message().ends_with("linux/cpu9, others"), "{error}");
}

#[test]
fn the_entry_of_this_machine_is_chosen() {
    let own = architecture();
    let others = [
        platform("windows", own, ""),
        platform("linux", "s390x", ""),
        platform("linux", own, "v99"),
    ];
    let mut entries: Vec<_> = others.iter().map(|text| entry(text)).collect();
    let error = choose(&entries, "me/probe").unwrap_err();
    assert_eq!(error.kind(), error::Kind::NotFound);
    assert!(error.message().contains("linux/s390x"), "{error}");
    entries.push(entry(""));
    assert!(choose(&entries, "me/probe").unwrap().platform.is_none());
    entries.push(entry(&platform("linux", own, "")));
    assert_eq!(choose(&entries, "me/probe").unwrap(), entries.last().unwrap());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in "[\\[\\]{}:,\"a-zA-Z0-9]{0,200}") {
        let _ = parse(text.as_bytes(), "", "x");
    }
}
