//! What the agent counts and measures, in Prometheus' terms.

use error::{Kind, Result};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Buckets from a quick lookup to a slow cloud, in seconds.
const BUCKETS: [f64; 12] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];

/// One operation of a service's driver.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    service: String,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    service: String,
    operation: &'static str,
    outcome: &'static str,
}

/// An action of a back end's API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Action {
    service: String,
    action: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    service: String,
    action: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    service: String,
}

/// The counters of one agent; cheap to clone, shared by all services.
#[derive(Debug, Clone)]
pub struct Metrics {
    ended: Family<Ended, Counter>,
    seconds: Family<Operation, Histogram, fn() -> Histogram>,
    mounted: Family<Service, Gauge>,
    answered: Family<Answered, Counter>,
    held_back: Family<Action, Counter<f64, AtomicU64>>,
}

/// Where one service's driver counts the calls that it makes of its back end's API; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    metrics: Metrics,
    service: String,
}

impl Calls {
    /// Counts a call of `action` that came to `outcome`: `ok`, a [`Kind`]'s name, or a word for what
    /// AWS and its like do besides.
    pub fn count(&self, action: &'static str, outcome: &'static str) {
        let answered = Answered { service: self.service.clone(), action, outcome };
        self.metrics.answered.get_or_create(&answered).inc();
    }

    /// Counts how long a call of `action` was held back, so that there are not too many.
    pub fn held_back(&self, action: &'static str, waited: Duration) {
        let action = Action { service: self.service.clone(), action };
        self.metrics.held_back.get_or_create(&action).inc_by(waited.as_secs_f64());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self {
            ended: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            mounted: Family::default(),
            answered: Family::default(),
            held_back: Family::default(),
        }
    }
}

impl Metrics {
    /// Counts an operation that ended after `took`.
    pub fn count<T>(
        &self,
        service: &str,
        operation: &'static str,
        result: &Result<T>,
        took: Duration,
    ) {
        let outcome = result.as_ref().err().map_or("ok", |error| Kind::name(error.kind()));
        let service = service.to_owned();
        self.ended.get_or_create(&Ended { service: service.clone(), operation, outcome }).inc();
        self.seconds.get_or_create(&Operation { service, operation }).observe(took.as_secs_f64());
    }

    /// Says how many volumes of the service are mounted now.
    pub fn set_mounted(&self, service: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.mounted.get_or_create(&Service { service: service.to_owned() }).set(count);
    }

    /// Where the driver of `service` counts its calls.
    #[must_use]
    pub fn calls(&self, service: &str) -> Calls {
        Calls { metrics: self.clone(), service: service.to_owned() }
    }

    /// All of it in the text format (OpenMetrics 1.0).
    #[must_use]
    pub fn render(&self) -> String {
        let mut registry = Registry::with_prefix("mobula");
        registry.register("operations", "Operations ended, by outcome", self.ended.clone());
        registry.register_with_unit(
            "operation_duration",
            "Time an operation took",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register("mounted_volumes", "Volumes mounted now", self.mounted.clone());
        let answered = self.answered.clone();
        registry.register("cloud_calls", "Calls of a cloud's API, by what came of them", answered);
        registry.register_with_unit(
            "cloud_held_back",
            "Time that calls of a cloud's API were held back because it had complained of too many",
            Unit::Seconds,
            self.held_back.clone(),
        );
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut page, &registry);
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Error;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.count("s", "create", &Ok(()), Duration::from_millis(2));
        metrics.count::<()>("s", "create", &Err(Error::not_found("x")), Duration::from_millis(2));
        metrics.set_mounted("s", 3);
        let calls = metrics.calls("s");
        calls.count("AttachVolume", "throttled");
        calls.held_back("AttachVolume", Duration::from_millis(1500));
        let page = metrics.render();
        for line in [
            r#"mobula_operations_total{service="s",operation="create",outcome="not_found"} 1"#,
            r#"mobula_operation_duration_seconds_count{service="s",operation="create"} 2"#,
            r#"mobula_mounted_volumes{service="s"} 3"#,
            r#"mobula_cloud_calls_total{service="s",action="AttachVolume",outcome="throttled"} 1"#,
            r#"mobula_cloud_held_back_seconds_total{service="s",action="AttachVolume"} 1.5"#,
        ] {
            assert!(page.contains(line), "{line}\nis not in\n{page}");
        }
    }

    #[test]
    fn every_metric_is_described() {
        let described = include_str!("../../../docs/metrics.md");
        let page = Metrics::default().render();
        let names = page.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
        for name in names {
            assert!(described.contains(&format!("`{name}")), "{name}");
        }
    }
}
