//! The health of pool members: what all workers know of them, in shared data.
//!
//! Each attempt reports its outcome; the selection of the next request's first member reads it. Three
//! states keep a member from being selected:
//!
//! * It *pauses*: it has replied with `retry-after`, and that time is not over.
//! * It *rests*: it has failed [`PATIENCE`] times in a row. When a rest is over, one request is sent
//!   to the member, the *probe*; it ends the rest, or begins a longer one.
//! * It is *slow* while it rests: its last failure took long, as a timeout does. A resting member that
//!   fails fast is worth another attempt where the others have failed; a slow one is not.
//!
//! Shape of the shared data, below `health/POOL`: a [pair list](pairs), by the members' names, of
//! [`Health`]'s numbers, each 64 bits, little-endian.

use std::time::Duration;

use super::{Members, Order, Pool, Strategy, Turns};
use crate::headers::Headers;
use crate::moment::{Moment, nanos};
use crate::pairs;
use crate::shared::{Expected, Shared};
use crate::token;

/// The health of one member.
///
/// Moments may be [`Moment::NEVER`]; no time is "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The end of the pause that its `retry-after` has named.
    pub pauses_until: Moment,
    /// The end of its rest, or of the time that its probe has.
    pub rests_until: Moment,
    /// The number of its failures since its last success; during a rest only the probe's counts.
    pub failures: u64,
    /// How long its last failure took.
    pub failed_after: Duration,
    /// Whether a probe is under way.
    pub probing: bool,
    /// The average time to the first byte of its replies.
    pub average: Duration,
    /// When the average last changed.
    pub measured_at: Moment,
    /// When a request was last sent to it to measure it.
    pub probed_at: Moment,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It replied after this time.
    Answered(Duration),
    /// It replied with an error that is the request's, and no failure of the member.
    Rejected,
    /// It failed after this time, and named a pause of this length.
    Failed(Duration, Option<Duration>),
    /// The client left before a reply came.
    Abandoned,
}

impl Health {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes.chunks_exact(8).map(|bytes| {
            let bytes = bytes.first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        });
        let mut next = || numbers.next();
        Some(Self {
            pauses_until: Moment::from_nanos(next()?),
            rests_until: Moment::from_nanos(next()?),
            failures: next()?,
            failed_after: Duration::from_nanos(next()?),
            probing: next()? == 1,
            average: Duration::from_nanos(next()?),
            measured_at: Moment::from_nanos(next()?),
            probed_at: Moment::from_nanos(next()?),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = [
            self.pauses_until.as_nanos(),
            self.rests_until.as_nanos(),
            self.failures,
            nanos(self.failed_after),
            u64::from(self.probing),
            nanos(self.average),
            self.measured_at.as_nanos(),
            self.probed_at.as_nanos(),
        ];
        numbers.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// Whether it rests; also when the rest is over, until a probe succeeds.
    fn is_resting(&self) -> bool {
        self.failures >= PATIENCE
    }

    /// Whether it rests, and another attempt would probably take long again.
    fn is_slow(&self) -> bool {
        self.is_resting() && self.failed_after >= SLOW_FAILURE
    }

    /// Whether it rests, and a probe may be sent.
    fn is_due(&self, pool: &Pool, now: Moment) -> bool {
        self.is_resting()
            && !self
                .rests_until
                .is_ahead_of(now, LAST_REST.max(pool.timeout))
    }

    /// The length of its rest.
    fn rest(&self) -> Duration {
        let doublings = self.failures.saturating_sub(PATIENCE);
        let doublings = u32::try_from(doublings).map_or(DOUBLINGS, |it| it.min(DOUBLINGS));
        FIRST_REST * 2_u32.saturating_pow(doublings)
    }

    fn recover(&mut self) {
        self.failures = 0;
        self.rests_until = Moment::NEVER;
        self.probing = false;
    }

    /// Its health after an attempt.
    fn after(mut self, outcome: Outcome, pool: &Pool, now: Moment) -> Self {
        let took = match outcome {
            Outcome::Answered(took) => {
                self.recover();
                took
            }
            Outcome::Rejected => {
                self.recover();
                return self;
            }
            Outcome::Abandoned => {
                if self.probing {
                    self.probing = false;
                    self.rests_until = now;
                }
                return self;
            }
            Outcome::Failed(took, pause) => {
                if let Some(pause) = pause {
                    self.pauses_until = self.pauses_until.max(now.after(pause.min(MAX_PAUSE)));
                }
                // Requests that were under way when the rest began do not make it longer.
                if !self.is_resting() || self.probing || self.is_due(pool, now) {
                    self.failures = self.failures.saturating_add(1);
                    self.failed_after = took;
                    self.probing = false;
                    if self.is_resting() {
                        self.rests_until = now.after(self.rest());
                    }
                }
                took.max(PENALTY)
            }
        };
        if pool.strategy == Strategy::Latency {
            self.average = self.averaged(took, now);
            self.measured_at = now;
        }
        self
    }

    /// The average with one time more: it counts a quarter, and more the longer ago the last one
    /// was.
    fn averaged(&self, took: Duration, now: Moment) -> Duration {
        if self.average.is_zero() {
            return took.max(SHORTEST_AVERAGE);
        }
        let age = now.since(self.measured_at).as_secs_f64();
        let past = 0.75 * (-age / HALF_LIFE.as_secs_f64()).exp2();
        let average = self.average.as_secs_f64() * past + took.as_secs_f64() * (1.0 - past);
        Duration::try_from_secs_f64(average)
            .unwrap_or(Duration::MAX)
            .max(SHORTEST_AVERAGE)
    }
}

/// The first member of a request, and the members that are worth an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The place of the first member.
    pub first: usize,
    /// The members behind which the attempts may end.
    pub useful: Members,
}

/// The health of all members, by their places.
#[derive(Debug)]
pub struct Record {
    members: Vec<Health>,
    expected: Expected,
}

impl Record {
    /// Reads it.
    pub fn read(pool: &Pool, shared: &dyn Shared) -> Self {
        let (bytes, expected) = match shared.get(&key(pool)) {
            Some((bytes, version)) => (bytes, Expected::Version(version)),
            None => (Vec::new(), Expected::Absent),
        };
        let pairs = pairs::decode(&bytes).unwrap_or_default();
        let health = |(place, name): (usize, &str)| {
            // Written by a pool with the same members, they have the same places.
            let found = pairs.get(place).filter(|(it, _)| *it == name.as_bytes());
            let found = found.or_else(|| pairs.iter().find(|(it, _)| *it == name.as_bytes()));
            found.and_then(|(_, health)| Health::decode(health))
        };
        let names = pool.members().iter().map(|it| it.backend.name.as_str());
        Self {
            members: names
                .enumerate()
                .map(|it| health(it).unwrap_or_default())
                .collect(),
            expected,
        }
    }

    /// Shares it, unless another worker has written in between. Returns whether it did.
    fn write(&self, pool: &Pool, shared: &dyn Shared) -> bool {
        let encoded: Vec<(&[u8], Vec<u8>)> = pool
            .members()
            .iter()
            .zip(&self.members)
            .map(|(member, health)| (member.backend.name.as_str().as_bytes(), health.encode()))
            .collect();
        let pairs: Vec<(&[u8], &[u8])> = encoded
            .iter()
            .map(|(name, health)| (*name, health.as_slice()))
            .collect();
        shared.set(&key(pool), &pairs::encode(&pairs), self.expected)
    }

    fn of(&self, place: usize) -> Health {
        self.members.get(place).copied().unwrap_or_default()
    }

    fn members_where(&self, members: Members, holds: impl Fn(&Health) -> bool) -> Members {
        let holds = |place: &usize| self.members.get(*place).is_some_and(&holds);
        members.iter().filter(holds).collect()
    }

    /// The members of `usable` that do not pause.
    ///
    /// # Errors
    ///
    /// If all of them pause: the time until the first pause is over.
    pub fn available(&self, usable: Members, now: Moment) -> Result<Members, Duration> {
        let available = self.members_where(usable, |health| pause(health, now).is_none());
        if available.is_empty() {
            let rest = |place| self.of(place).pauses_until.since(now);
            return Err(usable.iter().map(rest).min().unwrap_or_default());
        }
        Ok(available)
    }

    /// The rest of a member's pause.
    pub fn pause_of(&self, place: usize, now: Moment) -> Option<Duration> {
        pause(&self.of(place), now)
    }

    /// Selects the first member of a request that any of the `available` members could serve.
    ///
    /// Members that do not rest are better than those that rest, and those that fail fast are better
    /// than slow ones. Among equals the priority decides, then the strategy. A request that becomes
    /// the probe of a resting member is sent to that one.
    pub fn select(
        mut self,
        pool: &Pool,
        available: Members,
        turns: &Turns,
        shared: &dyn Shared,
        now: Moment,
    ) -> Option<Selection> {
        let well = self.members_where(available, |health| !health.is_resting());
        let not_slow = self.members_where(available, |health| !health.is_slow());
        let candidates = [well, not_slow, available];
        let candidates = candidates.into_iter().find(|it| !it.is_empty())?;
        let useful = if not_slow.is_empty() {
            available
        } else {
            not_slow
        };
        let selected = |first| Selection { first, useful };

        let due = self.members_where(available.except(candidates), |it| it.is_due(pool, now));
        if !due.is_empty()
            && let Some(place) = self.claim_probe(pool, due, candidates, shared, now)
        {
            return Some(selected(place));
        }
        let foremost = pool.foremost(candidates);
        let first = match pool.strategy {
            Strategy::Latency => self.fastest(pool, foremost, turns, shared, now),
            Strategy::RoundRobin | Strategy::Weighted => turns.next(pool, foremost),
        };
        first.map(selected)
    }

    /// The member of which this request is the probe. Of all requests that see the same, one is.
    fn claim_probe(
        &mut self,
        pool: &Pool,
        due: Members,
        candidates: Members,
        shared: &dyn Shared,
        now: Moment,
    ) -> Option<usize> {
        let is_needed = |place: &usize| {
            // A member behind the candidates is not needed as long as one of those is well.
            self.members_where(candidates, |it| !it.is_resting())
                .is_empty()
                || pool.priority(*place) <= pool.smallest_priority(candidates)
        };
        let place = due
            .iter()
            .filter(is_needed)
            .min_by_key(|place| (pool.priority(*place), self.of(*place).rests_until))?;
        let health = self.members.get_mut(place)?;
        health.probing = true;
        health.rests_until = now.after(health.rest().max(pool.timeout));
        self.write(pool, shared).then_some(place)
    }

    /// The member of `among` with the shortest average; now and then another one, to measure it.
    fn fastest(
        mut self,
        pool: &Pool,
        among: Members,
        turns: &Turns,
        shared: &dyn Shared,
        now: Moment,
    ) -> Option<usize> {
        let average = |place: &usize| self.of(*place).average;
        let known = among.iter().filter(|place| !average(place).is_zero());
        let best = known.min_by_key(average);
        let long_ago = |place: usize| {
            let health = self.of(place);
            let last = health.measured_at.max(health.probed_at);
            now.since(last) >= PROBE_INTERVAL
        };
        let mut stale = among
            .iter()
            .filter(|place| Some(*place) != best && long_ago(*place));
        let may_probe = turns.may_probe(pool);
        // A member that was never measured gets one request, whatever the traffic.
        let probed = stale.find(|place| may_probe || average(place).is_zero());
        if let Some(place) = probed {
            if let Some(health) = self.members.get_mut(place) {
                health.probed_at = now;
            }
            // Of all requests that see the same, one measures it.
            if self.write(pool, shared) {
                turns.has_probed(pool);
                return Some(place);
            }
        }
        best.or_else(|| turns.next(pool, among))
    }

    /// Enters the outcome of an attempt. Returns whether that changes anything.
    fn enter(&mut self, pool: &Pool, place: usize, outcome: Outcome, now: Moment) -> bool {
        let Some(health) = self.members.get_mut(place) else {
            return false;
        };
        let before = *health;
        let after = before.after(outcome, pool, now);
        *health = after;
        let has_recovered = before.is_resting() && !after.is_resting();
        let mut others = self.members.iter_mut().enumerate();
        if has_recovered && others.all(|(it, health)| it == place || health.is_resting()) {
            // All have failed at once, so the reason may have been this side, and is gone for all.
            for health in self.members.iter_mut().filter(|it| it.is_resting()) {
                health.rests_until = now;
                health.probing = false;
            }
        }
        before != after
    }
}

/// Reports the outcome of an attempt at a member.
pub fn report(pool: &Pool, place: usize, outcome: Outcome, shared: &dyn Shared, now: Moment) {
    for _ in 0..MAX_TRIES {
        let mut record = Record::read(pool, shared);
        if !record.enter(pool, place, outcome, now) || record.write(pool, shared) {
            return;
        }
    }
}

/// Reports that Envoy has passed over the first member of an order: its name does not resolve.
///
/// Envoy makes no attempt at such a member, so no other outcome is reported.
pub fn report_unresolved(
    pool: &Pool,
    order: &Order,
    place: usize,
    shared: &dyn Shared,
    now: Moment,
) {
    if let Some(first) = order.first().filter(|first| *first != place) {
        report(
            pool,
            first,
            Outcome::Failed(Duration::ZERO, None),
            shared,
            now,
        );
    }
}

/// The members of `eligible` that have the credentials they need, such as an access token; all of
/// them if none has, so that the client gets the reason.
pub fn with_credentials(
    pool: &Pool,
    eligible: Members,
    shared: &dyn Shared,
    now: Moment,
) -> Members {
    let usable = pool.members_where(|member| match &member.backend.auth {
        crate::backend::Auth::Token(..) => {
            token::has_token(shared, member.backend.name.as_str(), now)
        }
        _ => true,
    });
    let usable = eligible.and(usable);
    if usable.is_empty() { eligible } else { usable }
}

/// The pause that a provider's error names.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>; `retry-after-ms` is OpenAI's. A
/// date is not understood: no provider is known to send one.
pub fn pause_asked_for(headers: &Headers<'_>) -> Option<Duration> {
    let number = |name| headers.text(name)?.trim().parse::<f64>().ok();
    let millis = number("retry-after-ms").map(|millis| millis / 1_000.0);
    let seconds = millis.or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|pause| !pause.is_zero())
}

/// The rest of a pause.
fn pause(health: &Health, now: Moment) -> Option<Duration> {
    let until = health.pauses_until;
    let is_one = until.is_ahead_of(now, MAX_PAUSE);
    is_one.then(|| until.since(now))
}

fn key(pool: &Pool) -> String {
    format!("health/{}", pool.name)
}

/// A longer `retry-after` counts as this one.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// After this number of failures in a row a member rests.
pub const PATIENCE: u64 = 3;

/// The length of the first rest; each probe that fails doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);

/// The number of times that a rest is doubled.
const DOUBLINGS: u32 = 5;

/// The length of the longest rest.
const LAST_REST: Duration = Duration::from_secs(1 << DOUBLINGS);

/// A failure that takes this long delays a request noticeably.
const SLOW_FAILURE: Duration = Duration::from_millis(500);

/// A failure counts as a reply after this time at least: a member that fails fast is not fast.
const PENALTY: Duration = Duration::from_secs(5);

/// No average is shorter: no time is "not known".
const SHORTEST_AVERAGE: Duration = Duration::from_nanos(1);

/// What was measured so long ago counts half.
const HALF_LIFE: Duration = Duration::from_secs(2);

/// A member that was not measured for so long gets one request, to measure it.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The number of times that a report is tried while other workers write.
const MAX_TRIES: usize = 8;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::gateway::Gateway;
    use crate::shared::Memory;

    const MILLISECOND: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);
    const START: Moment = Moment::NEVER;

    fn pool(strategy: &str, count: usize) -> Rc<Pool> {
        let names: Vec<String> = (0..count).map(|number| format!("m{number}")).collect();
        let backends: String = names
            .iter()
            .map(|name| {
                format!("- {{name: {name}, type: vllm, config: {{endpoint: \"http://h\"}}}}\n")
            })
            .collect();
        let members: Vec<String> = names
            .iter()
            .map(|name| format!("{{name: {name}}}"))
            .collect();
        let members = members.join(", ");
        let text = format!(
            "backends:\n{backends}- {{name: p, type: pool, strategy: {strategy}, \
             backends: [{members}]}}\n"
        );
        let gateway = Gateway::parse(&text, &|_: &str| None).unwrap();
        Rc::clone(&gateway.pools[0])
    }

    /// A world in which requests come one after the other, and members answer as they are told.
    struct World {
        pool: Rc<Pool>,
        shared: Memory,
        turns: Turns,
        now: Moment,
    }

    impl World {
        fn new(strategy: &str, count: usize) -> Self {
            Self {
                pool: pool(strategy, count),
                shared: Memory::default(),
                turns: Turns::default(),
                now: START.after(1_700_000_000 * SECOND),
            }
        }

        /// Selects the first member of a request now.
        fn first(&self) -> Result<usize, Duration> {
            self.select().map(|selection| selection.first)
        }

        fn select(&self) -> Result<Selection, Duration> {
            let all = Members::all(self.pool.members().len());
            let record = Record::read(&self.pool, &self.shared);
            let available = record.available(all, self.now)?;
            let selected =
                record.select(&self.pool, available, &self.turns, &self.shared, self.now);
            Ok(selected.unwrap())
        }

        /// A request, answered after these times.
        fn ask(&mut self, answers: &[Duration]) -> usize {
            let place = self.first().unwrap();
            let took = answers[place];
            self.report(place, Outcome::Answered(took));
            self.sleep(took);
            place
        }

        fn sleep(&mut self, time: Duration) {
            self.now = self.now.after(time);
        }

        fn report(&self, place: usize, outcome: Outcome) {
            report(&self.pool, place, outcome, &self.shared, self.now);
        }
    }

    #[test]
    fn the_fastest_is_asked_and_another_one_now_and_then() {
        let times = [50, 20, 90].map(Duration::from_millis);
        let mut world = World::new("latency", 3);
        let mut counts = [0; 3];
        for _ in 0..1_000 {
            counts[world.ask(&times)] += 1;
        }
        let seconds = world.now.as_secs() - 1_700_000_000;
        println!("1,000 requests in {seconds} s at 50, 20 and 90 ms: {counts:?}");
        assert!(counts[1] >= 980, "{counts:?}");
        assert!(counts[0] >= 3 && counts[2] >= 3, "{counts:?}");
    }

    #[test]
    fn traffic_moves_when_the_fastest_becomes_slow_and_back_when_it_recovers() {
        let fast = [20, 50].map(Duration::from_millis);
        let slow = [500, 50].map(Duration::from_millis);
        let mut world = World::new("latency", 2);
        for _ in 0..100 {
            world.ask(&fast);
        }
        assert_eq!(world.ask(&fast), 0);
        let away = (0..20).take_while(|_| world.ask(&slow) == 0).count();
        println!("the fastest becomes slow: {away} more requests went there");
        assert!(away <= 2, "{away}");
        for _ in 0..300 {
            world.ask(&slow);
        }
        let began = world.now;
        let mut last = 1;
        let mut streak = 0;
        while streak < 20 {
            last = world.ask(&fast);
            streak = if last == 0 { streak + 1 } else { 0 };
            assert!(world.now.since(began) < 60 * SECOND);
        }
        assert_eq!(last, 0);
        let intervals = world.now.since(began).as_secs_f64() / PROBE_INTERVAL.as_secs_f64();
        println!("it recovers: it has the traffic again after {intervals:.1} probe intervals");
        assert!(intervals <= 3.0, "{intervals}");
    }

    #[test]
    fn with_little_traffic_few_requests_go_to_the_slow() {
        let times = [20, 500].map(Duration::from_millis);
        let mut world = World::new("latency", 2);
        let mut slow = 0;
        for _ in 0..100 {
            slow += world.ask(&times);
            world.sleep(10 * SECOND);
        }
        assert!(slow <= 11, "{slow}");
    }

    #[test]
    fn who_fails_fast_is_not_fast() {
        let mut world = World::new("latency", 2);
        let times = [30, 60].map(Duration::from_millis);
        for _ in 0..10 {
            world.ask(&times);
        }
        assert_eq!(world.first(), Ok(0));
        world.report(0, Outcome::Failed(MILLISECOND, None));
        assert_eq!(world.first(), Ok(1));
    }

    #[test]
    fn a_pause_is_kept_to_by_everybody() {
        let mut world = World::new("weighted", 2);
        world.report(
            0,
            Outcome::Failed(Duration::from_nanos(1), Some(Duration::from_secs(7))),
        );
        for _ in 0..10 {
            assert_eq!(world.first(), Ok(1));
        }
        world.report(
            1,
            Outcome::Failed(Duration::from_nanos(1), Some(Duration::from_secs(3))),
        );
        assert_eq!(world.first(), Err(Duration::from_secs(3)));
        world.sleep(3 * SECOND);
        assert_eq!(world.first(), Ok(1));
        world.sleep(4 * SECOND);
        let firsts: Vec<_> = (0..4).map(|_| world.first().unwrap()).collect();
        assert!(firsts.contains(&0) && firsts.contains(&1), "{firsts:?}");
    }

    #[test]
    fn who_fails_again_and_again_rests_and_is_asked_again() {
        let mut world = World::new("weighted", 2);
        let firsts =
            |world: &World| -> Vec<usize> { (0..10).map(|_| world.first().unwrap()).collect() };
        for _ in 0..3 {
            assert!(firsts(&world).contains(&0));
            world.report(0, Outcome::Failed(Duration::from_nanos(1), None));
        }
        assert!(!firsts(&world).contains(&0));
        world.sleep(SECOND);
        assert!(firsts(&world).contains(&0));
        world.report(0, Outcome::Failed(Duration::from_nanos(1), None));
        world.sleep(SECOND);
        assert!(!firsts(&world).contains(&0));
        world.sleep(SECOND);
        world.report(0, Outcome::Answered(Duration::from_nanos(1)));
        assert!(firsts(&world).contains(&0));
        // Where all rest, somebody is asked all the same.
        for place in [0, 1, 0, 1, 0, 1] {
            world.report(place, Outcome::Failed(Duration::from_nanos(1), None));
        }
        assert!(world.first().is_ok());
    }

    /// A member that has failed as often as makes it rest.
    fn fail(world: &World, place: usize, took: Duration) {
        for _ in 0..PATIENCE {
            world.report(place, Outcome::Failed(took, None));
        }
    }

    #[test]
    fn one_request_in_a_back_off_interval_probes_a_resting_member() {
        let mut world = World::new("weighted", 3);
        fail(&world, 0, 60 * SECOND);
        for (rest, probes) in [(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (32, 1), (32, 1)] {
            for _ in 0..10 {
                assert_ne!(world.first(), Ok(0), "{rest}");
            }
            world.sleep(rest * SECOND);
            let firsts: Vec<usize> = (0..100).map(|_| world.first().unwrap()).collect();
            let sent = firsts.iter().filter(|it| **it == 0).count();
            assert_eq!(sent, probes, "{rest}");
            world.sleep(SECOND / 2);
            world.report(0, Outcome::Failed(SECOND / 2, None));
        }
        world.sleep(32 * SECOND);
        assert_eq!(world.first(), Ok(0));
        assert_ne!(world.first(), Ok(0));
        world.report(0, Outcome::Answered(Duration::from_nanos(1)));
        let firsts: Vec<usize> = (0..3).map(|_| world.first().unwrap()).collect();
        assert!(firsts.contains(&0), "{firsts:?}");
    }

    #[test]
    fn a_probe_whose_client_leaves_makes_room_for_another() {
        let mut world = World::new("weighted", 2);
        fail(&world, 0, SECOND);
        world.sleep(SECOND);
        assert_eq!(world.first(), Ok(0));
        assert_eq!(world.first(), Ok(1));
        world.report(0, Outcome::Abandoned);
        assert_eq!(world.first(), Ok(0));
        // A reply that is about the request shows that the member works.
        world.report(0, Outcome::Rejected);
        let firsts: Vec<usize> = (0..4).map(|_| world.first().unwrap()).collect();
        assert_eq!(
            firsts.iter().filter(|it| **it == 0).count(),
            2,
            "{firsts:?}"
        );
    }

    #[test]
    fn failures_of_one_moment_make_one_rest() {
        let mut world = World::new("weighted", 2);
        for _ in 0..100 {
            world.report(0, Outcome::Failed(Duration::from_nanos(1), None));
        }
        assert_eq!(world.first(), Ok(1));
        world.sleep(SECOND);
        assert_eq!(world.first(), Ok(0));
    }

    #[test]
    fn if_two_of_three_fail_the_third_gets_every_request() {
        let mut world = World::new("weighted", 3);
        fail(&world, 0, SECOND);
        fail(&world, 1, MILLISECOND);
        for _ in 0..10 {
            let selection = world.select().unwrap();
            assert_eq!(selection.first, 2);
            // The one that fails fast is worth another attempt, the slow one is not.
            assert_eq!(selection.useful, Members::all(3).without(0));
        }
        fail(&world, 2, MILLISECOND);
        for _ in 0..10 {
            assert_ne!(world.first(), Ok(0));
        }
        // If all are slow, all are worth an attempt.
        let slow = World::new("weighted", 2);
        fail(&slow, 0, SECOND);
        fail(&slow, 1, SECOND);
        assert_eq!(slow.select().unwrap().useful, Members::all(2));
        world.sleep(SECOND);
        assert_eq!(world.first(), Ok(0));
    }

    #[test]
    fn after_a_failure_of_all_members_the_first_success_lets_all_be_probed() {
        let mut world = World::new("weighted", 3);
        for _ in 0..10 {
            world.sleep(60 * SECOND);
            for place in [0, 1, 2] {
                fail(&world, place, SECOND);
            }
        }
        world.report(1, Outcome::Answered(Duration::from_nanos(1)));
        let firsts: Vec<usize> = (0..3).map(|_| world.first().unwrap()).collect();
        assert_eq!(firsts, [0, 2, 1]);
    }

    #[test]
    fn a_member_behind_healthy_ones_is_not_probed() {
        let text = "backends:
- {name: a, type: vllm, config: {endpoint: \"http://h\"}}
- {name: b, type: vllm, config: {endpoint: \"http://h\"}}
- {name: p, type: pool, backends: [{name: a}, {name: b, priority: 1}]}";
        let gateway = Gateway::parse(text, &|_: &str| None).unwrap();
        let mut world = World {
            pool: Rc::clone(&gateway.pools[0]),
            ..World::new("weighted", 2)
        };
        fail(&world, 1, SECOND);
        world.sleep(60 * SECOND);
        assert_eq!(world.first(), Ok(0));
        fail(&world, 0, SECOND / 1_000);
        assert_eq!(world.first(), Ok(1));
    }

    #[test]
    fn the_wish_for_a_pause_is_read() {
        for (name, value, expected) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "0.5", Some(500)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after", "0", None),
            ("retry-after", "-1", None),
            ("retry-after", "soon", None),
            ("retry-after", "1e300", None),
            ("x-other", "1", None),
        ] {
            let headers = Headers::new(vec![(name.as_bytes(), value.as_bytes())]);
            let pause = pause_asked_for(&headers);
            assert_eq!(
                pause,
                expected.map(Duration::from_millis),
                "{name}: {value}"
            );
        }
    }
}
