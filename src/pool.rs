//! A pool: several backends, one of which answers, and the orders in which they are asked.
//!
//! Envoy makes the attempts. For each order in which the members of a pool may be asked there is a
//! composite cluster, whose N-th child is asked by the N-th attempt. What is rendered has the
//! clusters of [`Pool::orders`]; the module, in the listener, picks one of them for each request.
//!
//! ```text
//!   pool a, b (priority 0), c (1)        a first      llm-pool/a,b,c
//!                                        b first      llm-pool/b,a,c
//!   while b is to be left alone          a first      llm-pool/a,c
//! ```
//!
//! # Invariants
//!
//! * Both sides make the same orders from the same configuration.
//! * An order has every one of its members once before any of them twice.

pub mod health;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::config::Backend;
pub use crate::config::value::Strategy;
use crate::name::BackendName;
use crate::operation::Kind;

/// Several backends for one request.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: BackendName,
    /// Which member is asked first.
    pub strategy: Strategy,
    /// After which statuses the next member is asked.
    pub fallback_on: FallbackOn,
    /// Time to the first byte of the reply, per attempt.
    pub timeout: Duration,
    /// At least one, at most [`MAX_MEMBERS`]; the names differ.
    members: Vec<Member>,
    /// Every order that there is a cluster for.
    orders: Vec<Order>,
}

/// A member of a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// The backend, with the rules that it has in this pool.
    pub backend: Rc<Backend>,
    /// Its share; not 0.
    pub weight: u32,
    /// A smaller number is asked first.
    pub priority: u32,
}

/// After which statuses the next member is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FallbackOn {
    /// These.
    pub statuses: BTreeSet<u16>,
    /// Every status from 500 to 599.
    pub server_errors: bool,
}

impl FallbackOn {
    /// Whether `status` is one of them.
    pub fn contains(&self, status: u16) -> bool {
        (self.server_errors && (500..=599).contains(&status)) || self.statuses.contains(&status)
    }
}

/// An order in which members are asked.
#[derive(Clone, Debug)]
pub struct Order {
    /// The composite cluster: the pool's name and, in order, the members'.
    pub cluster: Rc<str>,
    /// How many attempts there are after the first, as text.
    pub retries: Rc<str>,
    /// The members, by place, for each attempt; not empty.
    pub attempts: Vec<usize>,
    members: Members,
}

impl Order {
    /// How many members are asked before one of them is asked again.
    pub fn first_round(&self) -> usize {
        self.members.len().min(self.attempts.len())
    }
}

/// A set of members of a pool, by their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Members(u32);

impl Members {
    /// The first `count`; at most [`MAX_MEMBERS`].
    pub fn all(count: usize) -> Self {
        (0..count).collect()
    }

    /// Whether a member is in the set.
    pub fn contains(self, place: usize) -> bool {
        self.0 & bit(place) != 0
    }

    /// Whether every member of `other` is in the set.
    pub fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The members that both sets have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The set without a member.
    #[must_use]
    pub fn without(self, place: usize) -> Self {
        Self(self.0 & !bit(place))
    }

    /// The places, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_MEMBERS).filter(move |place| self.contains(*place))
    }
}

impl FromIterator<usize> for Members {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        Self(places.into_iter().fold(0, |set, place| set | bit(place)))
    }
}

fn bit(place: usize) -> u32 {
    u32::try_from(place).map_or(0, |place| 1_u32.checked_shl(place).unwrap_or(0))
}

/// What a configuration says of a pool, its names resolved.
#[derive(Clone, Debug)]
pub struct Written {
    /// As [`Pool::name`].
    pub name: BackendName,
    /// As [`Pool::strategy`].
    pub strategy: Strategy,
    /// Whether other members are asked when one fails.
    pub fallback: bool,
    /// As [`Pool::fallback_on`].
    pub fallback_on: FallbackOn,
    /// How many attempts there are at most after the first.
    pub max_retries: Option<u32>,
    /// As [`Pool::timeout`].
    pub timeout: Duration,
    /// The members.
    pub members: Vec<Member>,
}

/// A pool needs more clusters than [`MAX_ORDERS`], since too many of its members can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyOrders;

impl Pool {
    /// A pool and its orders. There are 1 to [`MAX_MEMBERS`] members.
    ///
    /// # Errors
    ///
    /// When the orders that models can lead to are too many.
    pub fn new(written: Written) -> Result<Self, TooManyOrders> {
        let Written {
            name,
            strategy,
            fallback,
            fallback_on,
            max_retries,
            timeout,
            members,
        } = written;
        let mut pool = Self {
            name,
            strategy,
            fallback_on,
            timeout,
            members,
            orders: Vec::new(),
        };
        let choices = match fallback {
            true => pool.choices()?,
            false => {
                let alone = |place| (place, Members::default().with(place));
                (0..pool.members.len()).map(alone).collect()
            }
        };
        let most = max_retries.map_or(usize::MAX, |retries| {
            usize::try_from(retries).map_or(usize::MAX, |retries| retries.saturating_add(1))
        });
        pool.orders = choices
            .into_iter()
            .map(|(first, members)| pool.order(first, members, most.min(MAX_ATTEMPTS)))
            .collect();
        Ok(pool)
    }

    /// The members, in file order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Every order that there is a cluster for.
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// The order that a cluster has.
    pub fn order_of(&self, cluster: &str) -> Option<&Order> {
        self.orders.iter().find(|order| *order.cluster == *cluster)
    }

    /// The member with this name, and its place.
    pub fn member(&self, name: &str) -> Option<(usize, &Member)> {
        let mut members = self.members.iter().enumerate();
        members.find(|(_, member)| member.backend.name.as_str() == name)
    }

    /// The members that know an operation.
    pub fn knowing(&self, kind: Kind) -> Members {
        let knows = |backend: &Backend| match (backend.dialects, kind) {
            (None, _) | (Some(_), Kind::ChatCompletions) => true,
            (Some(dialects), Kind::Embeddings) => dialects.have_embeddings(),
            (Some(_), _) => false,
        };
        self.members_where(|member| knows(&member.backend))
    }

    /// The members that could be left out, by the model that is asked for.
    pub fn choosy(&self) -> Members {
        self.members_where(|member| !member.backend.model.takes_any())
    }

    /// The members for which `holds`.
    pub fn members_where(&self, holds: impl Fn(&Member) -> bool) -> Members {
        let places = self.members.iter().enumerate();
        places
            .filter(|(_, member)| holds(member))
            .map(|(place, _)| place)
            .collect()
    }

    /// The order for a request that `eligible` members could answer, of whom `available` can be
    /// asked now. `preferred` chooses the first among equals: the foremost of those `available` who
    /// are `well`, too, or of all of them. `None` where nobody is left.
    pub fn pick(
        &self,
        eligible: Members,
        available: Members,
        well: Members,
        preferred: impl FnOnce(Members) -> Option<usize>,
    ) -> Option<&Order> {
        let asked = eligible.and(available);
        let firsts = match asked.and(well).is_empty() {
            true => asked,
            false => asked.and(well),
        };
        let first = preferred(self.foremost(firsts))?;
        // The members who are to be left out, if there is such an order; as few others as possible.
        let orders = self.orders.iter().filter(|order| {
            order.attempts.first() == Some(&first) && eligible.contains_all(order.members)
        });
        let beyond = |order: &&Order| order.members.len() - order.members.and(asked).len();
        let lacking = |order: &&Order| asked.len() - order.members.and(asked).len();
        orders.min_by_key(|order| (lacking(order), beyond(order)))
    }

    /// Those of a set who are asked before the others.
    fn foremost(&self, members: Members) -> Members {
        let of = |place: usize| self.members.get(place).map(|member| member.priority);
        let smallest = members.iter().filter_map(of).min();
        members
            .iter()
            .filter(|place| of(*place) == smallest)
            .collect()
    }

    /// Who is first, among whom: what orders are made for.
    ///
    /// First those that a request can need, by its model and its operation. Then, as long as there
    /// is room, those without one of the members, without two, and so on.
    fn choices(&self) -> Result<BTreeSet<(usize, Members)>, TooManyOrders> {
        let all = Members::all(self.members.len());
        let choosy: Vec<usize> = self.choosy().iter().collect();
        let operations = [Kind::ChatCompletions, Kind::Embeddings, Kind::Other];
        let mut sets = BTreeSet::new();
        for absent in subsets(&choosy) {
            let takes = all.iter().filter(|place| !absent.contains(*place));
            let takes: Members = takes.collect();
            sets.extend(operations.map(|kind| takes.and(self.knowing(kind))));
        }
        sets.retain(|set| !set.is_empty());
        let mut choices: BTreeSet<(usize, Members)> = BTreeSet::new();
        for set in &sets {
            choices.extend(set.iter().map(|first| (first, *set)));
        }
        if choices.len() > MAX_ORDERS {
            return Err(TooManyOrders);
        }
        loop {
            let smaller: BTreeSet<Members> = sets
                .iter()
                .flat_map(|set| set.iter().map(|place| set.without(place)))
                .filter(|set| !set.is_empty())
                .collect();
            let mut more = choices.clone();
            for set in &smaller {
                more.extend(set.iter().map(|first| (first, *set)));
            }
            if more.len() > MAX_ORDERS || more.len() == choices.len() {
                return Ok(choices);
            }
            choices = more;
            sets = smaller;
        }
    }

    fn order(&self, first: usize, members: Members, most: usize) -> Order {
        let priority = |place: usize| self.members.get(place).map(|member| member.priority);
        // Those behind the first come before those in front of it: who fails hands its work to
        // different members.
        let mut round: Vec<usize> = members.iter().collect();
        round.sort_by_key(|place| {
            let is_equal = priority(*place) == priority(first);
            (
                *place != first,
                priority(*place),
                is_equal && *place < first,
            )
        });
        let retries = |place: &usize| {
            let member = self.members.get(*place);
            member.map_or(0, |member| member.backend.max_retries)
        };
        let rounds = round.iter().map(retries).max().unwrap_or(0);
        let mut attempts = round.clone();
        for number in 1..=rounds {
            if attempts.len() >= most {
                break;
            }
            attempts.extend(round.iter().filter(|place| retries(place) >= number));
        }
        attempts.truncate(most.max(1));
        let names: Vec<&str> = round
            .iter()
            .filter_map(|place| self.members.get(*place))
            .map(|member| member.backend.name.as_str())
            .collect();
        Order {
            cluster: format!("{}/{}", self.name, names.join(",")).into(),
            retries: (attempts.len() - 1).to_string().into(),
            attempts,
            members,
        }
    }
}

impl Members {
    /// The set with a member more.
    #[must_use]
    fn with(self, place: usize) -> Self {
        Self(self.0 | bit(place))
    }
}

/// Every subset of these places, the empty one among them. At most [`MAX_MEMBERS`] places.
fn subsets(places: &[usize]) -> impl Iterator<Item = Members> {
    let count = bit(places.len()).max(1);
    (0..count).map(move |chosen| {
        let places = places.iter().enumerate();
        places
            .filter(|(number, _)| chosen & bit(*number) != 0)
            .map(|(_, place)| *place)
            .collect()
    })
}

/// Whose turn it is: what one worker remembers of its pools.
#[derive(Debug, Default)]
pub struct Turns(RefCell<BTreeMap<BackendName, Turn>>);

/// The same of one pool.
#[derive(Debug)]
struct Turn {
    /// What each member has gained and not spent.
    gained: Vec<i64>,
    /// Requests since the last that went to see how another member does.
    since_probe: u32,
}

impl Turns {
    /// The member of `among` whose turn it is.
    ///
    /// Smooth weighted round robin: each gains its weight, and who has most is chosen and loses what
    /// all have gained. In any stretch each is chosen by its share, spread evenly.
    /// Source: nginx, `ngx_http_upstream_round_robin.c`, which describes it; nothing is copied.
    pub fn next(&self, pool: &Pool, among: Members) -> Option<usize> {
        self.with(pool, |turn| turn.next(pool, among))?
    }

    /// Whether a request may go to see how another member does: not more than one in ten, so that
    /// few requests are not slow ones. Counts the request.
    fn may_probe(&self, pool: &Pool) -> bool {
        let counted = self.with(pool, |turn| {
            turn.since_probe = turn.since_probe.saturating_add(1);
            turn.since_probe >= REQUESTS_PER_PROBE
        });
        counted.unwrap_or(false)
    }

    /// One has gone.
    fn has_probed(&self, pool: &Pool) {
        self.with(pool, |turn| turn.since_probe = 0);
    }

    fn with<T>(&self, pool: &Pool, act: impl FnOnce(&mut Turn) -> T) -> Option<T> {
        let mut pools = self.0.borrow_mut();
        if !pools.contains_key(&pool.name) {
            let turn = Turn {
                gained: vec![0; pool.members.len()],
                since_probe: 0,
            };
            pools.insert(pool.name.clone(), turn);
        }
        pools.get_mut(&pool.name).map(act)
    }
}

impl Turn {
    fn next(&mut self, pool: &Pool, among: Members) -> Option<usize> {
        let gained = &mut self.gained;
        let mut sum = 0;
        let mut chosen: Option<(usize, i64)> = None;
        for (place, (member, gained)) in pool.members.iter().zip(gained.iter_mut()).enumerate() {
            if !among.contains(place) {
                continue;
            }
            let weight = match pool.strategy {
                Strategy::RoundRobin => 1,
                Strategy::Latency | Strategy::Weighted => i64::from(member.weight),
            };
            sum += weight;
            *gained += weight;
            if chosen.is_none_or(|(_, most)| *gained > most) {
                chosen = Some((place, *gained));
            }
        }
        let (place, _) = chosen?;
        if let Some(gained) = gained.get_mut(place) {
            *gained -= sum;
        }
        Some(place)
    }
}

/// Of so many requests of a worker at most one goes to see how another member does.
const REQUESTS_PER_PROBE: u32 = 10;

/// More members than this are refused.
pub const MAX_MEMBERS: usize = 16;

/// More clusters than this are not made for one pool.
pub const MAX_ORDERS: usize = 64;

/// More attempts than this are not made for one request.
pub const MAX_ATTEMPTS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Gateway;

    /// A pool of these members, in the words of a configuration.
    fn pool(keys: &str, members: &[&str]) -> Rc<Pool> {
        let backend = |member: &&str| {
            let (name, rest) = member.split_once(' ').unwrap_or((member, ""));
            let config = rest.split_once('|').map_or("", |(_, config)| config);
            format!("- {{name: {name}, type: vllm, config: {{endpoint: \"http://h\"{config}}}}}")
        };
        let member = |member: &&str| {
            let (name, rest) = member.split_once(' ').unwrap_or((member, ""));
            let rest = rest.split('|').next().unwrap_or_default();
            format!("{{name: {name}{rest}}}")
        };
        let backends: Vec<String> = members.iter().map(backend).collect();
        let members: Vec<String> = members.iter().map(member).collect();
        let text = format!(
            "backends:\n{}\n- {{name: p, type: pool, {keys} backends: [{}]}}\n",
            backends.join("\n"),
            members.join(", "),
        );
        let gateway = Gateway::parse(&text, &|_: &str| None).unwrap();
        Rc::clone(&gateway.pools[0])
    }

    fn clusters(pool: &Pool) -> Vec<&str> {
        pool.orders().iter().map(|it| &*it.cluster).collect()
    }

    fn attempts(pool: &Pool, cluster: &str) -> String {
        let order = pool.order_of(cluster).expect(cluster);
        let name = |place: &usize| pool.members()[*place].backend.name.as_str();
        order
            .attempts
            .iter()
            .map(name)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn there_is_a_cluster_for_every_order_that_can_be_needed() {
        let pool = pool("", &["a", "b", "c , priority: 1"]);
        assert_eq!(
            clusters(&pool),
            [
                "p/a", "p/a,b", "p/a,c", "p/a,b,c", "p/b", "p/b,a", "p/b,c", "p/b,a,c", "p/c",
                "p/c,a", "p/c,b", "p/c,a,b",
            ]
        );
    }

    #[test]
    fn every_member_is_asked_once_before_any_twice() {
        let members = [
            "a |, maxRetries: 2",
            "b |, maxRetries: 1",
            "c",
            "d , priority: 1",
        ];
        let all = pool("", &members);
        assert_eq!(attempts(&all, "p/a,b,c,d"), "a b c d a b a");
        assert_eq!(attempts(&all, "p/b,c,a,d"), "b c a d b a a");
        let cut = pool("maxRetries: 4,", &members);
        assert_eq!(attempts(&cut, "p/a,b,c,d"), "a b c d a");
        let none = pool("maxRetries: 0,", &members);
        assert_eq!(attempts(&none, "p/a,b,c,d"), "a");
        let alone = pool("fallback: false,", &members);
        assert_eq!(clusters(&alone), ["p/a", "p/b", "p/c", "p/d"]);
        assert_eq!(attempts(&alone, "p/a"), "a a a");
    }

    #[test]
    fn who_cannot_be_asked_is_not_in_the_order() {
        let pool = pool("", &["a", "b", "c , priority: 1"]);
        let all = Members::all(3);
        let first = |members: Members| members.iter().next();
        let pick = |available: Members| {
            let order = pool.pick(all, available, all, first);
            order.map(|order| order.cluster.to_string())
        };
        assert_eq!(pick(all).as_deref(), Some("p/a,b,c"));
        assert_eq!(pick(all.without(0)).as_deref(), Some("p/b,c"));
        assert_eq!(pick(all.without(0).without(1)).as_deref(), Some("p/c"));
        assert_eq!(pick(Members::default()), None);
    }

    #[test]
    fn clusters_stay_within_their_limit() {
        let names: Vec<String> = (0..MAX_MEMBERS)
            .map(|number| format!("m{number}"))
            .collect();
        for count in 1..=MAX_MEMBERS {
            let names: Vec<&str> = names.iter().take(count).map(String::as_str).collect();
            let pool = pool("", &names);
            let number = pool.orders().len();
            assert!((count..=MAX_ORDERS).contains(&number), "{count}: {number}");
            let distinct: BTreeSet<&str> = clusters(&pool).into_iter().collect();
            assert_eq!(distinct.len(), number, "{count}");
        }
    }

    #[test]
    fn turns_are_by_weight_and_spread_evenly() {
        let pool = pool("", &["a , weight: 5", "b", "c"]);
        let turns = Turns::default();
        let next = |_| turns.next(&pool, Members::all(3)).unwrap();
        let taken: Vec<usize> = (0..14).map(next).collect();
        assert_eq!(taken, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn ten_thousand_turns_are_split_by_weight() {
        let pool = pool("", &["a , weight: 70", "b , weight: 30"]);
        let turns = Turns::default();
        let mut counts = [0; 2];
        for _ in 0..10_000 {
            counts[turns.next(&pool, Members::all(2)).unwrap()] += 1;
        }
        println!("10,000 picks at 70/30: {counts:?}");
        assert_eq!(counts, [7_000, 3_000]);
    }

    #[test]
    fn a_round_robin_takes_no_account_of_weights() {
        let pool = pool("strategy: round-robin,", &["a , weight: 9", "b"]);
        let turns = Turns::default();
        let next = |_| turns.next(&pool, Members::all(2)).unwrap();
        assert_eq!((0..4).map(next).collect::<Vec<_>>(), [0, 1, 0, 1]);
    }
}
