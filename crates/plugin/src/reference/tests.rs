//! References against the rules and examples of distribution/reference.

use super::*;
use proptest::prelude::*;

fn hex(digit: &str) -> String {
    digit.repeat(64)
}

#[test]
fn references_are_normalised() {
    let cases = [
        ("sshfs", "docker.io/library/sshfs"),
        ("vieux/sshfs", "docker.io/vieux/sshfs"),
        ("vieux/sshfs:next", "docker.io/vieux/sshfs:next"),
        ("docker.io/sshfs", "docker.io/library/sshfs"),
        ("index.docker.io/vieux/sshfs", "docker.io/vieux/sshfs"),
        ("index.docker.io/sshfs:1", "docker.io/library/sshfs:1"),
        ("localhost/a", "localhost/a"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("127.0.0.1:5977/me/probe:v1", "127.0.0.1:5977/me/probe:v1"),
        ("[::1]:5000/a", "[::1]:5000/a"),
        ("[2001:db8::1]/a", "[2001:db8::1]/a"),
        ("Host/a", "Host/a"),
        ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
        ("a/b/c/d", "docker.io/a/b/c/d"),
        ("xn--7o8h.com/a--b/c__d.e", "xn--7o8h.com/a--b/c__d.e"),
    ];
    for (given, full) in cases {
        assert_eq!(Reference::parse(given).unwrap().full(), full, "{given}");
    }
}

#[test]
fn what_the_grammar_does_not_have_is_refused() {
    let (digits, long_path, long_tag) =
        (hex("a"), "a".repeat(256), format!("a:{}", "t".repeat(129)));
    let short = format!("a@sha256:{}", "a".repeat(63));
    let cases = [
        "",
        ":",
        "/",
        "@",
        "a:",
        "a/",
        "/a",
        "a//b",
        "A",
        "a/B",
        "a:t:t",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a b",
        "a:.x",
        "a:-x",
        "aé",
        "host:0/a",
        "host:99999/a",
        "host:x/a",
        "host:/a",
        "[::1/a",
        "[gg]/a",
        "[::1]5000/a",
        "-host.com/a",
        "a.com-/a",
        "http://a.com/b",
        "a.com/",
        "a@",
        "a@sha256:",
        "a@md5:d41d8cd98f00b204e9800998ecf8427e",
        "..",
        "../a",
        "a/../b",
        "a\n",
        "a\0",
        &digits,
        &long_path,
        &long_tag,
        &short,
    ];
    for given in cases {
        let error = Reference::parse(given).expect_err(given);
        assert_eq!(error.kind(), error::Kind::InvalidArgument, "{given}");
    }
}

#[test]
fn a_digest_never_becomes_part_of_the_local_name() {
    let digest = hex("1");
    let cases = [
        ("me/probe".to_owned(), "me/probe:latest"),
        ("probe:v2".to_owned(), "probe:v2"),
        (format!("me/probe@sha256:{digest}"), "me/probe:latest"),
        (format!("host:5000/me/probe:v1@sha256:{digest}"), "host:5000/me/probe:v1"),
    ];
    for (given, local) in cases {
        assert_eq!(Reference::parse(&given).unwrap().local_name(), local);
    }
}

#[test]
fn latest_is_filled_in_only_where_nothing_is_said() {
    let digest = format!("a@sha256:{}", hex("2"));
    assert_eq!(Reference::parse("a").unwrap().or_latest().familiar(), "a:latest");
    assert_eq!(Reference::parse("a:b").unwrap().or_latest().familiar(), "a:b");
    assert_eq!(Reference::parse(&digest).unwrap().or_latest().familiar(), digest);
}

#[test]
fn a_familiar_name_that_would_be_read_otherwise_stays_in_full() {
    for given in ["docker.io/a.b/c:1".to_owned(), format!("docker.io/{}", hex("a"))] {
        let read = Reference::parse(&given).unwrap();
        assert_eq!(Reference::parse(&read.familiar()).unwrap(), read);
    }
}

proptest! {
    #[test]
    fn whatever_is_read_is_read_back_from_each_of_its_forms(
        domain in "(|docker\\.io/|index\\.docker\\.io/|localhost/|Host/|[a-z]{1,4}\\.[a-z]{2}(:[1-9][0-9]{0,3})?/|\\[::1\\]/)",
        path in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9.]{0,3}[a-z0-9]){0,3}",
        tag in "(|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,12})",
        digest in "(|@sha256:[0-9a-f]{64})",
    ) {
        if let Ok(read) = Reference::parse(&format!("{domain}{path}{tag}{digest}")) {
            prop_assert_eq!(Reference::parse(&read.full()).unwrap(), read.clone());
            prop_assert_eq!(Reference::parse(&read.familiar()).unwrap(), read.clone());
            let local = Reference::parse(&read.local_name()).unwrap();
            prop_assert_eq!(local.path, read.path);
            prop_assert!(local.digest.is_none());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", shaped in "[a-zA-Z0-9:/@._\\[\\]-]{0,80}") {
        let _ = Reference::parse(&text);
        let _ = Reference::parse(&shaped);
    }
}
