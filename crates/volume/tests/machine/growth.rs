//! Expansion: at once where the kernel can, otherwise with the next mount.

use super::{Machine, mounted, of, read, small, unmounted, write};
use error::Kind;
use host::{Disks, Fstype, Mounts};
use testkit::root::is_root;
use testkit::service::volume;
use volume::orchestrator::Request;
use volume::{Parameters, Size, drivers};

/// At least this much of the new size is there for files.
fn is_grown(machine: &Machine, target: &std::path::Path, size: Size) -> bool {
    machine.linux.usage(target).unwrap().total > size.0 * 3 / 4
}

/// Larger than what volumes of this type have here.
fn larger(fstype: Fstype) -> Size {
    Size((2 * small(fstype).0).max(fstype.smallest_growth()))
}

#[tokio::test]
async fn a_mounted_volume_grows_at_once_or_says_why_not() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let name = fstype.name();
        service.create(of(name, fstype)).await.unwrap();
        let target = mounted(&service, name).await;
        write(&target, "kept");
        let grown = service.expand(&volume(name), larger(fstype)).await;
        if machine.linux.can_grow(fstype, true) {
            assert!(grown.unwrap().into_inner().in_effect);
        } else {
            let error = grown.unwrap_err();
            assert_eq!(error.kind(), Kind::FailedPrecondition);
            assert!(error.message().contains("CAP_SYS_RESOURCE"), "{error}");
            assert!(!is_grown(&machine, &target, larger(fstype)));
            unmounted(&service, name).await;
            let grown = service.expand(&volume(name), larger(fstype)).await.unwrap();
            assert!(!grown.into_inner().in_effect);
            mounted(&service, name).await;
        }
        assert!(is_grown(&machine, &target, larger(fstype)), "{fstype}");
        assert_eq!(read(&target), "kept");
        unmounted(&service, name).await;
    }
    machine.assert_nothing_left();
}

#[tokio::test]
async fn an_expansion_killed_between_disk_and_file_system_is_finished_by_the_next_mount() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    let driver = machine.driver(&drivers::r#loop::SPEC);
    for fstype in Fstype::ALL {
        let name = fstype.name();
        let made = service.create(of(name, fstype)).await.unwrap().into_inner();
        let target = mounted(&service, name).await;
        write(&target, "kept");
        unmounted(&service, name).await;
        driver.expand(&made.id, larger(fstype)).await.unwrap();
        for _ in 0..2 {
            mounted(&service, name).await;
            assert!(is_grown(&machine, &target, larger(fstype)), "{fstype}");
            assert_eq!(read(&target), "kept");
            unmounted(&service, name).await;
        }
        let covers = driver.get(&made.id).await.unwrap().filesystem.unwrap().covers;
        assert_eq!(covers, Some(larger(fstype)));
    }
    machine.assert_nothing_left();
}

/// A file system that is mounted read-only cannot grow; it must not be lost to its users.
#[tokio::test]
async fn a_read_only_volume_that_was_expanded_is_still_mounted() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let name = fstype.name();
        let request = of(name, fstype);
        let asked = Parameters { read_only: Some(true), ..request.asked.clone() };
        service.create(Request { asked, ..request }).await.unwrap();
        mounted(&service, name).await;
        unmounted(&service, name).await;
        service.expand(&volume(name), larger(fstype)).await.unwrap();
        mounted(&service, name).await;
        unmounted(&service, name).await;
    }
    machine.assert_nothing_left();
}

#[tokio::test]
async fn a_copy_may_be_larger_than_its_source() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let (name, copy) = (fstype.name(), format!("{fstype}-copy"));
        service.create(of(name, fstype)).await.unwrap();
        write(&mounted(&service, name).await, "kept");
        unmounted(&service, name).await;
        let asked = Parameters { size: Some(larger(fstype)), ..Parameters::default() };
        let origin = Some(volume::Origin::Volume(volume(name)));
        let request = Request { asked, origin, ..of(&copy, fstype) };
        service.create(request).await.unwrap();
        let target = mounted(&service, &copy).await;
        assert_eq!(read(&target), "kept");
        assert!(is_grown(&machine, &target, larger(fstype)), "{fstype}");
        unmounted(&service, &copy).await;
    }
    machine.assert_nothing_left();
}

/// The kernel resizes no btrfs to less than 256 MiB: the device must not grow without it.
#[tokio::test]
async fn a_size_that_a_file_system_can_not_be_grown_to_is_refused_at_once() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    service.create(of("a", Fstype::Btrfs)).await.unwrap();
    mounted(&service, "a").await;
    unmounted(&service, "a").await;
    let error = service.expand(&volume("a"), Size::mib(200)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::OutOfRange);
    assert!(error.message().contains("give 256MiB or more"), "{error}");
    let origin = Some(volume::Origin::Volume(volume("a")));
    let asked = Parameters { size: Some(Size::mib(200)), ..Parameters::default() };
    let copy = Request { asked, origin, ..of("b", Fstype::Btrfs) };
    assert_eq!(service.create(copy).await.unwrap_err().kind(), Kind::OutOfRange);
    mounted(&service, "a").await;
    unmounted(&service, "a").await;
    machine.assert_nothing_left();
}

/// A record that is lost, or copied with its directory, says nothing of how far an expansion came.
#[tokio::test]
async fn an_expansion_killed_half_way_is_finished_though_the_record_was_lost() {
    if !is_root() {
        return;
    }
    let machine = Machine::new();
    let service = machine.service();
    for fstype in Fstype::ALL {
        let name = fstype.name();
        let made = service.create(of(name, fstype)).await.unwrap().into_inner();
        write(&mounted(&service, name).await, "kept");
        unmounted(&service, name).await;
        let driver = machine.driver(&drivers::r#loop::SPEC);
        driver.expand(&made.id, larger(fstype)).await.unwrap();
        super::tear(&machine, name);
        let target = mounted(&service, name).await;
        assert!(is_grown(&machine, &target, larger(fstype)), "{fstype}");
        assert_eq!(read(&target), "kept");
        unmounted(&service, name).await;
    }
    machine.assert_nothing_left();
}
