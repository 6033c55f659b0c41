//! Waiting between attempts: exponential, with jitter, and never longer than there is time.

use std::time::Duration;
use tokio::time::Instant;

/// Growing pauses until a moment when it is enough.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
    until: Instant,
}

impl Backoff {
    /// Pauses from `first` up to `longest`, for `within` in all. All of them end, whatever the wall
    /// clock does: only the monotonic one is asked.
    #[must_use]
    pub fn new(first: Duration, longest: Duration, within: Duration) -> Self {
        Self { next: first, longest, until: Instant::now() + within }
    }

    /// Whether the time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// How much time is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Sleeps; `false` without sleeping when the time is over.
    pub async fn pause(&mut self) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        // Between half and all of it, so that many waiters do not come back at once.
        let pause = self.next.mul_f64(0.5 + jitter() / 2.0).min(left);
        self.next = self.next.mul_f64(1.7).min(self.longest);
        tokio::time::sleep(pause).await;
        true
    }
}

/// A number from 0 to 1 that nobody can foresee.
fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128() as u32;
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end() {
        let (first, longest, within) =
            (Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10));
        let began = Instant::now();
        let mut backoff = Backoff::new(first, longest, within);
        let mut pauses = 0;
        while backoff.pause().await {
            pauses += 1;
        }
        assert!((12..40).contains(&pauses), "{pauses}");
        assert!(began.elapsed() >= within && began.elapsed() < within + Duration::from_millis(50));
        assert!(backoff.is_over());
    }
}
