//! `mobula ebs-sim`: EC2's volumes on this machine, to try the driver `ebs` and to test one's own
//! stacks. What is simulated is in crate `ebs-sim`.

use super::runtime;
use crate::cli::failure::Outcome;
use crate::paths::Paths;
use clap::Args;
use ebs_sim::{Config, Disks, InstanceConfig, Simulator};
use error::{Error, IoContext, Result};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  mobula ebs-sim
  mobula ebs-sim --instance i-0a --instance i-0b:us-east-1b:m5.large
  mobula ebs-sim --scenario slow.yml
  curl -X POST http://127.0.0.1:4599/_sim/instances/i-0a/terminate

Each instance has an address of its own; a service on that machine needs one line:
  services: { mobula: { driver: ebs, options: { simulator: http://127.0.0.1:4599 } } }

SIGTERM ends it; volumes, snapshots and attachments are there again at the next start.";

/// Simulate Amazon EBS on this machine, with real disks.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EbsSim {
    /// Where the first instance's listener is; the others take the ports behind it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4599")]
    listen: SocketAddr,

    /// An instance of the account: ID[:ZONE[:TYPE]] (repeatable).
    #[arg(long = "instance", value_name = "INSTANCE", value_parser = instance)]
    instances: Vec<InstanceConfig>,

    /// The region of the account.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    /// Where the contents of volumes and snapshots are kept.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// Where the disks of instances appear.
    #[arg(long, value_name = "DIR")]
    devices: Option<PathBuf>,

    /// No disks: volumes are attached, and appear nowhere. Needs no root.
    #[arg(long)]
    no_disks: bool,

    /// Delays, limits, faults and all else, from a file in YAML or JSON.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
}

impl EbsSim {
    /// Runs the simulator until it is told to stop.
    pub(crate) fn run(&self) -> Outcome {
        let is_terminal = std::io::stderr().is_terminal();
        let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(is_terminal);
        let _ = log.try_init();
        let config = self.config(&Paths::from_env())?;
        runtime(Some(2))?.block_on(serve(config))?;
        Ok(ExitCode::SUCCESS)
    }

    fn config(&self, paths: &Paths) -> Result<Config> {
        let mut config = match &self.scenario {
            Some(file) => read(file)?,
            None => Config { listen: self.listen, ..Config::default() },
        };
        if config.listen.port() == 0 {
            config.listen = self.listen;
        }
        if let Some(region) = &self.region {
            config.region.clone_from(region);
        }
        if !self.instances.is_empty() {
            config.instances.clone_from(&self.instances);
        }
        if config.instances.is_empty() {
            config.instances =
                ["a", "b"].map(|last| InstanceConfig::new(format!("i-0{last}"))).into();
        }
        let made = || Disks {
            images: self.images.clone().unwrap_or_else(|| paths.state().join("ebs-sim")),
            devices: self
                .devices
                .clone()
                .unwrap_or_else(|| paths.home().join("dev/mobula-ebs-sim")),
        };
        config.disks = match self.no_disks {
            true => None,
            false => config.disks.or_else(|| Some(made())),
        };
        Ok(config)
    }
}

fn read(file: &Path) -> Result<Config> {
    let about = || format!("read the scenario {}", file.display());
    let text = std::fs::read_to_string(file).doing(about)?;
    serde_saphyr::from_str(&text).map_err(|failure| {
        // What follows shows the place in the file, over several lines.
        let said = failure.to_string();
        let first = said.lines().next().unwrap_or("it cannot be read");
        Error::invalid_argument(format!("{}: {first}", file.display()))
    })
}

/// Reads `ID[:ZONE[:TYPE]]`.
fn instance(text: &str) -> std::result::Result<InstanceConfig, String> {
    let mut parts = text.splitn(3, ':');
    let id = parts.next().filter(|id| !id.is_empty()).ok_or("write it as ID:ZONE:TYPE")?;
    let instance = InstanceConfig::new(id);
    let instance = match parts.next().filter(|zone| !zone.is_empty()) {
        Some(zone) => instance.zone(zone),
        None => instance,
    };
    Ok(match parts.next() {
        Some(kind) => instance.kind(kind),
        None => instance,
    })
}

async fn serve(config: Config) -> Result<()> {
    let listen = |kind| signal(kind).doing(|| "listen for signals");
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let simulator = Simulator::start(config).await?;
    for instance in simulator.instances() {
        let endpoint = simulator.endpoint(&instance.id);
        println!("{} ({}, {}) at {endpoint}", instance.id, instance.zone, instance.kind);
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    simulator.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sim: EbsSim,
    }

    fn config(line: &str) -> Result<Config> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().sim.config(&Paths::at("/home"))
    }

    #[test]
    fn there_are_two_instances_with_disks_when_nothing_is_said() {
        let config = config("").unwrap();
        let ids: Vec<_> = config.instances.iter().map(|instance| instance.id.as_str()).collect();
        assert_eq!(ids, ["i-0a", "i-0b"]);
        let disks = config.disks.unwrap();
        assert_eq!(disks.images, Path::new("/home/var/lib/mobula/ebs-sim"));
        assert_eq!(disks.devices, Path::new("/home/dev/mobula-ebs-sim"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:4599");
    }

    #[test]
    fn instances_are_said_with_zone_and_type() {
        let config =
            config("--instance i-1 --instance i-2:us-east-1b:t3.micro --no-disks").unwrap();
        assert_eq!(config.instances[1].zone.as_deref(), Some("us-east-1b"));
        assert_eq!(config.instances[1].kind, "t3.micro");
        assert!(config.disks.is_none());
    }

    #[test]
    fn a_scenario_is_read_and_flags_win() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text =
            "delays:\n  attach: 100\ninstances: [{id: i-9}]\nscenario:\n- effect: throttle\n";
        std::fs::write(&file, text).unwrap();
        let path = file.path().display();
        let config = config(&format!("--scenario {path} --region eu-west-1")).unwrap();
        assert_eq!((config.delays.attach, config.region.as_str()), (100, "eu-west-1"));
        assert_eq!((config.instances[0].id.as_str(), config.scenario.len()), ("i-9", 1));
        std::fs::write(&file, "dellays: {}").unwrap();
        let error = super::tests::config(&format!("--scenario {path}")).expect_err("misspelt");
        assert!(error.message().contains("dellays"), "{error}");
    }
}
