//! Keeps up this machine's claims on volumes that other machines could take, in tasks of its own: a
//! back end that hangs delays neither the sweep nor the claims of another service.

use crate::app::App;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use volume::Orchestrator;

/// How often claims are kept up. A claim lasts for three times as long, or longer.
const EVERY: Duration = Duration::from_secs(5);
/// When what nobody uses is detached: by then containers that start at boot have asked for what is
/// theirs.
const LEFT_OVER: Duration = Duration::from_secs(120);

/// Keeps up the claims of every service until it is aborted.
pub(super) async fn keep_up(app: Arc<App>) {
    let mut rounds = Rounds::default();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        rounds.begin(app.services().ready());
    }
}

/// Once, some time after the start: detaches what a reboot left and nobody has asked for.
pub(super) async fn detach_left_over(app: Arc<App>) {
    tokio::time::sleep(LEFT_OVER).await;
    for service in app.services().ready() {
        tokio::spawn(async move {
            if let Ok(_under_way) = service.begin().await {
                service.detach_left_over().await;
            }
        });
    }
}

/// The rounds that are under way, at most one for a service.
#[derive(Default)]
struct Rounds(Vec<(Arc<Orchestrator>, JoinHandle<()>)>);

impl Rounds {
    /// Begins a round of each service whose last one has ended.
    fn begin(&mut self, services: impl IntoIterator<Item = Arc<Orchestrator>>) {
        self.0.retain(|(_, round)| !round.is_finished());
        for service in services {
            if self.0.iter().all(|(busy, _)| !Arc::ptr_eq(busy, &service)) {
                let round = tokio::spawn(keep_up_one(Arc::clone(&service)));
                self.0.push((service, round));
            }
        }
    }
}

async fn keep_up_one(service: Arc<Orchestrator>) {
    // One that was replaced has nothing to keep up. This is no operation: a back end that hangs must
    // not keep out the configuration that would mend it, and an operation that keeps a configuration
    // out must not let claims lapse.
    if !service.is_retired() {
        service.keep_up().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::failing::Fault;
    use testkit::service::{Bench, request, standing, volume};

    /// A service with a mounted volume.
    async fn with_volume() -> (Bench, Arc<Orchestrator>) {
        let bench = Bench::default();
        let service = bench.open();
        service.create(request("a")).await.unwrap();
        service.mount(&volume("a"), standing("1")).await.unwrap();
        (bench, service)
    }

    /// Polls until it is so; a bound, not a wish.
    async fn eventually<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
        for _ in 0..3000 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never");
    }

    #[tokio::test]
    async fn a_back_end_that_hangs_delays_no_other_service_and_is_asked_once() {
        let (hanging, first) = with_volume().await;
        let (fine, second) = with_volume().await;
        hanging.failing.next("renew", Fault::Hang);
        let mut rounds = Rounds::default();
        for count in 1..=4 {
            rounds.begin([Arc::clone(&first), Arc::clone(&second)]);
            let done = || async { fine.failing.calls("renew") == count };
            eventually(done).await;
            eventually(|| async { rounds.0.iter().any(|(_, round)| round.is_finished()) }).await;
        }
        assert_eq!(hanging.failing.calls("renew"), 1, "its round is still under way");
        hanging.failing.release();
        eventually(|| async { rounds.0.iter().all(|(_, round)| round.is_finished()) }).await;
        rounds.begin([Arc::clone(&first)]);
        eventually(|| async { hanging.failing.calls("renew") == 2 }).await;
    }

    #[tokio::test]
    async fn a_back_end_that_hangs_does_not_keep_out_a_new_configuration() {
        let (hanging, service) = with_volume().await;
        hanging.failing.next("renew", Fault::Hang);
        let mut rounds = Rounds::default();
        rounds.begin([Arc::clone(&service)]);
        eventually(|| async { hanging.failing.calls("renew") == 1 }).await;
        service.retire(Duration::from_secs(30)).await.unwrap();
        hanging.failing.release();
    }

    #[tokio::test]
    async fn an_operation_that_keeps_out_a_new_configuration_lets_no_claim_lapse() {
        let (bench, service) = with_volume().await;
        let under_way = service.begin().await.unwrap();
        let retiring = Arc::clone(&service);
        let retiring = tokio::spawn(async move { retiring.retire(Duration::from_secs(600)).await });
        let waits = Arc::clone(&service);
        // Whoever begins now waits behind the one that retires.
        eventually(|| async {
            tokio::time::timeout(Duration::from_millis(5), waits.begin()).await.is_err()
        })
        .await;
        let mut rounds = Rounds::default();
        rounds.begin([service]);
        eventually(|| async { bench.failing.calls("renew") == 1 }).await;
        drop(under_way);
        retiring.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_service_that_was_replaced_keeps_nothing_up() {
        let (bench, service) = with_volume().await;
        service.retire(Duration::from_secs(30)).await.unwrap();
        let mut rounds = Rounds::default();
        rounds.begin([service]);
        eventually(|| async { rounds.0[0].1.is_finished() }).await;
        assert_eq!(bench.failing.calls("renew"), 0);
    }
}
