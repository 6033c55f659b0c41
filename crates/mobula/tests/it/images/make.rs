//! The images, made by the build job itself out of this very program.

use crate::engine::fixture::ok;
use crate::fixture::Home;
use crate::plugins::registry::{CONFIG, DOCKER, GZIP, Registry};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the build job leaves for each driver: `DIR/DRIVER/{config.json,rootfs}` and the OCI layout
/// `DIR/DRIVER.layout`. Made once by each run of the tests, in the place of the run before.
pub fn made() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
        let _ = std::fs::remove_dir_all(&dir);
        ok(&mut plugin_image("all", program(), &dir));
        for archive in std::fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path()) {
            if archive.extension().is_some_and(|suffix| suffix == "tar") {
                let layout = archive.with_extension("layout");
                std::fs::create_dir(&layout).unwrap();
                ok(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&layout));
            }
        }
        dir
    })
}

/// `cargo xtask plugin-image` of this driver with this program.
pub fn plugin_image(driver: &str, program: &Path, out: &Path) -> Command {
    let mut command = Command::new(xtask());
    command.args(["plugin-image", driver, "--binary"]).arg(program).arg("--out").arg(out);
    // Docker's credentials are looked for there.
    command.env("HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// This program, without what debuggers need. Of no test's home: whoever makes one is in another
/// mount namespace afterwards.
pub fn program() -> &'static Path {
    static STRIPPED: OnceLock<PathBuf> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        let stripped = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mobula");
        let program = env!("CARGO_BIN_EXE_mobula");
        ok(Command::new("strip").arg("-o").arg(&stripped).arg(program));
        stripped
    })
}

/// Another version of this program: the same, with a byte behind its end.
pub fn next_program(home: &Home) -> PathBuf {
    let next = home.path("next");
    let mut content = std::fs::read(program()).unwrap();
    content.push(0);
    std::fs::write(&next, content).unwrap();
    next
}

/// The build job, built as the program that is tested.
fn xtask() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let xtask = Path::new(env!("CARGO_BIN_EXE_mobula")).with_file_name("xtask");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        cargo.args(["build", "--quiet", "--locked", "-p", "xtask"]);
        // The same features, or everything would be built twice.
        cargo.args(cfg!(feature = "failpoints").then_some("--features=mobula/failpoints"));
        let is_release = xtask.parent().is_some_and(|dir| dir.ends_with("release"));
        ok(cargo.args(is_release.then_some("--release")));
        xtask
    })
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The content of a blob of the layout.
fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    std::fs::read(layout.join("blobs").join(digest.replace(':', "/"))).unwrap()
}

/// The manifest of a driver's image.
pub fn manifest(driver: &str) -> Value {
    let layout = made().join(driver).with_extension("layout");
    let index = json_of(&layout.join("index.json"));
    serde_json::from_slice(&blob(&layout, &index["manifests"][0])).unwrap()
}

/// Puts a driver's image into a registry, without making it once more; the name to install it by.
pub fn publish(registry: &Registry, driver: &str) -> String {
    let repository = format!("mobula/{driver}");
    let layout = made().join(driver).with_extension("layout");
    let manifest = manifest(driver);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1, "dockerd takes no more");
    let config = registry.blob(&repository, CONFIG, &blob(&layout, &manifest["config"]));
    let layer = registry.blob(&repository, GZIP, &blob(&layout, &layers[0]));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": DOCKER, "config": config, "layers": [layer],
    });
    registry.manifest(&repository, "latest", &manifest);
    registry.name(&repository)
}
