//! Cases about volumes as such: create, find, get, list, delete.

use super::{Case, Site, already, always, cases, done, named, refused};
use error::Kind;
use std::sync::Arc;
use volume::driver::Page;
use volume::{Driver, Parameters, Size, Volume, VolumeId};

pub(super) fn cases() -> [Case; 11] {
    cases![always;
        a_volume_is_created_as_it_was_asked_for,
        the_same_request_again_finds_the_same_volume,
        a_request_that_says_less_finds_the_volume,
        the_same_name_with_other_options_says_what_differs,
        a_missing_volume_is_none_to_find_and_an_error_to_get,
        a_deleted_volume_is_gone_and_its_name_is_free,
        a_missing_volume_is_deleted_already,
        a_listing_is_sorted_and_repeats_itself,
        a_listing_comes_in_parts_of_the_size_asked_for,
        a_page_goes_on_behind_an_entry_that_was_deleted,
        a_page_token_of_somebody_else_is_refused,
    ]
}

async fn a_volume_is_created_as_it_was_asked_for(site: Site) {
    let driver = site.open();
    let request = site.request("a");
    let volume = done(driver.create(&request).await);
    assert_eq!(volume.name, request.name);
    assert_eq!(volume.labels, request.labels);
    assert_eq!(request.asked.differences(&volume.parameters), Vec::<String>::new());
    assert_eq!(driver.capabilities().size, volume.size.is_some(), "a size is enforced or absent");
    let fstype = volume.filesystem.as_ref().map(|filesystem| filesystem.fstype);
    assert_eq!(fstype, request.asked.fs_type);
    assert_eq!(driver.find(&request.name).await.expect("it looks"), Some(volume.clone()));
    assert_eq!(driver.get(&volume.id).await.expect("it is there"), volume);
}

async fn the_same_request_again_finds_the_same_volume(site: Site) {
    let driver = site.open();
    let first = site.create(&driver, "a").await;
    assert_eq!(already(driver.create(&site.request("a")).await), first);
}

async fn a_request_that_says_less_finds_the_volume(site: Site) {
    let driver = site.open();
    let first = site.create(&driver, "a").await;
    let request = site.request("a");
    let less = volume::Create { asked: Parameters::default(), ..request };
    assert_eq!(already(driver.create(&less).await), first);
}

async fn the_same_name_with_other_options_says_what_differs(site: Site) {
    let driver = site.open();
    let said = |mode| Parameters { mode: Some(mode), ..Parameters::default() };
    driver.create(&site.asking("a", &said(0o750))).await.expect("the volume is created");
    let error = refused(driver.create(&site.asking("a", &said(0o700))).await, Kind::AlreadyExists);
    assert!(error.message().contains("mode is 0750, not 0700"), "{error}");
    if site.honours("size") {
        let larger = Parameters { size: Some(Size(2 * site.small().0)), ..Parameters::default() };
        let error = refused(driver.create(&site.asking("a", &larger)).await, Kind::AlreadyExists);
        assert!(error.message().contains("size is "), "{error}");
    }
    let kept = driver.find(&named("a")).await.expect("it looks").expect("it is there");
    assert_eq!(kept.parameters.mode, Some(0o750));
}

async fn a_missing_volume_is_none_to_find_and_an_error_to_get(site: Site) {
    let driver = site.open();
    site.create(&driver, "other").await;
    assert_eq!(driver.find(&named("a")).await.expect("it looks"), None);
    refused(driver.get(&VolumeId::new("a")).await, Kind::NotFound);
}

async fn a_deleted_volume_is_gone_and_its_name_is_free(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    let kept = site.create(&driver, "b").await;
    done(driver.delete(&volume.id).await);
    assert_eq!(driver.find(&volume.name).await.expect("it looks"), None);
    refused(driver.get(&volume.id).await, Kind::NotFound);
    already(driver.delete(&volume.id).await);
    assert_eq!(names(&driver, &Page::default()).await, ["b"]);
    assert_eq!(driver.get(&kept.id).await.expect("the other one stays"), kept);
    done(driver.create(&site.request("a")).await);
}

async fn a_missing_volume_is_deleted_already(site: Site) {
    let driver = site.open();
    already(driver.delete(&VolumeId::new("a")).await);
}

async fn a_listing_is_sorted_and_repeats_itself(site: Site) {
    let driver = site.open();
    for name in ["c", "a", "B", "b", "a.1"] {
        site.create(&driver, name).await;
    }
    let first = names(&driver, &Page::default()).await;
    let mut sorted = first.clone();
    sorted.sort();
    assert_eq!(first, sorted);
    assert_eq!(first.len(), 5);
    assert_eq!(names(&driver, &Page::default()).await, first);
}

async fn a_listing_comes_in_parts_of_the_size_asked_for(site: Site) {
    let driver = site.open();
    for name in ["a", "b", "c", "d", "e"] {
        site.create(&driver, name).await;
    }
    let mut page = Page { limit: 2, token: None };
    let mut parts = Vec::new();
    loop {
        let listed = driver.list(&page).await.expect("it is listed");
        parts.push(spelled(&listed.entries));
        page.token = listed.next;
        if page.token.is_none() {
            break;
        }
    }
    assert_eq!(parts, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
}

async fn a_page_goes_on_behind_an_entry_that_was_deleted(site: Site) {
    let driver = site.open();
    for name in ["a", "b", "c"] {
        site.create(&driver, name).await;
    }
    let first = driver.list(&Page { limit: 2, token: None }).await.expect("it is listed");
    driver.delete(&first.entries[1].id).await.expect("it is deleted");
    assert_eq!(names(&driver, &Page { limit: 2, token: first.next }).await, ["c"]);
}

async fn a_page_token_of_somebody_else_is_refused(site: Site) {
    let driver = site.open();
    site.create(&driver, "a").await;
    let page = Page { limit: 1, token: Some("\u{0}no token of this driver".to_owned()) };
    refused(driver.list(&page).await, Kind::Aborted);
}

async fn names(driver: &Arc<dyn Driver>, page: &Page) -> Vec<String> {
    spelled(&driver.list(page).await.expect("it is listed").entries)
}

fn spelled(volumes: &[Volume]) -> Vec<String> {
    volumes.iter().map(|volume| volume.name.to_string()).collect()
}
