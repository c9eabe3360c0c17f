//! How the members of a pool do: what all workers know of them, in shared data.
//!
//! Whoever asks a member tells what came of it; whoever chooses among them reads it. A pause that a
//! provider asks for is kept to; one that fails again and again rests; and how fast it answers is an
//! average that forgets.
//!
//! Shape of what is shared, below `health/POOL`: a [pair list](pairs), by the members' names, of
//! [`Health`]'s numbers, each 64 bits, little-endian.

use std::time::Duration;

use super::{Members, Pool, Strategy, Turns};
use crate::headers::Headers;
use crate::pairs;
use crate::shared::{Expected, Shared};
use crate::token;

/// How one member does.
///
/// Unit: nanoseconds; moments since 1970. 0 is "never" or "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Until then it does not want to be asked.
    pub pauses_until: u64,
    /// Until then it is not asked first, since it has failed.
    pub rests_until: u64,
    /// How often it has failed since its last answer.
    pub failures: u64,
    /// The time to the first byte of its replies, averaged.
    pub average: u64,
    /// When the average was last told something.
    pub measured_at: u64,
    /// When somebody went to see whether it has become faster.
    pub probed_at: u64,
}

/// What came of asking a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered after this time.
    Answered(u64),
    /// It failed after this time, and wants a pause of this length.
    Failed(u64, Option<Duration>),
}

impl Health {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes.chunks_exact(8).map(|bytes| {
            let bytes = bytes.first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        });
        let mut next = || numbers.next();
        Some(Self {
            pauses_until: next()?,
            rests_until: next()?,
            failures: next()?,
            average: next()?,
            measured_at: next()?,
            probed_at: next()?,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = [
            self.pauses_until,
            self.rests_until,
            self.failures,
            self.average,
            self.measured_at,
            self.probed_at,
        ];
        numbers.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// The same after it was asked.
    fn after(mut self, outcome: Outcome, strategy: Strategy, now: u64) -> Self {
        let took = match outcome {
            Outcome::Answered(took) => {
                self.failures = 0;
                self.rests_until = 0;
                took
            }
            Outcome::Failed(took, pause) => {
                self.failures = self.failures.saturating_add(1);
                if let Some(pause) = pause {
                    self.pauses_until = self.pauses_until.max(now + nanos(pause.min(MAX_PAUSE)));
                }
                if let Some(doublings) = self.failures.checked_sub(PATIENCE) {
                    let rest = nanos(FIRST_REST) << doublings.min(MAX_DOUBLINGS);
                    self.rests_until = now + rest;
                }
                took.max(nanos(PENALTY))
            }
        };
        if strategy == Strategy::Latency {
            self.average = self.averaged(took, now);
            self.measured_at = now;
        }
        self
    }

    /// The average with one time more: it counts a quarter, and more the longer ago the last one
    /// was.
    fn averaged(&self, took: u64, now: u64) -> u64 {
        if self.average == 0 {
            return took.max(1);
        }
        let age = now.saturating_sub(self.measured_at) as f64;
        let past = 0.75 * (-age / nanos(HALF_LIFE) as f64).exp2();
        let average = self.average as f64 * past + took as f64 * (1.0 - past);
        (average as u64).max(1)
    }
}

/// How all members do, by their places.
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
        let health = |name: &str| {
            let found = pairs.iter().find(|(it, _)| *it == name.as_bytes());
            found.and_then(|(_, health)| Health::decode(health))
        };
        let members = pool.members().iter();
        Self {
            members: members
                .map(|member| health(member.backend.name.as_str()).unwrap_or_default())
                .collect(),
            expected,
        }
    }

    /// Shares it, unless somebody was there in between. Gives whether it did.
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

    /// Those of `eligible` who can be asked now.
    ///
    /// # Errors
    ///
    /// Where every one of them wants a pause: how long it is till the first has had it.
    pub fn available(&self, eligible: Members, now: u64) -> Result<Members, Duration> {
        let pausing = |place: &usize| self.pause_of(*place, now).is_some();
        let available: Members = eligible.iter().filter(|place| !pausing(place)).collect();
        if available.is_empty() {
            let till = |place| self.of(place).pauses_until.saturating_sub(now);
            let shortest = eligible.iter().map(till).min().unwrap_or(0);
            return Err(Duration::from_nanos(shortest));
        }
        Ok(available)
    }

    /// Those who have not failed so often that they are better not asked first.
    pub fn well(&self, now: u64) -> Members {
        let health = self.members.iter().enumerate();
        health
            .filter(|(_, health)| {
                let rest = health.rests_until.saturating_sub(now);
                rest == 0 || rest > nanos(FIRST_REST) << MAX_DOUBLINGS
            })
            .map(|(place, _)| place)
            .collect()
    }

    /// Whether a member wants a pause, and how long.
    pub fn pause_of(&self, place: usize, now: u64) -> Option<Duration> {
        let rest = self.of(place).pauses_until.checked_sub(now)?;
        // A longer one was written before somebody set the clock back.
        let is_one = rest > 0 && rest <= nanos(MAX_PAUSE);
        is_one.then(|| Duration::from_nanos(rest))
    }

    /// The member of `among` who answers fastest; now and then another one, to see how it does.
    pub fn fastest(
        mut self,
        pool: &Pool,
        among: Members,
        turns: &Turns,
        shared: &dyn Shared,
        now: u64,
    ) -> Option<usize> {
        let average = |place: &usize| self.of(*place).average;
        let known = among.iter().filter(|place| average(place) > 0);
        let best = known.min_by_key(average);
        let long_ago = |place: usize| {
            let health = self.of(place);
            let last = health.measured_at.max(health.probed_at);
            now.saturating_sub(last) >= nanos(PROBE_INTERVAL)
        };
        let mut stale = among
            .iter()
            .filter(|place| Some(*place) != best && long_ago(*place));
        let may_probe = turns.may_probe(pool);
        // Whoever was never measured is asked once, whatever the traffic.
        let probed = stale.find(|place| may_probe || average(place) == 0);
        if let Some(place) = probed {
            if let Some(health) = self.members.get_mut(place) {
                health.probed_at = now;
            }
            // Of all who see the same, one goes.
            if self.write(pool, shared) {
                turns.has_probed(pool);
                return Some(place);
            }
        }
        best.or_else(|| turns.next(pool, among))
    }
}

/// Tells what came of asking a member.
pub fn tell(pool: &Pool, place: usize, outcome: Outcome, shared: &dyn Shared, now: u64) {
    for _ in 0..MAX_TRIES {
        let mut record = Record::read(pool, shared);
        let Some(health) = record.members.get_mut(place) else {
            return;
        };
        let after = health.after(outcome, pool.strategy, now);
        if after == *health {
            return;
        }
        *health = after;
        if record.write(pool, shared) {
            return;
        }
    }
}

/// The members who have what they need to be asked at all, such as a token.
pub fn equipped(pool: &Pool, eligible: Members, shared: &dyn Shared, now: u64) -> Members {
    let equipped = pool.members_where(|member| match &member.backend.auth {
        crate::config::Auth::Token(..) => {
            token::has_token(shared, member.backend.name.as_str(), now)
        }
        _ => true,
    });
    let equipped = eligible.and(equipped);
    // The one that is asked then says what it lacks.
    if equipped.is_empty() {
        eligible
    } else {
        equipped
    }
}

/// The pause that a provider's error asks for.
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

fn key(pool: &Pool) -> String {
    format!("health/{}", pool.name)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A provider that wants to be left alone for longer is asked again after this time.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// After so many failures in a row a member rests.
const PATIENCE: u64 = 3;

/// How long the first time; twice as long after each further failure.
const FIRST_REST: Duration = Duration::from_secs(1);

/// 32 seconds at most.
const MAX_DOUBLINGS: u64 = 5;

/// A failure counts as an answer after this time at least: whoever fails fast is not fast.
const PENALTY: Duration = Duration::from_secs(5);

/// What was measured so long ago counts half.
const HALF_LIFE: Duration = Duration::from_secs(2);

/// A member that was not measured for so long is asked once, to see how it does.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Between two members of other workers.
const MAX_TRIES: usize = 8;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::config::Gateway;
    use crate::shared::Memory;

    const MILLISECOND: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MILLISECOND;

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
        now: u64,
    }

    impl World {
        fn new(strategy: &str, count: usize) -> Self {
            Self {
                pool: pool(strategy, count),
                shared: Memory::default(),
                turns: Turns::default(),
                now: 1_700_000_000 * SECOND,
            }
        }

        /// Who is asked first now.
        fn first(&self) -> Result<usize, Duration> {
            let all = Members::all(self.pool.members().len());
            let record = Record::read(&self.pool, &self.shared);
            let available = record.available(all, self.now)?;
            let well = record.well(self.now);
            let order = self
                .pool
                .pick(all, available, well, |foremost| match self.pool.strategy {
                    Strategy::Latency => {
                        record.fastest(&self.pool, foremost, &self.turns, &self.shared, self.now)
                    }
                    _ => self.turns.next(&self.pool, foremost),
                });
            Ok(order.unwrap().attempts[0])
        }

        /// A request, answered after these times.
        fn ask(&mut self, answers: &[u64]) -> usize {
            let place = self.first().unwrap();
            let took = answers[place];
            self.tell(place, Outcome::Answered(took));
            self.now += took;
            place
        }

        fn tell(&self, place: usize, outcome: Outcome) {
            tell(&self.pool, place, outcome, &self.shared, self.now);
        }
    }

    #[test]
    fn the_fastest_is_asked_and_another_one_now_and_then() {
        let times = [50 * MILLISECOND, 20 * MILLISECOND, 90 * MILLISECOND];
        let mut world = World::new("latency", 3);
        let mut counts = [0; 3];
        for _ in 0..1_000 {
            counts[world.ask(&times)] += 1;
        }
        let seconds = (world.now - 1_700_000_000 * SECOND) / SECOND;
        println!("1,000 requests in {seconds} s at 50, 20 and 90 ms: {counts:?}");
        assert!(counts[1] >= 980, "{counts:?}");
        assert!(counts[0] >= 3 && counts[2] >= 3, "{counts:?}");
    }

    #[test]
    fn traffic_moves_when_the_fastest_becomes_slow_and_back_when_it_recovers() {
        let fast = [20 * MILLISECOND, 50 * MILLISECOND];
        let slow = [500 * MILLISECOND, 50 * MILLISECOND];
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
            assert!(world.now - began < 60 * SECOND);
        }
        assert_eq!(last, 0);
        let intervals = (world.now - began) as f64 / nanos(PROBE_INTERVAL) as f64;
        println!("it recovers: it has the traffic again after {intervals:.1} probe intervals");
        assert!(intervals <= 3.0, "{intervals}");
    }

    #[test]
    fn with_little_traffic_few_requests_go_to_the_slow() {
        let times = [20 * MILLISECOND, 500 * MILLISECOND];
        let mut world = World::new("latency", 2);
        let mut slow = 0;
        for _ in 0..100 {
            slow += world.ask(&times);
            world.now += 10 * SECOND;
        }
        assert!(slow <= 11, "{slow}");
    }

    #[test]
    fn who_fails_fast_is_not_fast() {
        let mut world = World::new("latency", 2);
        let times = [30 * MILLISECOND, 60 * MILLISECOND];
        for _ in 0..10 {
            world.ask(&times);
        }
        assert_eq!(world.first(), Ok(0));
        world.tell(0, Outcome::Failed(MILLISECOND, None));
        assert_eq!(world.first(), Ok(1));
    }

    #[test]
    fn a_pause_is_kept_to_by_everybody() {
        let mut world = World::new("weighted", 2);
        world.tell(0, Outcome::Failed(1, Some(Duration::from_secs(7))));
        for _ in 0..10 {
            assert_eq!(world.first(), Ok(1));
        }
        world.tell(1, Outcome::Failed(1, Some(Duration::from_secs(3))));
        assert_eq!(world.first(), Err(Duration::from_secs(3)));
        world.now += 3 * SECOND;
        assert_eq!(world.first(), Ok(1));
        world.now += 4 * SECOND;
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
            world.tell(0, Outcome::Failed(1, None));
        }
        assert!(!firsts(&world).contains(&0));
        world.now += SECOND;
        assert!(firsts(&world).contains(&0));
        world.tell(0, Outcome::Failed(1, None));
        world.now += SECOND;
        assert!(!firsts(&world).contains(&0));
        world.now += SECOND;
        world.tell(0, Outcome::Answered(1));
        assert!(firsts(&world).contains(&0));
        // Where all rest, somebody is asked all the same.
        for place in [0, 1, 0, 1, 0, 1] {
            world.tell(place, Outcome::Failed(1, None));
        }
        assert!(world.first().is_ok());
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
