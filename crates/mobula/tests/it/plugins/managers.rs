//! Rows of Docker's own unit tests of its plugin manager, plugin store and volume service, on the
//! running engines: what one plugin's end does to another one's mounts, plugins that are asked for
//! what they are not, and volumes that are in use.

use super::bed::{Bed, Kind};
use super::image::probe;
use super::{on_both, on_ours};
use serde_json::json;

on_both!(a_plugin_that_is_no_volume_driver_makes_no_volume_and_is_not_in_use);

mod alone {
    use super::*;

    on_ours!(
        a_plugin_that_is_removed_leaves_the_mounts_of_the_others,
        a_volume_that_is_mounted_is_removed_only_when_it_is_not,
        only_volumes_without_a_name_that_nobody_has_mounted_are_pruned,
        what_an_earlier_removal_left_does_not_hinder_another_one,
    );
}

/// TestStoreGetPluginNotMatchCapRefs: the capability is missing, and nothing is counted, whether
/// the plugin runs or not.
fn a_plugin_that_is_no_volume_driver_makes_no_volume_and_is_not_in_use(kind: Kind) {
    let bed = Bed::start(kind);
    let interface = json!({ "types": ["docker.dummy/1.0"], "socket": "probe.sock" });
    bed.create("probe", &probe().with("interface", interface));
    let refused = || {
        let said = bed.fails("volume create -d probe v");
        assert!(said.contains("probe"), "{said}");
        if bed.is_ours() {
            assert!(said.contains("is no volume driver, its types are docker.dummy/1.0"), "{said}");
        }
    };
    refused();
    bed.ok("plugin enable probe");
    for _ in 0..3 {
        refused();
    }
    assert_eq!(bed.count("probe", "Create"), 0);
    bed.ok("plugin disable probe");
    refused();
    bed.ok("plugin rm probe");
}

fn mount(bed: &Bed, plugin: &str) -> std::path::PathBuf {
    bed.call(plugin, "Create", &json!({ "Name": "v" }));
    let mounted = bed.call(plugin, "Mount", &json!({ "Name": "v", "ID": "one" }));
    let path = std::path::PathBuf::from(mounted["Mountpoint"].as_str().unwrap());
    std::fs::write(path.join("file"), plugin).unwrap();
    path
}

fn is_mounted(path: &std::path::Path) -> bool {
    host::mountinfo::at(path).unwrap().is_some()
}

/// TestManagerWithPluginMounts.
fn a_plugin_that_is_removed_leaves_the_mounts_of_the_others(kind: Kind) {
    let bed = Bed::start(kind);
    for name in ["one", "two", "three"] {
        bed.probe(name);
    }
    let [one, two, three] = ["one", "two", "three"].map(|name| mount(&bed, name));
    // With what it has mounted, and in the other order.
    bed.ok("plugin rm -f one");
    bed.ok("plugin disable -f three");
    bed.ok("plugin rm -f three");
    assert!(!one.exists() && !three.exists());
    assert!(is_mounted(&two));
    assert_eq!(std::fs::read_to_string(two.join("file")).unwrap(), "two");
    let said = bed.fails("plugin disable two");
    assert!(said.contains("in use"), "{said}");
    bed.call("two", "Unmount", &json!({ "Name": "v", "ID": "one" }));
    assert!(!is_mounted(&two));
    bed.ok("plugin disable two");
}

/// TestServiceRemove and the store's RefDerefRemove: who has it is named, a second release changes
/// nothing, and a volume that is gone has no users.
fn a_volume_that_is_mounted_is_removed_only_when_it_is_not(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe v");
    for id in ["one", "two"] {
        bed.call("probe", "Mount", &json!({ "Name": "v", "ID": id }));
    }
    for id in ["one", "two"] {
        for words in ["volume rm v", "volume rm -f v"] {
            let said = bed.fails(words);
            assert!(said.contains("volume is in use") && said.contains(id), "{words}: {said}");
        }
        assert_eq!(bed.count("probe", "Remove"), 0);
        for _ in 0..2 {
            bed.try_call("probe", "Unmount", &json!({ "Name": "v", "ID": id }).to_string());
        }
    }
    assert_eq!(bed.ok("volume rm v"), "v");
    assert_eq!(bed.ok("volume ls -q"), "");
    bed.ok("volume create -d probe v");
    assert_eq!(bed.ok("volume rm v"), "v");
}

/// TestServicePrune.
fn only_volumes_without_a_name_that_nobody_has_mounted_are_pruned(kind: Kind) {
    let bed = Bed::start(kind);
    bed.probe("probe");
    bed.ok("volume create -d probe named");
    let used = bed.ok("volume create -d probe");
    let unused = bed.ok("volume create -d probe");
    bed.call("probe", "Mount", &json!({ "Name": used, "ID": "one" }));
    let said = bed.ok("volume prune -f");
    assert!(said.contains(&unused) && !said.contains(&used) && !said.contains("named"), "{said}");
    bed.call("probe", "Unmount", &json!({ "Name": used, "ID": "one" }));
    let said = bed.ok("volume prune -f");
    assert!(said.contains(&used), "{said}");
    assert_eq!(bed.ok("volume ls -q"), "named");
}

/// TestAtomicRemoveAllAlreadyExists.
fn what_an_earlier_removal_left_does_not_hinder_another_one(kind: Kind) {
    let bed = Bed::start(kind);
    bed.create("probe", &probe());
    let state = bed.state(&bed.id("probe"));
    let left = state.with_file_name(format!("{}-removing", bed.id("probe")));
    std::fs::create_dir_all(left.join("rootfs")).unwrap();
    std::fs::write(left.join("rootfs/file"), "x").unwrap();
    bed.ok("plugin rm probe");
    assert!(!state.exists() && !left.exists());
    bed.create("probe", &probe());
    bed.ok("plugin rm probe");
}
