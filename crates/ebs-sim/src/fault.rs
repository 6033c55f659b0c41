//! Faults as data: what goes wrong, for which calls, how often, and how many times. Chance comes from
//! a seed, a stream of its own for each fault, so that a run can be repeated. What an effect does is
//! done elsewhere.

use crate::pattern;
use serde::{Deserialize, Serialize};

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// Only calls of this action; `*` and `?` stand for any characters.
    #[serde(default)]
    pub action: Option<String>,
    /// Only calls of this instance, or about it.
    #[serde(default)]
    pub instance: Option<String>,
    /// Only calls that name this volume.
    #[serde(default)]
    pub volume: Option<String>,
    /// How likely it is, of 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// How many times it happens; none: until it is cleared.
    #[serde(default)]
    pub times: Option<u64>,
}

fn always() -> f64 {
    1.0
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// `RequestLimitExceeded`, 503.
    Throttle,
    /// This error.
    Error {
        /// Its code.
        code: String,
        /// Its HTTP status.
        status: u16,
        /// Its message.
        #[serde(default)]
        message: String,
    },
    /// The call waits before anything happens.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// The connection is closed before anything was done.
    Reset,
    /// The work is done, and the connection is closed without an answer.
    DropAnswer,
    /// The answer comes a byte at a time.
    Drip {
        /// Milliseconds between two bytes.
        ms: u64,
    },
    /// Success is answered and nothing done. Reading calls answer what was true when the fault was
    /// set.
    Lie,
    /// AttachVolume: stays `attaching`. DetachVolume: stays `busy`, unless forced. CreateSnapshot and
    /// CopySnapshot: stays `pending`. Until faults are cleared.
    Stick,
    /// What is created (a volume, a snapshot) ends in state `error`.
    Fail,
    /// The KMS key is disabled: an encrypted volume or snapshot that is created ends in state
    /// `error`, and such a volume is not attached.
    KmsKeyDisabled,
    /// The action is not allowed: `UnauthorizedOperation`.
    Deny,
    /// The clock of the cloud differs from that of the caller by this.
    ClockSkew {
        /// Milliseconds, positive when the cloud's clock is ahead.
        ms: i64,
    },
    /// The credentials of the call, which an instance got from its metadata, expire with it.
    ExpireCredentials,
    /// The instance is cut off from the network, when the fault is set: its listener accepts and
    /// never answers, or closes each connection. Until faults are cleared or it is healed.
    Partition {
        /// Connections are closed.
        #[serde(default)]
        reset: bool,
    },
    /// The metadata service closes every connection.
    ImdsDown,
    /// The metadata service is switched off: 403.
    ImdsDisabled,
    /// The metadata service knows no tokens: 405, and answers without.
    ImdsV1Only,
    /// Answers to token requests don't come through: the caller is a hop too far away.
    HopLimit,
}

impl Effect {
    /// Whether it is about the metadata service.
    pub(crate) fn is_of_imds(&self) -> bool {
        matches!(self, Self::ImdsDown | Self::ImdsDisabled | Self::ImdsV1Only | Self::HopLimit)
    }
}

impl Fault {
    /// `effect`, always and for everybody.
    #[must_use]
    pub fn new(effect: Effect) -> Self {
        Self { effect, action: None, instance: None, volume: None, probability: 1.0, times: None }
    }

    /// Only for this action; `*` and `?` stand for any characters.
    #[must_use]
    pub fn on(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// Only for calls of this instance, or about it.
    #[must_use]
    pub fn of(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Only for calls that name this volume.
    #[must_use]
    pub fn volume(mut self, volume: impl Into<String>) -> Self {
        self.volume = Some(volume.into());
        self
    }

    /// With this probability, of 1.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// This many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

/// A call, as faults look at it.
#[derive(Debug, Default)]
pub(crate) struct About<'a> {
    /// Its action; for metadata, the path.
    pub(crate) action: &'a str,
    /// The instance that calls, and those that the call names.
    pub(crate) instances: Vec<&'a str>,
    /// The volumes that the call names.
    pub(crate) volumes: Vec<&'a str>,
    /// Whether it is a call to the metadata service.
    pub(crate) imds: bool,
}

/// The faults that are set, and their chance.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    seed: u64,
    set: u64,
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    number: u64,
    fault: Fault,
    chance: Chance,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Sets a fault, and gives it a number.
    pub(crate) fn inject(&mut self, fault: Fault) -> u64 {
        self.set += 1;
        let chance = Chance::new(self.seed, self.set);
        self.active.push(Active { number: self.set, fault, chance });
        self.set
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.active.iter().map(|active| active.fault.clone()).collect()
    }

    /// What goes wrong with this call, with the numbers of the faults: each that matches has rolled
    /// its dice and counts as happened.
    pub(crate) fn draw(&mut self, about: &About<'_>) -> Vec<(u64, Effect)> {
        let mut drawn = Vec::new();
        for active in &mut self.active {
            if active.happens(about) {
                drawn.push((active.number, active.fault.effect.clone()));
            }
        }
        self.active.retain(|active| active.fault.times != Some(0));
        drawn
    }
}

impl Active {
    fn happens(&mut self, about: &About<'_>) -> bool {
        if !self.fault.matches(about) || self.chance.roll() >= self.fault.probability {
            return false;
        }
        if let Some(times) = &mut self.fault.times {
            *times = times.saturating_sub(1);
        }
        true
    }
}

impl Fault {
    fn matches(&self, about: &About<'_>) -> bool {
        let among = |wanted: &Option<String>, given: &[&str]| {
            wanted.as_ref().is_none_or(|wanted| given.contains(&wanted.as_str()))
        };
        self.times != Some(0)
            && self.effect.is_of_imds() == about.imds
            && self.action.as_ref().is_none_or(|wanted| pattern::matches(wanted, about.action))
            && among(&self.instance, &about.instances)
            && among(&self.volume, &about.volumes)
    }
}

/// A stream of chance (xorshift64*).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn new(seed: u64, stream: u64) -> Self {
        // splitmix64 of both: neighbouring seeds give unlike streams, and none is zero.
        let mut mixed = seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// A number from 0 to below 1.
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        f64::from(u32::try_from(bits).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(action: &str) -> About<'_> {
        About { action, ..About::default() }
    }

    fn history(seed: u64) -> Vec<bool> {
        let mut faults = Faults::new(seed);
        faults.inject(Fault::new(Effect::Throttle).on("Create*").probability(0.5));
        (0..64).map(|_| !faults.draw(&about("CreateVolume")).is_empty()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        assert_eq!(history(7), history(7));
        assert_ne!(history(7), history(8));
        let happened = history(7).into_iter().filter(|happened| *happened).count();
        assert!((16..48).contains(&happened), "{happened}");
    }

    #[test]
    fn a_fault_happens_as_often_as_it_shall_and_only_where() {
        let mut faults = Faults::new(1);
        faults.inject(Fault::new(Effect::Reset).on("AttachVolume").of("i-1").times(2));
        assert!(faults.draw(&about("AttachVolume")).is_empty());
        let call = || About { instances: vec!["i-1"], ..about("AttachVolume") };
        let drawn: Vec<_> = (0..4).map(|_| faults.draw(&call()).len()).collect();
        assert_eq!(drawn, [1, 1, 0, 0]);
        assert!(faults.list().is_empty());
    }

    #[test]
    fn faults_of_the_metadata_service_are_not_of_the_api() {
        let mut faults = Faults::new(1);
        faults.inject(Fault::new(Effect::ImdsDown));
        assert!(faults.draw(&about("DescribeVolumes")).is_empty());
        assert_eq!(faults.draw(&About { imds: true, ..About::default() }).len(), 1);
    }
}
