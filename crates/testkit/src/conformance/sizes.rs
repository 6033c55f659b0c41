//! Cases about expansion.

use super::{Case, Site, already, cases, done, refused};
use error::Kind;
use volume::{Capabilities, Parameters, Size, VolumeId};

pub(super) fn cases() -> Vec<Case> {
    let expand = cases![|capabilities| capabilities.expand;
        a_volume_that_is_large_enough_is_expanded_already,
        a_volume_never_shrinks,
        an_expanded_volume_stays_expanded,
        a_missing_volume_can_not_be_expanded,
        an_expanded_volume_still_answers_the_request_that_made_it,
    ];
    let filesystems = cases![|capabilities: &Capabilities| !capabilities.filesystems.is_empty();
        an_expanded_device_leaves_its_file_system_to_be_grown,
    ];
    expand.into_iter().chain(filesystems).collect()
}

fn twice(site: &Site) -> Size {
    Size(2 * site.small().0)
}

async fn a_volume_that_is_large_enough_is_expanded_already(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    assert_eq!(already(driver.expand(&volume.id, site.small()).await), volume);
    done(driver.expand(&volume.id, twice(&site)).await);
    assert_eq!(already(driver.expand(&volume.id, twice(&site)).await).size, Some(twice(&site)));
}

async fn a_volume_never_shrinks(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let smaller = Size(site.small().0 / 2);
    refused(driver.expand(&volume.id, smaller).await, Kind::OutOfRange);
    assert_eq!(driver.get(&volume.id).await.expect("it is there"), volume);
}

async fn an_expanded_volume_stays_expanded(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let expanded = done(driver.expand(&volume.id, twice(&site)).await);
    assert_eq!(expanded.size, Some(twice(&site)));
    let driver = if driver.capabilities().ephemeral { driver } else { site.open() };
    assert_eq!(driver.get(&volume.id).await.expect("it is there"), expanded);
}

async fn a_missing_volume_can_not_be_expanded(site: Site) {
    let driver = site.open();
    refused(driver.expand(&VolumeId::new("a"), twice(&site)).await, Kind::NotFound);
}

async fn an_expanded_volume_still_answers_the_request_that_made_it(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let expanded = done(driver.expand(&volume.id, twice(&site)).await);
    assert_eq!(already(driver.create(&site.request("a")).await), expanded);
}

async fn an_expanded_device_leaves_its_file_system_to_be_grown(site: Site) {
    let driver = site.open();
    let request = site.asking("a", &Parameters::default());
    let volume = done(driver.create(&request).await);
    let filesystem = volume.filesystem.clone().expect("it has one");
    let record = async |size| {
        driver.record_filesystem(&volume.id, &filesystem.covering(size)).await.expect("recorded");
    };
    record(site.small()).await;
    let expanded = done(driver.expand(&volume.id, twice(&site)).await);
    let covers = |volume: volume::Volume| volume.filesystem.expect("it has one").covers;
    assert_eq!(covers(expanded), Some(site.small()));
    record(twice(&site)).await;
    assert_eq!(covers(driver.get(&volume.id).await.expect("it is there")), Some(twice(&site)));
}
