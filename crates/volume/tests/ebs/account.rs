//! An account that other people and programs use, too: names that two volumes have, tags that are
//! damaged or missing, and volumes that come and go.

use crate::lab::{FAST, HERE, Lab, attach, create, named, refused, request};
use error::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;
use volume::driver::Page;
use volume::{Driver, NodeId};

async fn names(driver: &Arc<dyn Driver>) -> Vec<String> {
    let listed = driver.list(&Page::default()).await.unwrap();
    listed.entries.iter().map(|volume| volume.name.to_string()).collect()
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_volumes_of_one_name_are_both_named_and_nothing_is_done_to_either() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let ours = create(&driver, "pg").await;
    let other = lab.foreign(Some("pg"), 3).await;
    create(&driver, "fine").await;
    let looked = driver.find(&named("pg")).await.map(drop);
    let created = driver.create(&request("pg", &[])).await.map(drop);
    for result in [looked, created] {
        let error = refused(result, Kind::FailedPrecondition, "another Name tag");
        for word in [ours.id.as_str(), other.as_str(), "us-east-1a"] {
            assert!(error.message().contains(word), "{word}: {error}");
        }
    }
    assert_eq!(names(&driver).await, ["fine", "pg"]);
    let all = lab.on_with(HERE, &[("list", "named"), FAST[0]]);
    assert_eq!(names(&all).await, ["fine", "pg"]);
    assert_eq!(lab.sim.volumes().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_tags_of_one_volume_never_break_a_listing() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let console = lab.console();
    create(&driver, "fine").await;
    let damages = [
        ("mobula:record", "garbage"),
        ("mobula:record", ""),
        ("mobula:record", "v=2_size=1GiB"),
        ("mobula:record", "v=1_size=@ZZ"),
        ("mobula:record", "v=1_nosuchoption=1"),
        ("mobula:record", "v=1_origin.volume=../x"),
        ("mobula:filesystem", "type=ntfs_uuid=1"),
        ("mobula:filesystem", ""),
        ("Name", "../../etc"),
        ("Name", ""),
    ];
    for (index, (key, value)) in damages.into_iter().enumerate() {
        let volume = create(&driver, &format!("damaged{index}")).await;
        console.create_tags(&[volume.id.as_str()], &tags(&[(key, value)])).await.unwrap();
        attach(&driver, &volume.id, HERE).await.ok();
    }
    lab.foreign(None, 1).await;
    lab.foreign(Some("no name/of a volume"), 1).await;
    for driver in [driver, lab.on_with(HERE, &[("list", "named"), FAST[0]])] {
        assert!(names(&driver).await.contains(&"fine".to_owned()));
        assert!(driver.find(&named("fine")).await.unwrap().is_some());
        // What the record says is not guessed.
        let found = driver.find(&named("damaged2")).await.unwrap().unwrap();
        assert!(found.fault.as_deref().is_some_and(|fault| fault.contains("version 2")));
        for index in 0..8 {
            assert!(names(&driver).await.contains(&format!("damaged{index}")), "it is not hidden");
        }
        driver.attached().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_another_program_is_not_deleted_before_it_is_used() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let id = lab.foreign(Some("theirs"), 1).await;
    refused(driver.delete(&id).await, Kind::FailedPrecondition, "another program");
    assert_eq!(lab.sim.volumes().len(), 1);
    assert!(names(&driver).await.is_empty(), "it is not listed either, unless that is wanted");
    let all = lab.on_with(HERE, &[("list", "named"), FAST[0]]);
    assert_eq!(names(&all).await, ["theirs"]);
    let found = driver.create(&request("theirs", &[])).await.unwrap();
    assert!(!found.is_done(), "it is the volume of that name");
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_and_prefixes_do_not_see_each_other() {
    let lab = Lab::without_disks().await;
    let one = lab.on_with(HERE, &[("cluster", "one"), FAST[0]]);
    let two = lab.on_with(HERE, &[("cluster", "two"), FAST[0]]);
    let prefixed = lab.on_with(HERE, &[("tag", "prod"), FAST[0]]);
    let ids = [create(&one, "pg").await.id, create(&two, "pg").await.id];
    assert_ne!(ids[0], ids[1]);
    let third = create(&prefixed, "pg").await;
    assert_eq!(lab.volumes_named("prod/pg")[0].id, third.id.as_str());
    for (driver, id) in [(&one, &ids[0]), (&two, &ids[1]), (&prefixed, &third.id)] {
        assert_eq!(driver.find(&named("pg")).await.unwrap().unwrap().id, *id);
        assert_eq!(names(driver).await, ["pg"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_the_service_are_on_everything_that_is_made() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(HERE, &[("tags", "team=db,cost=42"), FAST[0]]);
    let volume = create(&driver, "pg").await;
    driver.snapshot(&volume.id, &crate::lab::snapshot_named("s")).await.unwrap();
    driver.create(&request("copy", &[("clone", "pg")])).await.unwrap();
    driver.create(&request("back", &[("snapshot", "s"), ("tags", "own=1")])).await.unwrap();
    let made = lab.sim.volumes().into_iter().map(|one| one.tags);
    let made: Vec<_> = made.chain(lab.sim.snapshots().into_iter().map(|one| one.tags)).collect();
    assert_eq!(made.len(), 4);
    for tags in made {
        assert_eq!((tags["team"].as_str(), tags["cost"].as_str()), ("db", "42"), "{tags:?}");
    }
    assert_eq!(lab.volumes_named("back")[0].tags["own"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_shall_stay_attached_is_not_told_as_left_over() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let (used, kept) = (create(&driver, "used").await, create(&driver, "kept").await);
    attach(&driver, &used.id, HERE).await.unwrap();
    let keep = volume::driver::Attach { node: NodeId::new(HERE), read_only: false, keep: true };
    driver.attach(&kept.id, &keep).await.unwrap();
    let left: Vec<_> = driver.attached().await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(left, [used.id]);
}
