//! Cases about a driver that is opened again: after the end of the program, and after its death.

use super::{Case, Site, already, cases, done, named};
use volume::driver::Page;
use volume::{Capabilities, Parameters};

pub(super) fn cases() -> Vec<Case> {
    cases![|capabilities: &Capabilities| !capabilities.ephemeral;
        name_parameters_and_labels_are_kept_with_the_volume,
        a_deleted_volume_stays_deleted,
        what_was_never_finished_is_not_there_and_is_no_obstacle,
    ]
    .into()
}

async fn name_parameters_and_labels_are_kept_with_the_volume(site: Site) {
    let said = Parameters {
        uid: Some(999),
        gid: Some(998),
        mode: Some(0o700),
        mount_options: Some(vec!["noatime".to_owned(), "nodev".to_owned()]),
        sub_path: Some("data/x".to_owned()),
        read_only: Some(false),
        ..Parameters::default()
    };
    let request = site.asking("a", &said);
    let volume = done(site.open().create(&request).await);
    let again = site.open();
    assert_eq!(again.find(&request.name).await.expect("it looks"), Some(volume.clone()));
    assert_eq!(volume.parameters.or(&said), volume.parameters);
    assert_eq!(said.differences(&volume.parameters), Vec::<String>::new());
    assert_eq!(volume.labels, request.labels);
    assert_eq!(already(again.create(&request).await), volume);
}

async fn a_deleted_volume_stays_deleted(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    done(driver.delete(&volume.id).await);
    assert_eq!(site.open().find(&volume.name).await.expect("it looks"), None);
}

/// Drivers that keep their volumes in files build them under a hidden name.
async fn what_was_never_finished_is_not_there_and_is_no_obstacle(site: Site) {
    let driver = site.open();
    let volume = site.create(&driver, "a").await;
    drop(driver);
    for left in [".new-b", ".gone-c"] {
        let left = site.volumes().join(left).join("data");
        std::fs::create_dir_all(&left).expect("a left-over");
        std::fs::write(left.join("image"), "half").expect("a left-over");
    }
    let driver = site.open();
    let listed = driver.list(&Page::default()).await.expect("it is listed");
    assert_eq!(listed.entries, [volume]);
    for name in ["b", "c"] {
        assert_eq!(driver.find(&named(name)).await.expect("it looks"), None);
        done(driver.create(&site.request(name)).await);
    }
}
