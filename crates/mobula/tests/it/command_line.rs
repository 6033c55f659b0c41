//! The command line, with an agent and without one: the same answers, the same exit codes.

use crate::fixture::{Home, is_root};
use serde_json::Value;

const LOOP: &str = "services: {mobula: {driver: loop, volume: {size: 16MiB}}}\n";

/// Runs `test` on a home without an agent, and on one with.
fn both(test: impl Fn(&Home)) {
    if !is_root() {
        return;
    }
    let home = Home::with(LOOP);
    test(&home);
    home.assert_clean();
    let home = Home::with(LOOP);
    let agent = home.start();
    test(&home);
    home.assert_clean();
    agent.stop();
}

#[test]
fn a_volume_lives_through_all_verbs() {
    both(|home| {
        assert_eq!(home.fails(&["volume", "exists", "db"]).0, 3);
        assert_eq!(home.ok(&["volume", "create", "db", "--label", "team=blue"]), "db");
        home.ok(&["volume", "exists", "db"]);
        let target = home.ok(&["volume", "mount", "db"]);
        assert_eq!(target, home.target("db").display().to_string());
        std::fs::write(home.target("db").join("kept"), "data").unwrap();
        assert_eq!(home.ok(&["volume", "path", "db"]), target);
        assert_eq!(home.fails(&["volume", "rm", "db"]).0, 4, "it is mounted");
        assert_eq!(home.fails(&["volume", "mount", "db"]).0, 4, "it is mounted already");
        home.ok(&["volume", "mount", "db", "-i"]);
        home.ok(&["volume", "unmount", "db"]);
        assert_eq!(home.fails(&["volume", "path", "db"]).0, 4);
        home.ok(&["volume", "expand", "db", "32MiB"]);
        let shown: Value = serde_json::from_str(&home.ok(&["volume", "inspect", "db"])).unwrap();
        assert_eq!(shown[0]["size"], 32 << 20);
        assert_eq!(shown[0]["labels"]["team"], "blue");
        home.ok(&["volume", "attach", "db"]);
        assert_eq!(home.loops().len(), 1);
        assert_eq!(home.fails(&["volume", "rm", "db"]).0, 4, "it is attached");
        home.ok(&["volume", "detach", "db"]);
        home.ok(&["volume", "clone", "db", "copy"]);
        home.ok(&["snapshot", "create", "db", "monday"]);
        assert!(home.ok(&["snapshot", "ls"]).contains("monday"));
        home.ok(&["snapshot", "restore", "monday", "old"]);
        assert_eq!(home.ok(&["volume", "ls", "-q"]), "copy\ndb\nold");
        home.ok(&["volume", "mount", "copy", "old"]);
        for name in ["copy", "old"] {
            assert_eq!(std::fs::read_to_string(home.target(name).join("kept")).unwrap(), "data");
        }
        home.ok(&["volume", "unmount", "copy", "old"]);
        home.ok(&["snapshot", "rm", "monday"]);
        home.ok(&["volume", "rm", "copy", "db", "old"]);
        assert_eq!(home.ok(&["volume", "ls", "-q"]), "");
    });
}

#[test]
fn exit_codes_are_the_documented_ones() {
    both(|home| {
        home.ok(&["volume", "create", "a"]);
        for (args, code) in [
            (&["volume", "create", "a/b"][..], 2),
            (&["volume", "create", "x", "-o", "sise=1"], 2),
            (&["volume", "nonsense"], 2),
            (&["volume", "expand", "a", "8MiB"], 2),
            (&["volume", "inspect", "nosuch"], 3),
            (&["snapshot", "restore", "nosuch", "b"], 3),
            (&["volume", "create", "a", "-o", "size=64MiB"], 4),
            (&["volume", "unmount", "a"], 4),
        ] {
            let (exit, said) = home.fails(args);
            assert_eq!(exit, code, "{args:?}: {said}");
            assert!(!said.trim().is_empty(), "{args:?} says why");
        }
        home.ok(&["volume", "rm", "a"]);
    });
}

#[test]
fn rexrays_verbs_and_selection_work() {
    both(|home| {
        home.ok(&["volume", "new", "data-one", "data-two", "other", "--size", "16MiB"]);
        assert_eq!(home.ok(&["volume", "get", "-q", "/^data/"]), "data-one\ndata-two");
        assert_eq!(home.ok(&["volume", "list", "-q", "OTHER"]), "other");
        home.ok(&["volume", "m", "oth"]);
        assert!(home.is_mounted("other"));
        home.ok(&["volume", "umount", "oth"]);
        assert_eq!(home.fails(&["volume", "remove", "oth"]).0, 3, "never by a part of its name");
        assert_eq!(home.fails(&["volume", "m", "data"]).0, 2, "more than one matches");
        let dry = home.ok(&["volume", "rm", "-n", "other"]);
        assert!(dry.contains("other"), "{dry}");
        let (code, said) =
            home.fails(&["volume", "del", "--continueOnError", "nosuch", "other", "data-one"]);
        assert_eq!(code, 3, "{said}");
        assert_eq!(home.ok(&["volume", "ls", "-q"]), "data-two");
        home.ok(&["volume", "r", "data-two"]);
        assert!(home.ok(&["adapter", "types"]).contains("loop"));
    });
}

#[test]
fn output_can_be_json_or_a_template() {
    both(|home| {
        home.ok(&["volume", "create", "a"]);
        let rows: Value = serde_json::from_str(&home.ok(&["volume", "ls", "-f", "json"])).unwrap();
        assert_eq!(rows[0]["name"], "a");
        let line = home.ok(&["volume", "ls", "--format", "{{.Name}}={{.Size}} {{.Status}}"]);
        assert_eq!(line, "a=16MiB available");
        let (code, said) = home.fails(&["volume", "ls", "--format", "{{.Nonsense}}"]);
        assert!(code == 2 && said.contains("Name"), "{code} {said}");
        let output = home.run(&["volume", "inspect", "nosuch", "--format", "json"]);
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(error["error"]["kind"], "not_found");
        home.ok(&["volume", "rm", "a"]);
    });
}

#[test]
fn the_mounts_tree_shows_volumes_and_what_is_not_shared() {
    both(|home| {
        home.ok(&["volume", "create", "a"]);
        home.ok(&["volume", "mount", "a"]);
        let tree = home.ok(&["mounts"]);
        assert!(tree.contains("mobula/a") && tree.contains("shared"), "{tree}");
        assert!(!tree.contains("NOT SHARED"), "{tree}");
        let root = home.path("run/mobula/mounts");
        let root = root.to_str().unwrap();
        let status = std::process::Command::new("mount").args(["--make-private", root]).status();
        assert!(status.unwrap().success());
        let tree = home.ok(&["mounts"]);
        assert!(tree.contains("NOT SHARED") && !tree.contains('\u{1b}'), "{tree}");
        let coloured = home.ok(&["mounts", "--color", "always"]);
        assert!(coloured.contains("\u{1b}["), "{coloured}");
        let status = std::process::Command::new("mount").args(["--make-shared", root]).status();
        assert!(status.unwrap().success());
        let rows: Value = serde_json::from_str(&home.ok(&["mounts", "--json"])).unwrap();
        assert!(
            rows.to_string().contains("mobula/a") || rows.to_string().contains("\"a\""),
            "{rows}"
        );
        home.ok(&["volume", "unmount", "a"]);
        home.ok(&["volume", "rm", "a"]);
    });
}

#[test]
fn names_of_volumes_are_completed_in_bash() {
    both(|home| {
        home.ok(&["volume", "create", "pgdata", "pgwal", "other"]);
        let script = home.path("completion.bash");
        std::fs::write(&script, home.ok(&["completion", "bash"])).unwrap();
        let dir = std::path::Path::new(env!("CARGO_BIN_EXE_mobula")).parent().unwrap();
        let output = std::process::Command::new("bash")
            .env("MOBULA_HOME", home.dir())
            .env("PATH", format!("{}:{}", dir.display(), std::env::var("PATH").unwrap()))
            .arg("-c")
            .arg(
                "source \"$0\"; f=$(complete -p mobula | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); \
                 COMP_WORDS=(mobula volume rm pg); COMP_CWORD=3; COMP_LINE='mobula volume rm pg'; \
                 COMP_POINT=${#COMP_LINE}; $f mobula pg rm; printf '%s\\n' \"${COMPREPLY[@]}\"",
            )
            .arg(&script)
            .output()
            .unwrap();
        let completed = String::from_utf8(output.stdout).unwrap();
        let mut words: Vec<_> = completed.split_whitespace().collect();
        words.sort_unstable();
        assert_eq!(words, ["pgdata", "pgwal"], "{}", String::from_utf8_lossy(&output.stderr));
        home.ok(&["volume", "rm", "pgdata", "pgwal", "other"]);
    });
}

/// Nobody can be asked at that address: the volume may well be there.
#[test]
fn what_could_not_be_looked_for_is_neither_missing_nor_removed_already() {
    if !is_root() {
        return;
    }
    let home = Home::with(
        "services: {mobula: {driver: local}, cloud: {driver: ebs, options: {simulator: \
         'http://127.0.0.1:1'}}}\n",
    );
    home.ok(&["volume", "create", "here", "-s", "mobula"]);
    for words in [&["volume", "rm", "pg", "--idempotent"][..], &["volume", "unmount", "pg"]] {
        let (code, said) = home.fails(words);
        assert!(code == 1 && said.contains("not every service could be asked"), "{code} {said}");
    }
    assert_eq!(home.fails(&["volume", "unmount", "pg", "-s", "mobula"]).0, 3);
    home.ok(&["volume", "rm", "here", "-s", "mobula"]);
}
