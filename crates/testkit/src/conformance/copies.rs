//! Cases about snapshots, restores and clones.

use super::{Case, Site, already, cases, done, named, refused, snapshot_named};
use error::Kind;
use std::sync::Arc;
use volume::driver::Page;
use volume::{Create, Driver, Origin, Parameters, Size, Volume, VolumeId};

pub(super) fn cases() -> Vec<Case> {
    let snapshots = cases![|capabilities| capabilities.snapshots;
        the_same_snapshot_again_is_taken_already,
        a_snapshot_name_of_another_volume_is_taken,
        a_snapshot_name_of_an_earlier_volume_is_taken,
        a_missing_volume_has_no_snapshot_taken,
        a_deleted_snapshot_is_gone_and_deleting_it_again_is_done_already,
        snapshots_are_listed_by_name_in_parts,
        a_snapshot_outlives_its_volume_and_can_be_restored,
        a_restored_volume_is_one_of_its_own,
        a_missing_snapshot_can_not_be_restored,
        a_restore_may_be_larger_and_never_smaller,
    ];
    let clones = cases![|capabilities| capabilities.clones;
        a_clone_is_one_of_its_own,
        the_same_clone_again_is_made_already,
        a_clone_of_another_volume_is_another_request,
        a_missing_volume_can_not_be_cloned,
        a_clone_is_never_smaller_than_its_source,
        a_failed_copy_leaves_its_name_free,
        a_copy_has_its_sources_parameters_where_nothing_is_said,
    ];
    snapshots.into_iter().chain(clones).collect()
}

async fn taken(driver: &Arc<dyn Driver>, volume: &Volume, name: &str) -> volume::Snapshot {
    done(driver.snapshot(&volume.id, &snapshot_named(name)).await)
}

async fn the_same_snapshot_again_is_taken_already(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let first = taken(&driver, &volume, "s").await;
    assert_eq!((&first.volume, Some(first.size)), (&volume.name, volume.size));
    assert_eq!(already(driver.snapshot(&volume.id, &snapshot_named("s")).await), first);
}

async fn a_snapshot_name_of_another_volume_is_taken(site: Site) {
    let driver = site.open();
    let (one, two) = (site.create(&driver, "one").await, site.create(&driver, "two").await);
    taken(&driver, &one, "s").await;
    let again = driver.snapshot(&two.id, &snapshot_named("s")).await;
    assert!(refused(again, Kind::AlreadyExists).message().contains("one"));
}

/// Otherwise somebody would believe that his new volume has a snapshot, and restore the old one.
async fn a_snapshot_name_of_an_earlier_volume_is_taken(site: Site) {
    let driver = site.open();
    let earlier = site.create(&driver, "a").await;
    taken(&driver, &earlier, "s").await;
    driver.delete(&earlier.id).await.expect("it is deleted");
    let volume = site.create(&driver, "a").await;
    refused(driver.snapshot(&volume.id, &snapshot_named("s")).await, Kind::AlreadyExists);
}

async fn a_missing_volume_has_no_snapshot_taken(site: Site) {
    let driver = site.open();
    let name = snapshot_named("s");
    refused(driver.snapshot(&VolumeId::new("a"), &name).await, Kind::NotFound);
    assert!(listed(&driver, &Page::default()).await.is_empty());
}

async fn a_deleted_snapshot_is_gone_and_deleting_it_again_is_done_already(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    taken(&driver, &volume, "s").await;
    done(driver.delete_snapshot(&snapshot_named("s")).await);
    assert!(listed(&driver, &Page::default()).await.is_empty());
    already(driver.delete_snapshot(&snapshot_named("s")).await);
    taken(&driver, &volume, "s").await;
}

async fn snapshots_are_listed_by_name_in_parts(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    for name in ["c", "a", "b"] {
        taken(&driver, &volume, name).await;
    }
    let page = Page { limit: 2, token: None };
    assert_eq!(listed(&driver, &page).await, ["a", "b"]);
    let token = driver.list_snapshots(&page).await.expect("they are listed").next;
    assert_eq!(listed(&driver, &Page { limit: 2, token }).await, ["c"]);
    let foreign = Page { limit: 2, token: Some("\u{0}no token".to_owned()) };
    refused(driver.list_snapshots(&foreign).await, Kind::Aborted);
}

async fn listed(driver: &Arc<dyn Driver>, page: &Page) -> Vec<String> {
    let listed = driver.list_snapshots(page).await.expect("they are listed");
    listed.entries.iter().map(|snapshot| snapshot.name.to_string()).collect()
}

async fn a_snapshot_outlives_its_volume_and_can_be_restored(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    taken(&driver, &volume, "s").await;
    driver.delete(&volume.id).await.expect("it is deleted");
    let request = site.copying("b", Origin::Snapshot(snapshot_named("s")));
    let restored = done(driver.create(&request).await);
    assert_eq!((restored.size, restored.origin), (volume.size, request.origin));
}

async fn a_restored_volume_is_one_of_its_own(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    taken(&driver, &volume, "s").await;
    let request = site.copying("b", Origin::Snapshot(snapshot_named("s")));
    let restored = done(driver.create(&request).await);
    assert_own(&volume, &restored);
    assert_eq!(already(driver.create(&request).await), restored);
}

async fn a_missing_snapshot_can_not_be_restored(site: Site) {
    let driver = site.open();
    let request = site.copying("b", Origin::Snapshot(snapshot_named("s")));
    refused(driver.create(&request).await, Kind::NotFound);
    assert_eq!(driver.find(&named("b")).await.expect("it looks"), None);
}

async fn a_restore_may_be_larger_and_never_smaller(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    taken(&driver, &volume, "s").await;
    let origin = Origin::Snapshot(snapshot_named("s"));
    let smaller = with_size(site.copying("b", origin.clone()), Size(site.small().0 / 2));
    refused(driver.create(&smaller).await, Kind::OutOfRange);
    let size = Size(site.small().0 * 2);
    let larger = with_size(site.copying("b", origin), size);
    assert_eq!(done(driver.create(&larger).await).size, Some(size));
}

async fn a_clone_is_one_of_its_own(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let cloned = done(driver.create(&site.copying("b", Origin::Volume(named("a")))).await);
    assert_own(&volume, &cloned);
    assert_eq!(cloned.size, volume.size);
    driver.delete(&volume.id).await.expect("the source is deleted");
    assert_eq!(driver.get(&cloned.id).await.expect("the clone stays"), cloned);
}

async fn the_same_clone_again_is_made_already(site: Site) {
    let driver = site.open();
    site.create(&driver, "a").await;
    let request = site.copying("b", Origin::Volume(named("a")));
    let cloned = done(driver.create(&request).await);
    assert_eq!(already(driver.create(&request).await), cloned);
}

async fn a_clone_of_another_volume_is_another_request(site: Site) {
    let driver = site.open();
    for name in ["one", "two"] {
        site.create(&driver, name).await;
    }
    done(driver.create(&site.copying("b", Origin::Volume(named("one")))).await);
    let other = site.copying("b", Origin::Volume(named("two")));
    refused(driver.create(&other).await, Kind::AlreadyExists);
}

async fn a_missing_volume_can_not_be_cloned(site: Site) {
    let driver = site.open();
    let request = site.copying("b", Origin::Volume(named("a")));
    refused(driver.create(&request).await, Kind::NotFound);
}

async fn a_clone_is_never_smaller_than_its_source(site: Site) {
    let driver = site.open();
    site.create(&driver, "a").await;
    let request = site.copying("b", Origin::Volume(named("a")));
    let smaller = with_size(request, Size(site.small().0 / 2));
    refused(driver.create(&smaller).await, Kind::OutOfRange);
}

async fn a_failed_copy_leaves_its_name_free(site: Site) {
    let driver = site.open();
    let request = site.copying("b", Origin::Volume(named("a")));
    refused(driver.create(&request).await, Kind::NotFound);
    assert_eq!(driver.find(&named("b")).await.expect("it looks"), None);
    site.create(&driver, "a").await;
    done(driver.create(&request).await);
}

async fn a_copy_has_its_sources_parameters_where_nothing_is_said(site: Site) {
    let driver = site.open();
    let said = Parameters {
        mode: Some(0o700),
        uid: Some(999),
        sub_path: Some("data".to_owned()),
        ..Parameters::default()
    };
    done(driver.create(&site.asking("a", &said)).await);
    let asked = Parameters { mode: Some(0o750), ..Parameters::default() };
    let request = site.copying("b", Origin::Volume(named("a")));
    let cloned = done(driver.create(&Create { asked, ..request }).await).parameters;
    assert_eq!((cloned.mode, cloned.uid), (Some(0o750), Some(999)));
    assert_eq!(cloned.sub_path.as_deref(), Some("data"));
}

fn with_size(request: Create, size: Size) -> Create {
    let sized = Parameters { size: Some(size), ..Parameters::default() };
    Create { parameters: sized.or(&request.parameters), asked: sized, ..request }
}

/// The copy has an identifier and a file system UUID that its source has not.
#[track_caller]
fn assert_own(source: &Volume, copy: &Volume) {
    assert_ne!(source.id, copy.id);
    if let Some((source, copy)) = source.filesystem.as_ref().zip(copy.filesystem.as_ref()) {
        assert_eq!(source.fstype, copy.fstype);
        assert_ne!(source.uuid, copy.uuid);
    }
}
