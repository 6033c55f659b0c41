//! Cases about what a driver can not do: it says so, in words that name it.

use super::{Case, Site, cases, named, refused, snapshot_named};
use error::{Error, Kind, Result};
use std::fmt::Debug;
use volume::driver::Page;
use volume::{Driver, Origin, Size};

pub(super) fn cases() -> Vec<Case> {
    let expand = cases![|capabilities| !capabilities.expand; expansion_is_refused_by_name];
    let snapshots = cases![|capabilities| !capabilities.snapshots; snapshots_are_refused_by_name];
    let clones = cases![|capabilities| !capabilities.clones; clones_are_refused_by_name];
    expand.into_iter().chain(snapshots).chain(clones).collect()
}

#[track_caller]
fn lacking<T: Debug>(driver: &dyn Driver, result: Result<T>) -> Error {
    let error = refused(result, Kind::Unimplemented);
    let name = format!("driver {}", driver.spec().name);
    assert!(error.message().contains(&name), "{error}");
    error
}

async fn expansion_is_refused_by_name(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    lacking(&*driver, driver.expand(&volume.id, Size::gib(64)).await);
    assert_eq!(driver.get(&volume.id).await.expect("it is there"), volume);
}

async fn snapshots_are_refused_by_name(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let name = snapshot_named("s");
    lacking(&*driver, driver.snapshot(&volume.id, &name).await);
    lacking(&*driver, driver.delete_snapshot(&name).await);
    lacking(&*driver, driver.list_snapshots(&Page::default()).await);
    let request = site.copying("b", Origin::Snapshot(name));
    lacking(&*driver, driver.create(&request).await);
    assert_eq!(driver.find(&named("b")).await.expect("it looks"), None);
}

async fn clones_are_refused_by_name(site: Site) {
    let driver = site.open();
    site.create(&driver, "a").await;
    let request = site.copying("b", Origin::Volume(named("a")));
    lacking(&*driver, driver.create(&request).await);
    assert_eq!(driver.find(&named("b")).await.expect("it looks"), None);
}
