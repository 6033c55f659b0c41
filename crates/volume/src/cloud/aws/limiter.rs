//! How often each call may be made: as often as one likes until AWS complains, then slower, then
//! carefully faster again. Each action has a bucket of its own, as it has at AWS.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The slowest that a call is slowed down to, per second.
const SLOWEST: f64 = 1.0;
/// What a complaint leaves of the rate.
const SLOWER: f64 = 0.5;
/// What a success adds to it, per second.
const FASTER: f64 = 0.5;
/// After so long without a complaint, an action is free again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// The rates of all actions.
#[derive(Default)]
pub(super) struct Limiter(Mutex<HashMap<&'static str, Rate>>);

/// The rate of an action that AWS has complained about.
struct Rate {
    per_second: f64,
    /// When the next call may be made.
    next: Instant,
    complained: Instant,
}

impl Limiter {
    /// Waits for this call's turn, if that comes `within`, and tells how long; otherwise `None` at
    /// once: whoever cannot wait that long must not make those behind him wait.
    pub(super) async fn turn(&self, action: &'static str, within: Duration) -> Option<Duration> {
        let (now, at) = {
            let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let Some(rate) = rates.get_mut(action) else { return Some(Duration::ZERO) };
            if now.duration_since(rate.complained) > FORGIVEN {
                rates.remove(action);
                return Some(Duration::ZERO);
            }
            let at = rate.next.max(now);
            if at > now + within {
                return None;
            }
            rate.next = at + Duration::from_secs_f64(1.0 / rate.per_second);
            (now, at)
        };
        tokio::time::sleep_until(at).await;
        Some(at - now)
    }

    /// AWS said that there were too many.
    pub(super) fn complained(&self, action: &'static str) {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let rate =
            rates.entry(action).or_insert(Rate { per_second: 20.0, next: now, complained: now });
        // Calls that were under way together complain together: once is enough.
        if rate.per_second >= 20.0 || now.duration_since(rate.complained).as_millis() > 200 {
            rate.per_second = (rate.per_second * SLOWER).max(SLOWEST);
            rate.complained = now;
        }
    }

    /// A call was taken.
    pub(super) fn taken(&self, action: &'static str) {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rate) = rates.get_mut(action) {
            rate.per_second += FASTER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ten(limiter: &Limiter) -> Duration {
        let began = Instant::now();
        for _ in 0..10 {
            assert!(limiter.turn("A", Duration::from_secs(60)).await.is_some());
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_complaint_slows_its_own_action_down_and_is_forgiven() {
        let limiter = Limiter::default();
        assert_eq!(ten(&limiter).await, Duration::ZERO);
        limiter.complained("A");
        let slow = ten(&limiter).await;
        assert!(slow >= Duration::from_millis(800), "{slow:?}");
        let began = Instant::now();
        assert_eq!(limiter.turn("B", Duration::ZERO).await, Some(Duration::ZERO));
        assert_eq!(began.elapsed(), Duration::ZERO);
        tokio::time::sleep(FORGIVEN * 2).await;
        assert_eq!(ten(&limiter).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn many_complaints_slow_down_to_the_slowest_and_no_further() {
        let limiter = Limiter::default();
        for _ in 0..50 {
            limiter.complained("A");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let slow = ten(&limiter).await;
        assert!(slow <= Duration::from_secs(10), "{slow:?}");
        assert!(slow >= Duration::from_secs(8), "{slow:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_too_late_is_not_waited_for() {
        let limiter = Limiter::default();
        for _ in 0..50 {
            limiter.complained("A");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let (began, patience) = (Instant::now(), Duration::from_secs(3));
        let told = [limiter.turn("A", patience).await, limiter.turn("A", patience).await];
        let waited = began.elapsed();
        assert_eq!(told.into_iter().flatten().sum::<Duration>(), waited);
        assert_eq!(limiter.turn("A", Duration::from_millis(500)).await, None);
        assert_eq!(began.elapsed(), waited);
    }

    #[tokio::test(start_paused = true)]
    async fn successes_make_it_faster_again() {
        let limiter = Limiter::default();
        limiter.complained("A");
        let slow = ten(&limiter).await;
        for _ in 0..100 {
            limiter.taken("A");
        }
        assert!(ten(&limiter).await < slow / 2);
    }
}
