//! What people see of plugins: events, processes, output, mounts, and what is asked and refused.

use super::bed::{Bed, Kind, said};
use super::image::{probe, skeleton};
use super::{on_both, on_ours};
use crate::engine::fixture::kill;
use crate::fixture::{PATIENCE, eventually};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

on_both!(what_happens_to_a_plugin_is_an_event, only_volumes_that_nobody_named_or_uses_are_pruned,);

mod alone {
    use super::*;

    on_ours!(
        the_death_and_return_of_a_plugin_are_events,
        processes_and_commands_are_those_of_the_plugin,
        output_is_followed_while_it_is_written,
        mounts_of_a_plugin_are_shown_as_its_own_and_shared,
        an_upgrade_asks_only_for_what_is_new,
        a_volume_in_use_is_not_removed,
    );
}

/// The plugin events so far, oldest first.
fn events(bed: &Bed) -> Vec<String> {
    let now = jiff::Timestamp::now().as_second() + 1;
    let format = "{{.Action}}/{{.Actor.Attributes.name}}";
    let said =
        bed.ok(&format!("events --since 1 --until {now} --filter type=plugin --format {format}"));
    said.lines().map(str::to_owned).collect()
}

fn what_happens_to_a_plugin_is_an_event(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    let next = bed.publish("me/probe:v2", &probe().and_file("v2", "yes"));
    bed.install(&name, "--disable");
    bed.ok(&format!("plugin enable {name}"));
    bed.ok(&format!("plugin disable {name}"));
    bed.ok(&format!("plugin upgrade --grant-all-permissions --skip-remote-check {name} {next}"));
    bed.ok(&format!("plugin enable {name}"));
    bed.ok(&format!("plugin disable {name}"));
    bed.ok(&format!("plugin rm {name}"));
    let seen = events(&bed);
    // dockerd calls both by the same word.
    let upgrade = if bed.is_ours() { "upgrade" } else { "pull" };
    let expected = ["pull", "enable", "disable", upgrade, "enable", "disable", "remove"];
    let actions: Vec<_> = seen.iter().filter_map(|event| event.split_once('/')).collect();
    assert_eq!(actions.iter().map(|(action, _)| *action).collect::<Vec<_>>(), expected, "{seen:?}");
    assert!(actions.iter().all(|(_, of)| *of == name), "{seen:?}");
}

/// The output of a program that goes on; it ends when this is dropped.
struct Followed {
    child: Child,
    lines: Receiver<String>,
}

impl Followed {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// The next line with this in it.
    fn find(&self, part: &str) -> String {
        std::iter::repeat_with(|| self.next()).find(|line| line.contains(part)).unwrap()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn the_death_and_return_of_a_plugin_are_events(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let mut command = bed.docker("events --since 1 --filter event=die --filter event=restart");
    let format = "{{.Action}} of {{.Actor.Attributes.name}}, {{.Actor.Attributes.exitCode}}";
    let live = Followed::start(command.args(["--format", format]));
    for end in ["-KILL", "-TERM"] {
        let old = bed.pid("probe").unwrap();
        kill(end, old.try_into().unwrap());
        eventually("it is back", PATIENCE, || bed.pid("probe").is_some_and(|pid| pid != old));
        let code = if end == "-KILL" { "" } else { "0" };
        assert_eq!(live.next(), format!("die of probe:latest, {code}"));
        assert_eq!(live.next(), "restart of probe:latest, <no value>");
    }
    let expected = ["create", "enable", "die", "restart", "die", "restart"];
    assert_eq!(events(&bed), expected.map(|action| format!("{action}/probe:latest")));
    // What is asked for is no death.
    bed.ok("plugin disable probe");
    assert_eq!(events(&bed).last().unwrap(), "disable/probe:latest");
}

fn processes_and_commands_are_those_of_the_plugin(kind: Kind) {
    let bed = Bed::start(kind);
    let dir = skeleton(&bed.home, "new");
    bed.ok(&format!("plugin create new {}", dir.display()));
    let (_, refused) = bed.home.fails(&["plugin", "top", "new"]);
    assert!(refused.contains("does not run"), "{refused}");
    bed.ok("plugin enable new");
    let top = bed.home.ok(&["plugin", "top", "new"]);
    let pid = bed.state_of("new")["pid"].to_string();
    let line = top.lines().find(|line| line.starts_with(&pid)).unwrap_or_else(|| panic!("{top}"));
    assert!(line.ends_with("/bin/mobula __sample"), "{top}");
    assert_eq!(top.lines().count(), 2, "{top}");
    let exec =
        |words: &[&str]| bed.home.run(&[&["plugin", "exec", "new", "/bin/mobula"], words].concat());
    let output = exec(&["--version"]);
    assert!(output.status.success() && said(&output).contains("mobula "), "{output:?}");
    let output = exec(&["no-such-verb"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("no-such-verb"), "{output:?}");
    let output = bed.home.run(&["plugin", "exec", "new", "/no/such/program"]);
    assert!(!output.status.success() && said(&output).contains("/no/such/program"), "{output:?}");
}

fn output_is_followed_while_it_is_written(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let words = ["plugin", "logs", "--follow", "--tail", "1", "probe"];
    let logs = Followed::start(&mut bed.home.command(&words));
    // The probe says what it is asked.
    assert_eq!(logs.next(), "listening");
    for name in ["one", "two"] {
        bed.ask("probe", &format!("/file/{name}"));
        assert_eq!(logs.find("/file/").trim_end(), format!("GET /file/{name}"));
    }
    // It goes on over a restart.
    bed.ok("plugin disable probe");
    logs.find("told to end");
    bed.ok("plugin enable probe");
    logs.find("listening");
}

/// What `mobula mounts` shows of plugins: target, plugin, whether it is shared.
fn mounts(bed: &Bed) -> Vec<(PathBuf, bool)> {
    let shown: Value = serde_json::from_str(&bed.home.ok(&["mounts", "--json"])).unwrap();
    let mounts = shown["mounts"].as_array().unwrap().iter();
    let of_plugin = mounts.filter(|mount| mount["plugin"] == "probe:latest");
    of_plugin
        .map(|mount| (mount["target"].as_str().unwrap().into(), mount["shared"].as_bool().unwrap()))
        .collect()
}

fn mounts_of_a_plugin_are_shown_as_its_own_and_shared(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    let root = bed.propagated("probe");
    assert_eq!(mounts(&bed), [(root.clone(), true)]);
    bed.call("probe", "Create", &json!({ "Name": "v", "Opts": { "fs": "tmpfs" } }));
    bed.call("probe", "Mount", &json!({ "Name": "v", "ID": "a" }));
    assert_eq!(mounts(&bed), [(root.clone(), true), (root.join("mounts/v"), true)]);
    let tree = bed.home.ok(&["mounts"]);
    assert!(tree.lines().next().unwrap().ends_with("PLUGIN"), "{tree}");
    assert!(!tree.contains("NOT SHARED"), "{tree}");
    let line = tree.lines().find(|line| line.contains("mounts/v")).unwrap();
    assert!(line.contains("tmpfs") && line.ends_with("probe:latest"), "{tree}");
    bed.call("probe", "Unmount", &json!({ "Name": "v", "ID": "a" }));
    assert_eq!(mounts(&bed), [(root, true)]);
    bed.ok("plugin disable probe");
    assert!(!bed.home.ok(&["mounts"]).contains("NOT SHARED"));
}

fn an_upgrade_asks_only_for_what_is_new(kind: Kind) {
    let bed = Bed::start(kind);
    let name = bed.publish("me/probe:v1", &probe());
    let next = bed.publish("me/probe:v2", &probe().with("pidHost", json!(true)));
    let same = bed.publish("me/probe:v3", &probe().with("pidHost", json!(true)).and_file("v3", ""));
    let (_, asked) = bed.home.fails(&["plugin", "install", &name]);
    assert!(asked.contains("CAP_SYS_ADMIN"), "{asked}");
    bed.install(&name, "--disable");
    let upgrade = |to: &str, more: &[&str]| {
        bed.home.run(&[&["plugin", "upgrade", "--skip-remote-check", &name, to], more].concat())
    };
    let output = upgrade(&next, &[]);
    let asked = said(&output);
    assert!(!output.status.success() && asked.contains("host pid namespace: [true]"), "{asked}");
    assert!(!asked.contains("CAP_SYS_ADMIN"), "it was granted already: {asked}");
    assert_eq!(bed.inspect(&name)["PluginReference"], json!(name), "nothing was changed");
    let output = upgrade(&next, &["--grant-all-permissions"]);
    assert!(output.status.success(), "{output:?}");
    // What asks for nothing new is not asked about.
    let output = upgrade(&same, &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bed.inspect(&name)["PluginReference"], json!(same));
}

fn a_volume_in_use_is_not_removed(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe v");
    bed.call("probe", "Mount", &json!({ "Name": "v", "ID": "the-user" }));
    for words in ["volume rm v", "volume rm -f v"] {
        let said = bed.fails(words);
        assert!(said.contains("volume is in use") && said.contains("the-user"), "{said}");
    }
    assert_eq!(bed.count("probe", "VolumeDriver.Remove"), 0);
    let answer = bed.api("DELETE /volumes/v", &[], "");
    assert_eq!(answer.status, 409);
    bed.call("probe", "Unmount", &json!({ "Name": "v", "ID": "the-user" }));
    assert_eq!(bed.ok("volume rm v"), "v");
}

fn only_volumes_that_nobody_named_or_uses_are_pruned(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe named");
    let unused = bed.ok("volume create -d probe");
    let used = bed.ok("volume create -d probe");
    if bed.is_ours() {
        bed.call("probe", "Mount", &json!({ "Name": used, "ID": "a" }));
    }
    let said = bed.ok("volume prune -f");
    let mut left: Vec<_> = bed.ok("volume ls -q").lines().map(str::to_owned).collect();
    left.sort();
    if bed.is_ours() {
        assert!(said.contains(&unused) && !said.contains(&used), "{said}");
        let mut expected = ["named".to_owned(), used];
        expected.sort();
        assert_eq!(left, expected);
    } else {
        // It prunes volumes of its own driver only.
        assert_eq!(left.len(), 3, "{said}");
    }
}
