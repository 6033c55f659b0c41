//! How many calls things take: AWS counts them, and so do those who pay with waiting.

use crate::lab::{FAST, HERE, Lab, attach, create, detach, named};
use std::collections::BTreeMap;
use volume::cloud::aws::NewVolume;
use volume::driver::Page;

/// All calls but those that wait for what was begun.
fn calls(lab: &Lab, polled: &str) -> u64 {
    let mut calls: BTreeMap<_, _> = lab.sim.calls();
    let polls = calls.remove(polled).unwrap_or_default();
    calls.values().sum::<u64>() + polls.saturating_sub(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_takes_three_calls_beyond_polling_and_an_unmount_two() {
    let lab = Lab::without_disks().await;
    let volume = create(&lab.fast(HERE), "pg").await;
    // An agent that has just started knows nothing.
    let driver = lab.fast(HERE);
    lab.sim.reset_calls();
    driver.find(&named("pg")).await.unwrap();
    attach(&driver, &volume.id, HERE).await.unwrap();
    // One look for the name, one at the instance, the attachment; and one look whether it is done.
    let expected = [("AttachVolume", 1), ("DescribeInstances", 1), ("DescribeVolumes", 2)];
    let expected = expected.map(|(action, count)| (action.to_owned(), count)).into();
    assert_eq!(lab.sim.calls(), expected);
    lab.sim.reset_calls();
    detach(&driver, &volume.id, HERE).await.unwrap();
    assert!(calls(&lab, "DescribeVolumes") <= 2, "{:?}", lab.sim.calls());
    lab.sim.reset_calls();
    create(&driver, "pg").await;
    assert_eq!(lab.sim.calls().values().sum::<u64>(), 1, "it exists: {:?}", lab.sim.calls());
    lab.sim.reset_calls();
    create(&driver, "new").await;
    assert_eq!(calls(&lab, ""), 3, "look, create, look whether it is done: {:?}", lab.sim.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_look_ups_at_once_take_few_calls() {
    let lab = Lab::without_disks().await;
    let driver = lab.fast(HERE);
    create(&driver, "v7").await;
    lab.sim.reset_calls();
    let looks = (0..100).map(|n| {
        let driver = driver.clone();
        tokio::spawn(async move { driver.find(&named(&format!("v{n}"))).await.unwrap().is_some() })
    });
    let mut found = Vec::new();
    for (n, look) in looks.collect::<Vec<_>>().into_iter().enumerate() {
        if look.await.unwrap() {
            found.push(n);
        }
    }
    assert_eq!(found, [7]);
    assert!(lab.count("DescribeVolumes") <= 10, "{:?}", lab.sim.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_1200_volumes_takes_three_calls() {
    let lab = Lab::without_disks().await;
    let driver = lab.on_with(HERE, &[("list", "named"), FAST[0]]);
    let console = lab.console();
    for n in 0..1200 {
        let new = NewVolume {
            zone: "us-east-1a".to_owned(),
            size: Some(1),
            kind: Some("gp3".to_owned()),
            tags: BTreeMap::from([("Name".to_owned(), format!("v{n:04}"))]),
            token: format!("token-{n}"),
            ..NewVolume::default()
        };
        console.create_volume(&new).await.unwrap();
    }
    lab.sim.reset_calls();
    let listed = driver.list(&Page::default()).await.unwrap().entries;
    assert_eq!(listed.len(), 1200);
    assert!(listed.is_sorted_by_key(|volume| volume.name.as_str()));
    assert_eq!(lab.count("DescribeVolumes"), 3);
}
