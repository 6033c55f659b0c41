//! Volumes whose tags were damaged, or that failed at AWS: shown with the way out, never touched.

use crate::lab::{FAR, HERE, Lab, THERE, act, attach, create, named, refused, request};
use error::Kind;
use std::collections::BTreeMap;
use std::sync::Arc;
use volume::driver::Page;
use volume::{Driver, Volume, VolumeId};

const RECORD: &str = "mobula:record";
const FILESYSTEM: &str = "mobula:filesystem";

async fn listed(driver: &Arc<dyn Driver>) -> Vec<Volume> {
    driver.list(&Page::default()).await.unwrap().entries
}

async fn tag(lab: &Lab, id: &VolumeId, key: &str, value: &str) {
    let tags = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    lab.console().create_tags(&[id.as_str()], &tags).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_with_damaged_tags_is_listed_and_nothing_is_done_to_it() {
    for (key, value, words) in [
        (RECORD, "v=1_size", "not what this program writes"),
        (RECORD, "v=2_size=1GiB", "version 2"),
        (RECORD, "v=1_nonsense=1", "nonsense"),
        (FILESYSTEM, "type=ext4_uuid=none", "delete-tags --resources vol-"),
    ] {
        let lab = Lab::without_disks().await;
        let driver = lab.fast(HERE);
        let volume = create(&driver, "pg").await;
        create(&driver, "sound").await;
        tag(&lab, &volume.id, key, value).await;
        let shown = listed(&driver).await;
        let names: Vec<_> = shown.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["pg", "sound"], "{value}");
        let fault = shown[0].fault.as_deref().unwrap();
        for word in [key, words, volume.id.as_str()] {
            assert!(fault.contains(word), "{word}: {fault}");
        }
        assert_eq!((shown[0].size, &shown[0].id), (volume.size, &volume.id));
        assert_eq!(shown[1].fault, None);
        let found = driver.find(&named("pg")).await.unwrap().unwrap();
        assert_eq!(found.fault.as_deref(), Some(fault));
        refused(driver.get(&volume.id).await, Kind::FailedPrecondition, words);
        refused(driver.delete(&volume.id).await, Kind::FailedPrecondition, words);
        let created = driver.create(&request("pg", &[])).await;
        let error = refused(created, Kind::FailedPrecondition, words);
        assert!(error.message().contains("volume pg is there"), "{error}");
        assert_eq!(lab.volumes_named("pg").len(), 1, "{value}");
        assert_eq!((lab.count("DeleteVolume"), lab.count("AttachVolume")), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_fault_advises_mends_it() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    let before = lab.volume(&volume.id).tags[RECORD].clone();
    tag(&lab, &volume.id, RECORD, "?").await;
    assert!(listed(&driver).await[0].fault.is_some());
    tag(&lab, &volume.id, RECORD, &before).await;
    assert_eq!(listed(&driver).await[0].fault, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_lost_its_name_is_listed_by_its_id() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    lab.foreign(None, 1).await;
    tag(&lab, &volume.id, "Name", "").await;
    let shown = listed(&driver).await;
    assert_eq!(shown.len(), 1, "not what other programs made: {shown:?}");
    assert_eq!(shown[0].name.as_str(), volume.id.as_str());
    assert!(shown[0].fault.as_deref().unwrap().contains("Key=Name,Value="), "{shown:?}");
    let found = driver.find(&shown[0].name).await.unwrap().unwrap();
    assert_eq!(found.id, volume.id);
    let taken = driver.create(&request(volume.id.as_str(), &[])).await;
    refused(taken, Kind::FailedPrecondition, "no name");
    refused(driver.delete(&volume.id).await, Kind::FailedPrecondition, "no name");
    // Another service, of names with a prefix, cannot know whose it is.
    assert_eq!(listed(&lab.on_with(HERE, &[("tag", "prod")])).await, []);
    tag(&lab, &volume.id, "Name", "pg").await;
    assert_eq!(listed(&driver).await[0].fault, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_volumes_of_one_name_are_a_fault_of_it() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    let other = create(&driver, "other").await;
    tag(&lab, &other.id, "Name", "pg").await;
    let shown = listed(&driver).await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    let fault = shown[0].fault.as_deref().unwrap();
    for word in [volume.id.as_str(), other.id.as_str(), "Name tag"] {
        assert!(fault.contains(word), "{word}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_and_its_original_are_no_two_volumes_of_one_name() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    let volume = create(&driver, "pg").await;
    act(&driver, "move", "pg", &[("zone", "us-east-1b")]).await.unwrap();
    // As if it was interrupted before the original got another name.
    tag(&lab, &volume.id, "Name", "pg").await;
    let shown = listed(&lab.fast(FAR)).await;
    assert_eq!((shown.len(), &shown[0].fault), (1, &None), "{shown:?}");
    assert_ne!(shown[0].id, volume.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_says_where_a_volume_is_without_a_further_call() {
    let lab = Lab::without_disks().await;
    let there = lab.fast(THERE);
    let volume = create(&there, "pg").await;
    create(&there, "free").await;
    attach(&there, &volume.id, THERE).await.unwrap();
    let driver = lab.fast(HERE);
    lab.sim.reset_calls();
    let shown = listed(&driver).await;
    assert_eq!(shown[0].attached, []);
    assert_eq!(shown[1].attached, [volume::NodeId::new(THERE)]);
    assert_eq!(lab.sim.calls().values().sum::<u64>(), 1, "{:?}", lab.sim.calls());
}
