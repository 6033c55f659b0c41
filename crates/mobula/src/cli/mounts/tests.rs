use super::*;
use plugin::engine::Description;
use serde_json::json;
use std::time::{Duration, Instant};

const TABLE: &str = "\
1 0 8:1 / / rw shared:1 - ext4 /dev/vda1 rw
20 1 0:20 / /run rw shared:2 - tmpfs tmpfs rw
30 20 0:20 /mobula/mounts /run/mobula/mounts rw shared:3 - tmpfs tmpfs rw
31 30 7:0 / /run/mobula/mounts/s/pgdata rw shared:4 - ext4 /dev/loop0 rw
32 30 8:1 /var/lib/mobula/volumes/l/files /run/mobula/mounts/l/files rw - ext4 /dev/vda1 rw
40 1 7:0 /data /var/lib/docker/x rw master:4 - ext4 /dev/loop0 rw
41 1 8:1 /home /mnt/home rw shared:5 - ext4 /dev/vda1 rw
";

fn list() -> MountList {
    serde_json::from_value(json!({
        "root": "/run/mobula/mounts",
        "mounts": [
            {
                "service": "s", "volume": "pgdata", "state": "mounted",
                "target": "/run/mobula/mounts/s/pgdata",
                "consumers": [{"id": "cli", "since": "2026-01-02T03:04:05Z"}],
            },
            {
                "service": "s", "volume": "lost", "state": "mounted",
                "target": "/run/mobula/mounts/s/lost", "consumers": [],
            },
        ],
    }))
    .unwrap()
}

#[test]
fn the_tree_shows_what_concerns_mobula() {
    let (list, table) = (list(), host::mountinfo::parse(TABLE.as_bytes()).unwrap());
    let lines = lines(&table, &Ledger::new(&list, &table), &Plugins::default(), false);
    let expected = "\
TARGET                         SOURCE                                      FSTYPE  PROPAGATION         VOLUME    CONSUMERS
/run/mobula/mounts             tmpfs[/mobula/mounts]                       tmpfs   shared
├─/run/mobula/mounts/s/pgdata  /dev/loop0                                  ext4    shared              s/pgdata  cli
└─/run/mobula/mounts/l/files   /dev/vda1[/var/lib/mobula/volumes/l/files]  ext4    private NOT SHARED
/var/lib/docker/x              /dev/loop0[/data]                           ext4    private,slave       s/pgdata  cli
";
    assert_eq!(tree_table(&lines).render(None, false), expected);
}

#[test]
fn all_shows_the_whole_table() {
    let (list, table) = (list(), host::mountinfo::parse(TABLE.as_bytes()).unwrap());
    let lines = lines(&table, &Ledger::new(&list, &table), &Plugins::default(), true);
    let targets: Vec<_> =
        lines.iter().map(|line| format!("{}{}", line.branch, line.target.display())).collect();
    assert_eq!(targets.len(), 7);
    assert_eq!(targets[0], "/");
    assert_eq!(targets[3], "│   ├─/run/mobula/mounts/s/pgdata");
}

#[test]
fn what_the_ledger_has_and_the_kernel_has_not_is_missing() {
    let (list, table) = (list(), host::mountinfo::parse(TABLE.as_bytes()).unwrap());
    let missing: Vec<_> =
        Ledger::new(&list, &table).missing(&table).iter().map(|m| m.volume.clone()).collect();
    assert_eq!(missing, ["lost"]);
}

fn description(name: &str) -> Description {
    serde_json::from_value(json!({
        "kind": "managed", "name": name, "description": "", "types": [], "enabled": true,
        "state": "running", "reference": "", "restarts": 0, "in_use": [], "privileges": [],
        "propagated_mount": format!("/var/lib/mobula/plugins/{name}/propagated-mount"),
    }))
    .unwrap()
}

#[test]
fn mounts_of_a_plugin_stand_together_with_its_name() {
    let text = "\
1 0 8:1 / / rw shared:1 - ext4 /dev/vda1 rw
2 1 8:1 /a /var/lib/mobula/plugins/a/propagated-mount rw shared:2 - ext4 /dev/vda1 rw
3 1 8:1 /b /var/lib/mobula/plugins/b/propagated-mount rw - ext4 /dev/vda1 rw
4 2 8:1 /a/data/v /var/lib/mobula/plugins/a/propagated-mount/mnt/v rw shared:3 - ext4 /dev/vda1 rw
5 1 8:1 /c /var/lib/mobula/plugins/c rw shared:4 - ext4 /dev/vda1 rw
";
    let list = MountList { root: "/run/mobula/mounts".into(), mounts: Vec::new() };
    let table = host::mountinfo::parse(text.as_bytes()).unwrap();
    let plugins = Plugins::of(vec![description("b"), description("a")]);
    let lines = lines(&table, &Ledger::new(&list, &table), &plugins, false);
    let expected = "\
TARGET                                                  SOURCE               FSTYPE  PROPAGATION         VOLUME  CONSUMERS  PLUGIN
/var/lib/mobula/plugins/a/propagated-mount              /dev/vda1[/a]        ext4    shared                                 a
└─/var/lib/mobula/plugins/a/propagated-mount/mnt/v      /dev/vda1[/a/data/v] ext4    shared                                 a
/var/lib/mobula/plugins/b/propagated-mount              /dev/vda1[/b]        ext4    private NOT SHARED                     b
";
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(&tree_table(&lines).render(None, false)), squeezed(expected));
}

#[test]
fn ten_thousand_mounts_are_no_trouble() {
    let mut text = TABLE.to_owned();
    let plugins = Plugins::of((0..100).map(|number| description(&format!("p{number}"))).collect());
    for id in 100..10_100 {
        text.push_str(&format!(
            "{id} 30 8:1 /var/lib/mobula/volumes/l/v{id} /run/mobula/mounts/l/v{id} rw \
             shared:{id} - ext4 /dev/vda1 rw\n"
        ));
    }
    let start = Instant::now();
    let (list, table) = (list(), host::mountinfo::parse(text.as_bytes()).unwrap());
    let lines = lines(&table, &Ledger::new(&list, &table), &plugins, true);
    let shown = tree_table(&lines).render(Some(80), true);
    assert_eq!(shown.lines().count(), 10_008);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
