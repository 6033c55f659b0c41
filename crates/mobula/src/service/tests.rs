//! Services of machines that are directories.

use super::*;

const PROGRAM: &str = "/opt/mobula/bin/mobula";

fn service(root: &tempfile::TempDir, part: Part, init: Init) -> Service {
    Service::find(part, root.path(), Some(init)).unwrap()
}

/// Every file and link below a directory, with what is in it.
fn tree(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if let Ok(target) = std::fs::read_link(&path) {
            found.push((path, target.display().to_string()));
        } else if path.is_dir() {
            found.extend(tree(&path));
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

#[test]
fn every_init_system_gets_its_service_and_loses_it_again() {
    for init in [Init::Systemd, Init::OpenRc, Init::SysV] {
        for part in [Part::Agent, Part::Engine] {
            let root = tempfile::tempdir().unwrap();
            let service = service(&root, part, init);
            let changes = service.install(Path::new(PROGRAM), true).unwrap();
            assert_eq!(changes.len(), 2, "{changes:?}");
            let installed = tree(root.path());
            let text = &installed.iter().find(|(path, _)| *path == service.file()).unwrap().1;
            assert!(text.contains(PROGRAM) && text.contains(part.verb()), "{text}");
            for left in ["/usr/local/bin/mobula", "@NAME@", "@PROGRAM@", "@VERB@", "@SOCKET@"] {
                assert!(!text.contains(left), "{left} in {text}");
            }
            let links: Vec<_> = installed.iter().filter(|(path, _)| path.is_symlink()).collect();
            assert!(!links.is_empty(), "{init}");
            for (link, target) in links {
                assert_eq!(service.at(target), service.file(), "{}", link.display());
            }
            let again = service.install(Path::new(PROGRAM), true).unwrap();
            assert_eq!(again, Changes::new(), "{init}: a second time changes nothing");
            assert_eq!(tree(root.path()), installed);
            service.uninstall(false).unwrap();
            assert_eq!(tree(root.path()), Vec::new(), "{init}");
            assert_eq!(service.uninstall(false).unwrap(), Changes::new());
        }
    }
}

#[test]
fn another_path_of_the_program_replaces_the_file() {
    let root = tempfile::tempdir().unwrap();
    let service = service(&root, Part::Agent, Init::Systemd);
    service.install(Path::new(PROGRAM), false).unwrap();
    let changes = service.install(Path::new("/usr/bin/mobula"), false).unwrap();
    assert_eq!(changes, [format!("wrote {}", service.file().display())]);
    let text = std::fs::read_to_string(service.file()).unwrap();
    assert!(text.contains("ExecStart=/usr/bin/mobula start\n"), "{text}");
}

#[test]
fn what_a_package_brought_is_enabled_but_never_written_or_removed() {
    let root = tempfile::tempdir().unwrap();
    let unit = root.path().join("lib/systemd/system/mobula.service");
    std::fs::create_dir_all(unit.parent().unwrap()).unwrap();
    std::fs::write(&unit, "the package's").unwrap();
    let service = service(&root, Part::Agent, Init::Systemd);
    assert_eq!(service.install(Path::new(PROGRAM), false).unwrap().len(), 1);
    assert!(!service.file().exists());
    let link = root.path().join("etc/systemd/system/multi-user.target.wants/mobula.service");
    assert_eq!(std::fs::read_link(link).unwrap(), Path::new("/lib/systemd/system/mobula.service"));
    let error = service.uninstall(false).unwrap_err();
    assert!(error.message().contains("apt-get remove mobula"), "{error}");
    assert_eq!(std::fs::read_to_string(&unit).unwrap(), "the package's");
}

#[test]
fn the_init_system_of_an_image_is_found() {
    let root = tempfile::tempdir().unwrap();
    let error = Init::find(root.path()).unwrap_err();
    assert!(error.message().contains("--init"), "{error}");
    for (file, init) in [
        ("etc/init.d/README", Init::SysV),
        ("sbin/openrc-run", Init::OpenRc),
        ("usr/lib/systemd/systemd", Init::Systemd),
    ] {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(Init::find(root.path()).unwrap(), init);
    }
}

#[test]
fn a_path_that_needs_quoting_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let service = service(&root, Part::Agent, Init::SysV);
    for program in ["/opt/my programs/mobula", "/opt/$(reboot)/mobula", "mobula"] {
        let error = service.install(Path::new(program), false).unwrap_err();
        assert!(error.message().contains("install the program elsewhere"), "{error}");
    }
    assert_eq!(tree(root.path()), Vec::new());
}

#[test]
fn no_unit_has_a_mount_namespace_of_its_own() {
    // systemd.exec(5): each of these makes one.
    let forbidden = "ProtectSystem ProtectHome ProtectProc PrivateTmp PrivateDevices PrivateUsers \
         ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectControlGroups \
         ReadWritePaths ReadOnlyPaths InaccessiblePaths BindPaths BindReadOnlyPaths \
         TemporaryFileSystem RootDirectory RootImage MountFlags DynamicUser ProtectClock \
         RuntimeDirectory StateDirectory ProcSubset";
    for part in [Part::Agent, Part::Engine] {
        let unit = text::render(part, Init::Systemd, Path::new(PROGRAM)).unwrap();
        assert!(unit.lines().any(|line| line == "PrivateMounts=no"));
        for key in forbidden.split_whitespace() {
            let is_set = |line: &str| line.split_once('=').is_some_and(|(name, _)| name == key);
            assert!(!unit.lines().any(is_set), "{key} in {}", part.name());
        }
    }
}

#[test]
fn exit_codes_of_status_are_those_of_lsb() {
    let codes = [Status::Running, Status::Dead, Status::Stopped, Status::Absent].map(Status::code);
    assert_eq!(codes, [0, 1, 3, 4]);
}
