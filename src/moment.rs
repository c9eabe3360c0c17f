//! Points in time, as the host's clock gives them. The core reads no clock: it is handed a [`Moment`].

use std::time::Duration;

/// A point in time: nanoseconds since 1970, as 64 bits, so until the year 2554.
///
/// The clock may be set back, so that a later reading is an earlier moment: no difference of two
/// moments is negative, and no sum overflows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The first moment there is. In what workers share it stands for "never" and "not known".
    pub const NEVER: Self = Self(0);

    /// Unit: nanoseconds since 1970.
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Unit: nanoseconds since 1970.
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// Unit: whole seconds since 1970.
    pub fn as_secs(self) -> u64 {
        self.0 / NANOS_PER_SECOND
    }

    /// The moment that is so much later, at most the last one there is.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    /// The time from an earlier moment to this one; nothing if that one is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whether it is still to come, and by no more than `at_most`. One that is further ahead than it can be was
    /// written before the clock was set back.
    pub fn is_ahead_of(self, now: Self, at_most: Duration) -> bool {
        now < self && self <= now.after(at_most)
    }
}

/// A duration as 64 bits, at most the longest that they hold. Unit: nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_gives_no_negative_time() {
        let (early, late) = (Moment::from_nanos(5), Moment::from_nanos(7));
        assert_eq!(late.since(early), Duration::from_nanos(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late.after(Duration::MAX).as_nanos(), u64::MAX);
    }

    #[test]
    fn a_moment_that_is_too_far_ahead_is_not_ahead() {
        let now = Moment::from_nanos(100);
        let at_most = Duration::from_nanos(10);
        for (moment, is_ahead) in [
            (0, false),
            (100, false),
            (101, true),
            (110, true),
            (111, false),
        ] {
            assert_eq!(
                Moment::from_nanos(moment).is_ahead_of(now, at_most),
                is_ahead,
                "{moment}"
            );
        }
    }
}
