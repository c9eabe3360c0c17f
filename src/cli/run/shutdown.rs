//! The end of a gateway: not ready, then no new connections, then no streams, then gone.
//!
//! ```text
//!        signal                 --drain-delay                 no request runs, or --drain
//! serving ────► announced ──────────────────────► draining ────────────────────────────► ended
//!               /ready is 503,                    the listener is closed
//!               replies close their connections
//! ```
//!
//! A second signal ends Envoy from every state, a third one kills it.

use std::time::{Duration, Instant};

use super::super::admin::Admin;
use super::super::complain;

/// How long the parts of a shutdown may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the signal until the listener closes: load balancers notice `/ready` by then.
    pub delay: Duration,
    /// From then on until running requests are cut.
    pub drain: Duration,
}

/// What becomes of Envoy's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    Wait,
    /// It gets SIGTERM, by which it ends at once.
    Terminate,
    /// It gets SIGKILL.
    Kill,
}

/// The shutdown of one Envoy.
#[derive(Debug)]
pub struct Shutdown {
    admin: Admin,
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    Serving,
    Announced { closes: Instant },
    Draining { cuts: Instant },
    Terminated,
}

impl Shutdown {
    /// Of an Envoy that serves.
    pub fn new(admin: Admin, limits: Limits) -> Self {
        Self {
            admin,
            limits,
            state: State::Serving,
        }
    }

    /// Whether a signal to end has arrived.
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, State::Serving)
    }

    /// A signal to end has arrived.
    pub fn signal(&mut self, now: Instant) -> Next {
        match self.state {
            State::Serving if self.admin.post("/healthcheck/fail") => {
                let Limits { delay, drain } = self.limits;
                complain(&format!(
                    "llm-proxy: stopping: the listener closes in {} s, running requests have {} s more; \
                     a second signal ends at once",
                    delay.as_secs(),
                    drain.as_secs(),
                ));
                let closes = now + delay;
                self.state = State::Announced { closes };
                self.tick(now)
            }
            State::Serving | State::Announced { .. } | State::Draining { .. } => {
                self.state = State::Terminated;
                Next::Terminate
            }
            State::Terminated => Next::Kill,
        }
    }

    /// Some time has passed.
    pub fn tick(&mut self, now: Instant) -> Next {
        match self.state {
            State::Announced { closes } if now >= closes => {
                // From here on a new connection is refused; those that are there go on.
                self.admin.post("/drain_listeners");
                let cuts = now + self.limits.drain;
                self.state = State::Draining { cuts };
                self.tick(now)
            }
            State::Draining { cuts } => {
                let unsent = self.admin.sum(UNSENT_REPLIES);
                if now < cuts && unsent.is_some_and(|it| it > 0) {
                    return Next::Wait;
                }
                let running = self.admin.sum(RUNNING_REQUESTS);
                if let Some(running) = running.filter(|it| *it > 0) {
                    complain(&format!(
                        "llm-proxy: {running} requests still run after {} s: they are cut",
                        self.limits.drain.as_secs(),
                    ));
                }
                self.state = State::Terminated;
                Next::Terminate
            }
            State::Serving | State::Announced { .. } | State::Terminated => Next::Wait,
        }
    }
}

/// The requests of clients that have not ended, as a regular expression of names of statistics.
const RUNNING_REQUESTS: &str = "http.llm-proxy.downstream_rq_active";

/// The same, and the bytes of replies that clients have not read: those of requests that have ended, too.
const UNSENT_REPLIES: &str = "http.llm-proxy.downstream_(rq_active|cx_tx_bytes_buffered)";
