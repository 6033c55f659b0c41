//! Samples and what is told of them.

use serde::Serialize;
use std::time::Duration;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Unit {
    #[serde(rename = "µs")]
    Microseconds,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "ops/s")]
    Rate,
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "MB")]
    Megabytes,
    #[serde(rename = "calls")]
    Calls,
}

impl Unit {
    /// Its sign.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Rate => "ops/s",
            Self::Mebibytes => "MiB",
            Self::Megabytes => "MB",
            Self::Calls => "calls",
        }
    }

    /// How many of this unit of time `duration` is.
    pub(super) fn of(self, duration: Duration) -> f64 {
        let scale = if self == Self::Microseconds { 1e6 } else { 1e3 };
        duration.as_secs_f64() * scale
    }

    /// How many of this unit of space `bytes` are.
    pub(super) fn of_bytes(self, bytes: u64) -> f64 {
        let scale = if self == Self::Mebibytes { 1_048_576.0 } else { 1e6 };
        // Exact as far as 8 PiB.
        #[allow(clippy::cast_precision_loss)]
        let bytes = bytes as f64;
        bytes / scale
    }
}

/// Measured values, smallest first; never none.
#[derive(Debug, Clone)]
pub(super) struct Samples(Vec<f64>);

/// What is reported of samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Stat {
    /// How many samples.
    pub(super) n: usize,
    pub(super) min: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Samples {
    /// The samples in `values`; `None` if there are none.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    /// What to report.
    pub(super) fn stat(&self) -> Stat {
        let [p50, p99, max] = [50, 99, 100].map(|percent| self.percentile(percent));
        Stat { n: self.0.len(), min: self.0[0], p50, p99, max }
    }

    fn percentile(&self, percent: usize) -> f64 {
        self.0[(self.0.len() - 1) * percent / 100]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimum_median_and_percentile_are_samples() {
        let values = (1..=101).rev().map(f64::from).collect();
        let stat = Samples::of(values).unwrap().stat();
        assert_eq!(stat, Stat { n: 101, min: 1.0, p50: 51.0, p99: 100.0, max: 101.0 });
    }

    #[test]
    fn no_samples_are_no_figure() {
        assert!(Samples::of(Vec::new()).is_none());
    }
}
