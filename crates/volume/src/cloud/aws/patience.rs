//! How long AWS is waited for. Every wait has its usual length where it is made; here is what all of
//! them are stretched or shortened by.

use std::time::Duration;

/// What a change of state may take, usually.
const USUAL: Duration = Duration::from_secs(120);

/// How patient somebody is, compared with what is usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience(f64);

/// A ratio of two durations is never not a number.
impl Eq for Patience {}

impl Default for Patience {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Patience {
    /// So patient that what may take two minutes usually may take `longest`.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self(longest.as_secs_f64() / USUAL.as_secs_f64())
    }

    /// How long that may take which may take `usual` usually.
    #[must_use]
    pub fn of(self, usual: Duration) -> Duration {
        usual.mul_f64(self.0)
    }

    /// The same for what others rely on to end after `usual`: never longer.
    #[must_use]
    pub fn at_most(self, usual: Duration) -> Duration {
        usual.mul_f64(self.0.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_stretched_and_shortened_together() {
        let minute = Duration::from_secs(60);
        assert_eq!(Patience::default().of(minute), minute);
        assert_eq!(Patience::new(USUAL * 2).of(minute), minute * 2);
        assert_eq!(Patience::new(USUAL * 2).at_most(minute), minute);
        assert_eq!(Patience::new(USUAL / 60).at_most(minute), Duration::from_secs(1));
    }
}
