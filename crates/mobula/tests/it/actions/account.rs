//! A simulated account with two machines in two zones, and a home whose services are those machines.

use crate::fixture::{Home, PATIENCE, eventually, is_root};
use ebs_sim::{Config, Delays, Disks, Fault, InstanceConfig, Simulator, Volume};
use std::ops::Deref;
use std::sync::Arc;
use tokio::runtime::Runtime;
use volume::cloud::aws;
use volume::metrics::Calls;

pub const HERE: &str = "i-0aaaaaaaaaaaaaaa0";
pub const FAR: &str = "i-0bbbbbbbbbbbbbbb0";
/// A machine in the zone of `HERE`, without a service.
pub const NEAR: &str = "i-0ccccccccccccccc0";

/// The account, and the home below which its disks are.
pub struct Account {
    home: Home,
    sim: Option<Simulator>,
    runtime: Runtime,
}

impl Deref for Account {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl Account {
    /// An account, and services `here` and `far` besides `mobula`, which has driver `loop`.
    pub fn new(delays: Delays) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let home = Home::new();
        let far = InstanceConfig::new(FAR).zone("us-east-1b");
        let disks = Disks { images: home.path("images"), devices: home.path("devices") };
        let instances = vec![InstanceConfig::new(HERE), far, InstanceConfig::new(NEAR)];
        let config = Config { instances, disks: Some(disks), delays, ..Config::default() };
        // Its threads see what this one mounts, as they are started by it.
        let runtime = Runtime::new().unwrap();
        let sim = runtime.block_on(Simulator::start(config)).unwrap();
        let account = Self { home, sim: Some(sim), runtime };
        account.configured("");
        Some(account)
    }

    /// The same services, `here` with further `options`.
    pub fn configured(&self, options: &str) {
        let (here, far) = (self.sim().endpoint(HERE), self.sim().endpoint(FAR));
        self.home.configure(&format!(
            "services:\n  here: {{driver: ebs, options: {{simulator: \"{here}\"{options}}}}}\n  \
             far: {{driver: ebs, options: {{simulator: \"{far}\"}}}}\n  \
             mobula: {{driver: loop, volume: {{size: 16MiB}}}}\n"
        ));
    }

    pub fn sim(&self) -> &Simulator {
        self.sim.as_ref().unwrap()
    }

    pub fn inject(&self, fault: &str) {
        let fault: Fault = serde_json::from_str(fault).unwrap();
        self.sim().inject(fault);
    }

    /// Somebody attaches a volume to a machine.
    pub fn attach(&self, id: &str, instance: &str) {
        let keys = ebs_sim::Credentials::default();
        let settings = aws::Settings {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.sim().endpoint(HERE)),
            access_key: Some(keys.access_key),
            secret_key: Some(keys.secret_key),
            ..aws::Settings::default()
        };
        let console =
            aws::Ec2::new(Arc::new(aws::Client::new(settings, Calls::default())), Vec::new());
        self.runtime.block_on(console.attach_volume(id, instance, "/dev/sdf")).unwrap();
    }

    /// The volume that has this name now.
    pub fn volume(&self, name: &str) -> Option<Volume> {
        let volumes = self.sim().volumes().into_iter();
        let mut named = volumes.filter(|v| v.tags.get("Name").is_some_and(|tag| tag == name));
        named.next()
    }

    /// The zone of the volume that has this name now.
    pub fn zone(&self, name: &str) -> String {
        self.volume(name).map(|volume| volume.zone).unwrap_or_default()
    }

    /// Runs `test` without an agent, and with one; it also gets the name of a volume of its own.
    pub fn both(&self, test: impl Fn(&Self, &str)) {
        test(self, "alone");
        let agent = self.start();
        test(self, "served");
        agent.stop();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(sim) = self.sim.take() {
            let ended = self.runtime.block_on(sim.shutdown());
            if !std::thread::panicking() {
                ended.unwrap();
                eventually("loop devices are gone", PATIENCE, || self.home.loops().is_empty());
            }
        }
    }
}
