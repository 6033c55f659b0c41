//! A crash of the program that can be placed before and after every call that changes the machine
//! or the back end: there everything stops, and the test goes on with what is left.

use crate::hooked::{Hook, Hooked};
use async_trait::async_trait;
use error::Result;
use host::{
    Attach, Content, Disks, Format, Fstype, Host, Mount, MountRequest, Mounts, Outcome, Usage, User,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;
use volume::Driver;

/// Operations of a driver that only look.
const LOOKS: [&str; 5] = ["node", "get", "find", "list", "list_snapshots"];

/// A crash to come; clones are the same crash.
#[derive(Clone)]
pub struct Crash(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    ended: Condvar,
    crashed: watch::Sender<bool>,
}

struct State {
    /// How many points are passed before everything stops.
    left: usize,
    ended: bool,
    last: String,
}

impl Crash {
    /// A crash at the `nth` point, 1 for the first.
    #[must_use]
    pub fn at(nth: usize) -> Self {
        let state = State { left: nth, ended: false, last: String::new() };
        let crashed = watch::Sender::new(false);
        Self(Arc::new(Inner { state: Mutex::new(state), ended: Condvar::new(), crashed }))
    }

    /// `host`, until the crash.
    #[must_use]
    pub fn host(&self, host: Arc<dyn Host>) -> Arc<dyn Host> {
        Arc::new(Crashing { host, crash: self.clone() })
    }

    /// `driver`, until the crash.
    #[must_use]
    pub fn driver(&self, driver: Arc<dyn Driver>) -> Arc<dyn Driver> {
        Arc::new(Hooked::new(driver, self.clone()))
    }

    /// Runs `work` until it ends or the crash happens; `None` when it crashed. What was running is
    /// dropped where it stands.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut crashed = self.0.crashed.subscribe();
        let task = tokio::spawn(work);
        let abort = task.abort_handle();
        let answer = tokio::select! {
            answer = task => Some(answer.expect("the work does not panic")),
            _ = crashed.wait_for(|crashed| *crashed) => None,
        };
        abort.abort();
        // Threads that stand still would keep the runtime from ending.
        self.state().ended = true;
        self.0.ended.notify_all();
        answer
    }

    /// Where it happened, or the last point passed.
    #[must_use]
    pub fn place(&self) -> String {
        self.state().last.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the program is dead at this point.
    fn strikes(&self, point: &str) -> bool {
        let mut state = self.state();
        if state.left == 0 {
            return true;
        }
        state.left -= 1;
        point.clone_into(&mut state.last);
        if state.left == 0 {
            self.0.crashed.send_replace(true);
        }
        state.left == 0
    }

    /// A point of the machine: the thread stands still and comes to nothing.
    fn stop_thread(&self, point: &str) {
        if !self.strikes(point) {
            return;
        }
        let mut state = self.state();
        while !state.ended {
            state = self.0.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        std::panic::resume_unwind(Box::new("crashed"));
    }

    async fn stop_task(&self, point: &str) {
        if self.strikes(point) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Hook for Crash {
    async fn before(&self, operation: &'static str) -> Result<()> {
        if !LOOKS.contains(&operation) {
            self.stop_task(&format!("before {operation}")).await;
        }
        Ok(())
    }

    async fn after(&self, operation: &'static str) -> Result<()> {
        if !LOOKS.contains(&operation) {
            self.stop_task(&format!("after {operation}")).await;
        }
        Ok(())
    }
}

struct Crashing {
    host: Arc<dyn Host>,
    crash: Crash,
}

impl Crashing {
    fn act<T>(&self, what: &str, call: impl FnOnce(&dyn Host) -> T) -> T {
        self.crash.stop_thread(&format!("before {what}"));
        let answer = call(&*self.host);
        self.crash.stop_thread(&format!("after {what}"));
        answer
    }
}

impl Mounts for Crashing {
    fn table(&self) -> Result<Vec<Mount>> {
        self.host.table()
    }

    fn at(&self, target: &Path) -> Result<Option<Mount>> {
        self.host.at(target)
    }

    fn mount(&self, request: &MountRequest) -> Result<Mount> {
        self.act("mount", |host| host.mount(request))
    }

    fn check_options(&self, fstype: Option<&str>, options: &[String]) -> Result<()> {
        self.host.check_options(fstype, options)
    }

    fn unmount(&self, target: &Path) -> Result<Outcome> {
        self.act("unmount", |host| host.unmount(target))
    }

    fn ensure_shared(&self, dir: &Path) -> Result<Outcome> {
        self.act("ensure_shared", |host| host.ensure_shared(dir))
    }

    fn other_users(&self, mount: &Mount) -> Result<Vec<User>> {
        self.host.other_users(mount)
    }

    fn freeze(&self, target: &Path) -> Result<Box<dyn Send>> {
        self.act("freeze", |host| host.freeze(target))
    }

    fn thaw(&self, target: &Path) -> Result<Outcome> {
        self.act("thaw", |host| host.thaw(target))
    }

    fn shut_down(&self, target: &Path) -> Result<()> {
        self.act("shut_down", |host| host.shut_down(target))
    }

    fn usage(&self, target: &Path) -> Result<Usage> {
        self.host.usage(target)
    }
}

impl Disks for Crashing {
    fn wait_for(
        &self,
        candidates: &[PathBuf],
        serial: Option<&str>,
        timeout: Duration,
    ) -> Result<PathBuf> {
        self.host.wait_for(candidates, serial, timeout)
    }

    fn size(&self, device: &Path) -> Result<u64> {
        self.host.size(device)
    }

    fn probe(&self, device: &Path) -> Result<Content> {
        self.host.probe(device)
    }

    fn superblock(&self, device: &Path, fstype: Fstype) -> Result<Option<host::Superblock>> {
        self.host.superblock(device, fstype)
    }

    fn is_held(&self, device: &Path) -> Result<bool> {
        self.host.is_held(device)
    }

    fn format(&self, device: &Path, format: &Format) -> Result<()> {
        self.act("format", |host| host.format(device, format))
    }

    fn rehearse(&self, format: &Format, size: u64) -> Result<()> {
        self.host.rehearse(format, size)
    }

    fn check(&self, device: &Path, fstype: Fstype) -> Result<()> {
        self.act("check", |host| host.check(device, fstype))
    }

    fn set_uuid(&self, device: &Path, fstype: Fstype, uuid: Uuid) -> Result<Outcome> {
        self.act("set_uuid", |host| host.set_uuid(device, fstype, uuid))
    }

    fn grow(&self, device: &Path, fstype: Fstype, mounted_at: Option<&Path>) -> Result<()> {
        self.act("grow", |host| host.grow(device, fstype, mounted_at))
    }

    fn can_grow(&self, fstype: Fstype, mounted: bool) -> bool {
        self.host.can_grow(fstype, mounted)
    }

    fn find_image(&self, image: &Path) -> Result<Option<PathBuf>> {
        self.host.find_image(image)
    }

    fn attach_image(&self, image: &Path, attach: Attach) -> Result<Outcome<PathBuf>> {
        self.act("attach_image", |host| host.attach_image(image, attach))
    }

    fn detach_image(&self, image: &Path) -> Result<Outcome> {
        self.act("detach_image", |host| host.detach_image(image))
    }

    fn resize_image(&self, image: &Path, bytes: u64) -> Result<()> {
        self.act("resize_image", |host| host.resize_image(image, bytes))
    }
}
