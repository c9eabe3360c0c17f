//! How long is waited for a first byte, and for the next one: counted in ticks.
//!
//! Envoy's own timers cannot tell a stream that goes on from one that has not started, so the module
//! keeps its own. It asks the host for a call every so often, the *tick*, and counts them: looking
//! at a clock for each piece of a stream would cost more than the rest of it.
//!
//! A wait never ends early, and at most two ticks late.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// All streams of a worker that may wait too long. `T` is what a caller has to know of each.
#[derive(Debug)]
pub struct Patience<T> {
    period: Duration,
    /// How many ticks there have been.
    ticks: Cell<u64>,
    waits: RefCell<Vec<Weak<Wait<T>>>>,
}

/// One stream that waits. It is forgotten when nobody holds it any more.
#[derive(Debug)]
pub struct Wait<T> {
    stream: u32,
    /// What for.
    pub event: Event,
    /// What its caller has to know.
    about: T,
    /// The number of ticks that are waited.
    limit: u64,
    /// The tick in which the wait began, or in which the last byte came.
    since: Cell<u64>,
    is_over: Cell<bool>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first byte of a reply, over all attempts.
    FirstByte,
    /// The first byte of a stream, since the attempt has sent its request.
    FirstStreamByte,
    /// The next byte of a reply that has started.
    NextByte,
    /// The next byte of a request's body that is held.
    RequestByte,
}

/// What is waited for, and how long.
pub type Limit = (Event, Duration);

impl<T: Clone> Patience<T> {
    /// Nobody waits. `shortest`: the shortest time that anybody will wait.
    pub fn new(shortest: Duration) -> Self {
        Self {
            period: (shortest / TICKS_OF_A_WAIT).clamp(SHORTEST_PERIOD, LONGEST_PERIOD),
            ticks: Cell::new(0),
            waits: RefCell::default(),
        }
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The tick that was the last: the moment, for [`Patience::wait`].
    pub fn now(&self) -> u64 {
        self.ticks.get()
    }

    /// Lets a stream wait, from the tick `since` on. The stream's number is the host's.
    pub fn wait(&self, stream: u32, (event, limit): Limit, since: u64, about: T) -> Rc<Wait<T>> {
        let ticks = limit.as_nanos().div_ceil(self.period.as_nanos().max(1));
        let wait = Rc::new(Wait {
            stream,
            event,
            about,
            limit: u64::try_from(ticks).unwrap_or(u64::MAX),
            since: Cell::new(since),
            is_over: Cell::new(false),
        });
        self.waits.borrow_mut().push(Rc::downgrade(&wait));
        wait
    }

    /// Something has come for a stream that waits.
    pub fn came(&self, wait: &Wait<T>) {
        wait.since.set(self.ticks.get());
    }

    /// A tick, at least [`Patience::period`] after the last: gives the streams that have waited too
    /// long, each once.
    pub fn tick(&self) -> Vec<(u32, Event, T)> {
        let now = self.ticks.get().saturating_add(1);
        self.ticks.set(now);
        let mut over = Vec::new();
        self.waits.borrow_mut().retain(|wait| {
            let Some(wait) = wait.upgrade() else {
                return false;
            };
            // The wait began somewhere within its first tick, which is therefore not counted.
            let is_over = now.saturating_sub(wait.since.get()) > wait.limit;
            if is_over {
                wait.is_over.set(true);
                over.push((wait.stream, wait.event, wait.about.clone()));
            }
            !is_over
        });
        over
    }
}

impl<T> Wait<T> {
    /// Whether it took too long.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }
}

/// How long the next part of a request's body may take while the body is held: other requests wait for
/// the memory.
pub const MAX_BODY_PAUSE: Duration = Duration::from_secs(30);

/// How long the next part of an error's body may take.
pub const MAX_ERROR_PAUSE: Duration = Duration::from_secs(10);

/// A wait is late by at most two of so many parts of it.
const TICKS_OF_A_WAIT: u32 = 10;
const SHORTEST_PERIOD: Duration = Duration::from_millis(20);
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(patience: &Patience<()>, number: u32) -> Vec<(u32, Event)> {
        let all = (0..number).flat_map(|_| patience.tick());
        all.map(|(stream, event, ())| (stream, event)).collect()
    }

    #[test]
    fn a_wait_ends_once_and_never_early() {
        let patience = Patience::new(Duration::from_secs(2));
        assert_eq!(patience.period(), Duration::from_millis(200));
        let limit = (Event::FirstByte, Duration::from_secs(2));
        let wait = patience.wait(7, limit, patience.now(), ());
        assert_eq!(ticks(&patience, 10), []);
        assert!(!wait.is_over());
        assert_eq!(ticks(&patience, 1), [(7, Event::FirstByte)]);
        assert!(wait.is_over());
        assert_eq!(ticks(&patience, 100), []);
    }

    #[test]
    fn whatever_comes_starts_it_again() {
        let patience = Patience::new(Duration::from_millis(100));
        let wait = patience.wait(1, (Event::NextByte, Duration::from_secs(1)), 0, ());
        for _ in 0..100 {
            assert_eq!(ticks(&patience, 50), []);
            patience.came(&wait);
        }
        assert_eq!(ticks(&patience, 51), [(1, Event::NextByte)]);
    }

    #[test]
    fn a_stream_that_is_gone_is_forgotten() {
        let patience = Patience::new(Duration::from_millis(100));
        let limit = (Event::NextByte, Duration::from_secs(1));
        drop(patience.wait(1, limit, 0, ()));
        let _wait = patience.wait(2, limit, 0, ());
        assert_eq!(ticks(&patience, 200), [(2, Event::NextByte)]);
        assert!(patience.waits.borrow().is_empty());
    }

    #[test]
    fn a_wait_counts_from_when_the_stream_came() {
        let patience = Patience::new(Duration::from_secs(1));
        let since = patience.now();
        assert_eq!(ticks(&patience, 5), []);
        let _wait = patience.wait(3, (Event::FirstByte, Duration::from_secs(1)), since, ());
        assert_eq!(ticks(&patience, 5), []);
        assert_eq!(ticks(&patience, 1), [(3, Event::FirstByte)]);
    }

    #[test]
    fn ticks_are_neither_too_many_nor_too_few() {
        for (shortest, period) in [(1, 20), (1_000, 100), (600_000, 1_000)] {
            let patience = Patience::<()>::new(Duration::from_millis(shortest));
            assert_eq!(patience.period(), Duration::from_millis(period));
        }
    }
}
