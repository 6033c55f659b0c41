//! What REX-Ray's YAML reads as, and hostile files that are refused.

use super::*;

fn keys(text: &str) -> Vec<(String, String)> {
    let settings = read("rexray.yml", text.as_bytes()).unwrap();
    settings.into_iter().map(|raw| (raw.key, raw.value.text)).collect()
}

fn refused(bytes: &[u8]) -> String {
    read("rexray.yml", bytes).expect_err("refused").to_string()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn keys_are_dotted_and_lower_case_and_know_their_line() {
    let settings = read("a.yml", b"REXRay:\r\n  LogLevel: warn\r\nebs:\r\n").unwrap();
    assert_eq!(settings.len(), 1, "a section without a value says nothing");
    assert_eq!(settings[0].key, "rexray.loglevel");
    assert_eq!(settings[0].value.text, "warn", "without the carriage return");
    assert_eq!(settings[0].origin.to_string(), "a.yml:2");
}

#[test]
fn lists_anchors_and_merged_sections_are_followed() {
    let text = "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: [p, q]\nf: *x\n";
    let expected = [
        pair("a.b", "1"),
        pair("a.c", "2"),
        pair("d.c", "3"),
        pair("d.b", "1"),
        pair("e", "p,q"),
        pair("f.b", "1"),
        pair("f.c", "2"),
    ];
    assert_eq!(keys(text), expected);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_key() {
    assert_eq!(keys("\u{feff}a: b\n"), [pair("a", "b")]);
}

#[test]
fn a_malformed_file_is_refused_with_its_place_and_without_its_text() {
    for (text, place) in [
        (&b"ebs:\n  accessKey: hunter2\n   secretKey: hunter2\n"[..], "rexray.yml:3:"),
        (b"ebs:\n  accessKey: \"hunter2\n", "rexray.yml:"),
        (b"ebs:\n\taccessKey: hunter2\n", "rexray.yml:2:"),
        (b"ebs:\n  secretKey: a\n  SecretKey: hunter2\n", "rexray.yml:3:3: "),
        (b"ebs: [hunter2, {a: hunter2}]\n", "rexray.yml:1:"),
        (b"ebs: {a: hunter2}\n---\nb: hunter2\n", "rexray.yml:2:"),
        (b"hunter2\n", "rexray.yml:1:1: "),
        (b"- hunter2\n", "rexray.yml:1:1: "),
        (b"? [hunter2]\n: b\n", "rexray.yml:1:"),
        (b"a: *hunter2\n", "rexray.yml:1:4: "),
        (b"a: &hunter2 [*hunter2]\n", "rexray.yml:1:"),
        (b"a: @hunter2\n", "rexray.yml:1:4: "),
        (b"b: 1\na: hunter2 \xe9\n", "rexray.yml:2:12: "),
    ] {
        let error = refused(text);
        assert!(error.starts_with(place), "{place}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn what_is_wrong_says_how_to_mend_it() {
    for (text, way) in [
        (&b"ebs:\n\ta: b\n"[..], "a tab"),
        (b"a: \xe9\n", "iconv -f WINDOWS-1252"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"a: 1\nb: 2\nA: 3\n", "stands in line 1 already"),
    ] {
        let error = refused(text);
        assert!(error.contains(way), "{way}: {error}");
    }
}

/// Each line has the one before it ten times; followed blindly, 10^40 values.
#[test]
fn a_billion_laughs_are_refused_before_they_are_told() {
    let mut text = "a0: &a0 [ha]\n".to_owned();
    for n in 1..40 {
        let before = format!("*a{},", n - 1).repeat(10);
        text += &format!("a{n}: &a{n} [{before}]\n");
    }
    assert!(refused(text.as_bytes()).contains("aliases followed"));
    let wide = format!("a: &a {{b: c}}\nd: [{}]\n", "*a,".repeat(66_000));
    assert!(wide.len() > 190_000);
    assert!(refused(wide.as_bytes()).contains("aliases followed"));
    let deep = format!("{}1{}", "{a: ".repeat(40), "}".repeat(40));
    assert!(refused(deep.as_bytes()).contains("too deep"));
    refused("[".repeat(200_000).as_bytes());
    let merged = format!("{}z: {{{}}}\n", "a: &a {b: c}\n", "<<: *a, ".repeat(30_000));
    assert!(refused(merged.as_bytes()).contains("aliases followed"));
}
