//! An engine with Mobula's images in its registry, on a machine whose `/srv` is the test's own.

use super::make;
use crate::engine::fixture::{kill, ok};
use crate::fixture::{PATIENCE, eventually};
use crate::plugins::bed::{Bed, Kind, Setup};
use crate::plugins::volumes::containers;
use std::borrow::Borrow;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Containers have no network: there is none to be had.
const RUN: &str = "run --network none --stop-signal KILL";

pub struct Lab {
    pub bed: Bed,
}

impl Deref for Lab {
    type Target = Bed;

    fn deref(&self) -> &Bed {
        &self.bed
    }
}

impl Borrow<Bed> for Lab {
    fn borrow(&self) -> &Bed {
        &self.bed
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Bed {
        &mut self.bed
    }
}

impl Lab {
    pub fn start(kind: Kind) -> Self {
        Self::with(kind, Setup::default())
    }

    /// With an engine of containers: dockerd itself, or one beside `mobula engine`.
    pub fn with(kind: Kind, setup: Setup<'_>) -> Self {
        let mut lab = Self { bed: Bed::with(kind, setup) };
        std::fs::create_dir(lab.srv()).unwrap();
        ok(Command::new("mount").arg("--bind").arg(lab.srv()).arg("/srv"));
        containers(&mut lab.bed);
        lab
    }

    /// What the machine has as `/srv`.
    pub fn srv(&self) -> PathBuf {
        self.home.path("srv")
    }

    /// Installs and enables a driver's plugin as `alias` with these settings.
    pub fn add(&self, driver: &str, alias: &str, settings: &str) {
        let name = make::publish(&self.registry, driver);
        self.install(&name, &format!("--alias {alias} {settings}"));
    }

    /// Changes settings of a plugin, as people must: disabled.
    pub fn set(&self, alias: &str, settings: &str) {
        self.disable(alias);
        self.ok(&format!("plugin set {alias} {settings}"));
        self.ok(&format!("plugin enable {alias}"));
    }

    /// By force: dockerd counts known volumes as uses (fact 6), and some are in use.
    pub fn disable(&self, alias: &str) {
        self.ok(&format!("plugin disable -f {alias}"));
    }

    pub fn create(&self, alias: &str, words: &str) {
        self.box_ok(&format!("volume create -d {alias} {words}"));
    }

    /// Creating a volume must fail; what the user sees.
    pub fn create_fails(&self, alias: &str, words: &str) -> String {
        let said = self.box_docker(&format!("volume create -d {alias} {words}")).output().unwrap();
        assert!(!said.status.success(), "{said:?}");
        String::from_utf8(said.stderr).unwrap()
    }

    pub fn script(&self, options: &str, script: &str) -> Command {
        let mut command = self.box_docker(&format!("{RUN} {options} box sh -c"));
        command.arg(script);
        command
    }

    /// Runs a script in a container with this volume at `/d`; what it printed.
    pub fn run(&self, volume: &str, script: &str) -> String {
        ok(&mut self.script(&format!("--rm -v {volume}:/d"), script))
    }

    /// Starts a container with this volume at `/d`, named as the volume.
    pub fn start_container(&self, volume: &str) {
        ok(&mut self.script(&format!("-d --name {volume} -v {volume}:/d"), "sleep 10000"));
    }

    pub fn exec(&self, container: &str, script: &str) -> String {
        ok(self.box_docker(&format!("exec {container} sh -c")).arg(script))
    }

    /// Where the machine sees this plugin's volume mounted.
    pub fn target(&self, alias: &str, driver: &str, volume: &str) -> PathBuf {
        self.propagated(alias).join(driver).join(volume)
    }

    /// The plugin's process goes, as after a crash, and another one answers.
    pub fn kill_plugin(&self, alias: &str) {
        let old = self.pid(alias).unwrap();
        kill("-KILL", old.cast_unsigned());
        eventually("it is back", PATIENCE, || self.pid(alias).is_some_and(|pid| pid != old));
    }

    /// The plugin answers, as it does soon after its engine has started.
    pub fn answers(&self, alias: &str) {
        eventually("the plugin answers", PATIENCE, || {
            self.box_docker("volume ls")
                .output()
                .is_ok_and(|output| output.status.success() && output.stderr.is_empty())
                && self.pid(alias).is_some()
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", "/srv"]).output();
    }
}

/// What `findmnt` shows of the propagation of each mount at this place.
pub fn propagation(target: &Path) -> Vec<String> {
    let mut findmnt = Command::new("findmnt");
    findmnt.args(["-rn", "-o", "PROPAGATION", "-M"]).arg(target);
    let said = findmnt.output().unwrap().stdout;
    String::from_utf8(said).unwrap().lines().map(str::to_owned).collect()
}

/// The loop devices of an image, by its inode: names are those of another mount namespace.
pub fn devices(image: &Path) -> Vec<String> {
    let said = ok(Command::new("losetup").args(["-nO", "NAME", "-j"]).arg(image));
    said.lines().map(str::to_owned).collect()
}
