//! More than one Mobula on a machine: each has its own volumes, and none touches those of another.

use super::lab::Lab;
use crate::fixture::{PATIENCE, eventually};
use crate::plugins::bed::Kind;
use crate::plugins::{on_both, on_ours};
use std::path::Path;

on_both!(
    two_plugins_on_one_directory_never_share_a_volume,
    an_agent_and_a_plugin_on_one_directory_never_share_a_volume,
    an_agent_and_both_plugins_work_side_by_side,
);

const TAKEN: &str = "in use by another service, agent or plugin";

/// Installed twice, the second one can do nothing until the first has ended.
fn two_plugins_on_one_directory_never_share_a_volume(kind: Kind) {
    let lab = Lab::start(kind);
    for driver in ["loop", "local"] {
        let [first, second] = ["one", "two"].map(|number| format!("{driver}-{number}"));
        let volume = format!("of-{driver}");
        lab.add(driver, &first, "");
        lab.create(
            &first,
            &format!("{} {volume}", if driver == "loop" { "-o size=48MiB" } else { "" }),
        );
        lab.start_container(&volume);
        lab.exec(&volume, "echo kept > /d/file");
        lab.add(driver, &second, "");
        for _ in 0..2 {
            let said = lab.create_fails(&second, "mine");
            assert!(said.contains(TAKEN) && said.contains("volumes.source"), "{said}");
        }
        // The other's volume is told to be there, lest dockerd makes an empty one of its own, but
        // neither mounted nor removed.
        let body = format!("{{\"Name\": \"{volume}\", \"ID\": \"x\"}}");
        let (_, answer) = lab.try_call(&second, "Get", &body);
        assert_eq!(answer["Volume"]["Name"], volume, "{answer}");
        let (_, answer) = lab.try_call(&second, "Mount", &body);
        assert!(answer["Err"].as_str().unwrap().contains(TAKEN), "{answer}");
        let (_, answer) = lab.try_call(&second, "Remove", &body);
        assert!(!answer["Err"].as_str().unwrap().is_empty(), "{answer}");
        assert_eq!(lab.exec(&volume, "cat /d/file"), "kept");
        lab.box_ok(&format!("rm -f {volume}"));
        assert_eq!(lab.run(&volume, "cat /d/file"), "kept");
        lab.disable(&first);
        lab.create(&second, &format!("after-{driver}"));
        let said = lab.ok(&format!("plugin enable {first}"));
        assert_eq!(said, first, "it listens all the same");
        assert!(lab.create_fails(&first, "mine").contains(TAKEN));
        // A directory of its own helps.
        let own = lab.home.path(&first);
        std::fs::create_dir(&own).unwrap();
        lab.set(&first, &format!("volumes.source={}", own.display()));
        lab.create(&first, &format!("own-{driver}"));
    }
}

fn agent(lab: &Lab, services: &str) -> crate::fixture::Agent {
    let config = lab.home.path("etc/mobula/mobula.yml");
    let engine = std::fs::read_to_string(&config).unwrap_or_default();
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, format!("{engine}\n{services}")).unwrap();
    lab.home.start()
}

fn an_agent_and_a_plugin_on_one_directory_never_share_a_volume(kind: Kind) {
    let lab = Lab::start(kind);
    lab.add("loop", "loop", "VOLUME_SIZE=48MiB");
    lab.create("loop", "vol");
    lab.start_container("vol");
    lab.exec("vol", "echo kept > /d/file");
    let path = lab.srv().join("mobula/loop");
    let services =
        format!("services: {{mobula: {{driver: loop, options: {{path: {}}}}}}}\n", path.display());
    let agent = agent(&lab, &services);
    for words in [
        &["volume", "mount", "vol"][..],
        &["volume", "rm", "vol"],
        &["volume", "create", "wol", "--size", "48MiB"],
    ] {
        let (_, said) = lab.home.fails(words);
        assert!(said.contains(TAKEN), "{words:?}: {said}");
    }
    assert_eq!(lab.exec("vol", "cat /d/file"), "kept");
    lab.box_ok("rm -f vol");
    lab.disable("loop");
    // Now they are the agent's.
    let at = lab.home.ok(&["volume", "mount", "vol"]);
    assert_eq!(std::fs::read_to_string(Path::new(&at).join("file")).unwrap(), "kept\n");
    lab.ok("plugin enable loop");
    assert!(lab.create_fails("loop", "wol").contains(TAKEN));
    lab.home.ok(&["volume", "unmount", "vol"]);
    agent.stop();
    lab.create("loop", "wol");
    assert_eq!(lab.run("vol", "cat /d/file"), "kept");
}

fn an_agent_and_both_plugins_work_side_by_side(kind: Kind) {
    let lab = Lab::start(kind);
    let agent = agent(&lab, "services: {mobula: {driver: loop, volume: {size: 48MiB}}}\n");
    lab.add("loop", "mobula/loop", "VOLUME_SIZE=48MiB");
    lab.add("local", "mobula/local", "");
    let drivers = ["mobula", "mobula/loop", "mobula/local"];
    let name = |driver: &str| driver.replace('/', "-");
    for driver in drivers {
        let volume = name(driver);
        lab.create(driver, &volume);
        lab.start_container(&volume);
        lab.exec(&volume, &format!("echo {volume} > /d/file"));
    }
    for (driver, place) in drivers.into_iter().zip([
        lab.home.volume_dir("mobula"),
        lab.srv().join("mobula/loop/mobula-loop"),
        lab.srv().join("mobula/local/mobula-local"),
    ]) {
        assert!(place.join("volume.json").exists(), "{driver}: {}", place.display());
    }
    agent.stop();
    lab.disable("mobula/loop");
    for driver in drivers {
        let volume = name(driver);
        assert_eq!(lab.exec(&volume, "cat /d/file"), volume);
    }
    lab.ok("plugin enable mobula/loop");
    let agent = lab.home.start();
    for driver in drivers {
        let volume = name(driver);
        lab.box_ok(&format!("rm -f {volume}"));
        assert_eq!(lab.run(&volume, "cat /d/file"), volume);
        lab.box_ok(&format!("volume rm {volume}"));
    }
    agent.stop();
    assert!(!lab.home.is_mounted("mobula"));
    eventually("loop devices are gone", PATIENCE, || lab.home.loops().is_empty());
}
