//! A pool: several backends, one of which answers, and the orders of their attempts.
//!
//! Envoy makes the attempts. For each member there is an aggregate cluster that begins with it and
//! goes on with the others; with the retry priority `previous_priorities` each attempt goes to the
//! next member that this request has not tried. The rendered configuration has the clusters of
//! [`Pool::orders`]; the module, in the listener, selects one of them for each request.
//!
//! ```text
//!   pool a, b (priority 0), c (1)        first a      llm-pool/a    a b c
//!                                        first b      llm-pool/b    b a c
//!                                        first c      llm-pool/c    c a b
//! ```
//!
//! Where members serve different models, each set of members that can serve one model has such
//! clusters: `llm-pool/a` for the set of all members, `llm-pool/a/1` for the next set, and so on.
//!
//! # Invariants
//!
//! * The renderer and the module make the same orders from the same configuration.
//! * An order has every member of its set once before any of them twice.

pub mod health;
mod sets;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::backend::{Auth, Backend};
use crate::name::BackendName;
use crate::operation::Kind;
use crate::sorted;

/// Several backends for one request.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: BackendName,
    /// How the first member is selected.
    pub strategy: Strategy,
    /// The statuses after which the next member gets the request.
    pub fallback_on: FallbackOn,
    /// Time to the first byte of the reply, per attempt.
    pub timeout: Duration,
    /// The same for streams, where it is shorter.
    pub first_byte_timeout: Option<Duration>,
    /// At least one, at most [`MAX_MEMBERS`]; the names differ.
    members: Vec<Member>,
    /// Every order that has a cluster.
    orders: Vec<Rc<Order>>,
}

/// By what a pool chooses which of its members is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Who has answered fastest lately.
    Latency,
    /// Whose turn it is.
    RoundRobin,
    /// Whose turn it is, by shares.
    #[default]
    Weighted,
}

/// A member of a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// The backend, with the rules that it has in this pool.
    pub backend: Rc<Backend>,
    /// Its share; not 0.
    pub weight: u32,
    /// Members with a smaller number come first.
    pub priority: u32,
}

/// The statuses after which the next member gets the request.
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

/// An order of attempts.
#[derive(Clone, Debug)]
pub struct Order {
    /// The aggregate cluster.
    pub cluster: Rc<str>,
    /// The members of the cluster, by place, in its order; not empty.
    pub round: Vec<usize>,
    /// The number of attempts, at least 1. Envoy repeats the round as long as there are any.
    pub attempts: usize,
    members: Members,
}

impl Order {
    /// The member of the first attempt.
    pub fn first(&self) -> Option<usize> {
        self.round.first().copied()
    }

    /// The number of attempts of a request for which only the `useful` members are worth an attempt:
    /// the round ends after the last of them.
    pub fn attempts_for(&self, useful: Members) -> usize {
        match self.round.iter().rposition(|place| useful.contains(*place)) {
            Some(last) if last + 1 < self.round.len() => self.attempts.min(last + 1),
            _ => self.attempts,
        }
    }
}

/// A set of members of a pool, by their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Members(u64);

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

    /// Whether the set has no members.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The number of members.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The members that both sets have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members that `other` does not have.
    #[must_use]
    pub fn except(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The set with one more member.
    #[must_use]
    pub fn with(self, place: usize) -> Self {
        Self(self.0 | bit(place))
    }

    /// The set without a member.
    #[must_use]
    pub fn without(self, place: usize) -> Self {
        Self(self.0 & !bit(place))
    }

    /// The places, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let place = rest.trailing_zeros() as usize;
            rest &= rest.wrapping_sub(1);
            (place < MAX_MEMBERS).then_some(place)
        })
    }
}

impl FromIterator<usize> for Members {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        places.into_iter().fold(Self::default(), Self::with)
    }
}

fn bit(place: usize) -> u64 {
    u32::try_from(place).map_or(0, |place| 1_u64.checked_shl(place).unwrap_or(0))
}

/// A pool as a configuration writes it, its names resolved.
#[derive(Clone, Debug)]
pub struct Written {
    /// As [`Pool::name`].
    pub name: BackendName,
    /// As [`Pool::strategy`].
    pub strategy: Strategy,
    /// Whether another member gets the request when one fails.
    pub fallback: bool,
    /// As [`Pool::fallback_on`].
    pub fallback_on: FallbackOn,
    /// The largest number of attempts after the first.
    pub max_retries: Option<u32>,
    /// As [`Pool::timeout`].
    pub timeout: Duration,
    /// As [`Pool::first_byte_timeout`].
    pub first_byte_timeout: Option<Duration>,
    /// The members.
    pub members: Vec<Member>,
}

impl Pool {
    /// A pool and its orders. There are 1 to [`MAX_MEMBERS`] members.
    pub fn new(written: Written) -> Self {
        let Written {
            name,
            strategy,
            fallback,
            fallback_on,
            max_retries,
            timeout,
            first_byte_timeout,
            members,
        } = written;
        let mut pool = Self {
            name,
            strategy,
            fallback_on,
            timeout,
            first_byte_timeout,
            members,
            orders: Vec::new(),
        };
        let sets = if fallback {
            pool.sets()
        } else {
            pool.single_sets()
        };
        let most = max_retries.map_or(MAX_ATTEMPTS, |retries| {
            usize::try_from(retries).map_or(usize::MAX, |retries| retries.saturating_add(1))
        });
        let most = most.min(MAX_ATTEMPTS);
        let mut orders = Vec::new();
        let mut number = 0;
        for set in sets {
            // The set of all members, and a set of one, need no number: the first member says it.
            let suffix = match set.len() {
                1 if !fallback => String::new(),
                len if len == pool.members.len() => String::new(),
                _ => {
                    number += 1;
                    format!("/{number}")
                }
            };
            orders.extend(set.iter().filter_map(|first| {
                let member = pool.members.get(first)?;
                let cluster = format!("{}/{}{suffix}", pool.name, member.backend.name);
                Some(Rc::new(pool.order(cluster, first, set, most)))
            }));
        }
        pool.orders = orders;
        pool
    }

    /// The members, in file order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Every order that has a cluster.
    pub fn orders(&self) -> &[Rc<Order>] {
        &self.orders
    }

    /// The order of a cluster.
    pub fn order_of(&self, cluster: &str) -> Option<&Rc<Order>> {
        let rest = cluster.strip_prefix(self.name.as_str())?;
        if !rest.starts_with('/') {
            return None;
        }
        self.orders.iter().find(|order| *order.cluster == *cluster)
    }

    /// The member with this name, and its place.
    pub fn member(&self, name: &str) -> Option<(usize, &Member)> {
        let mut members = self.members.iter().enumerate();
        members.find(|(_, member)| member.backend.name.as_str() == name)
    }

    /// The members that support an operation.
    pub fn supporting(&self, kind: Kind) -> Members {
        self.members_where(|member| member.backend.supports(kind))
    }

    /// The names of the operations that some member serves.
    pub fn served(&self) -> Vec<&'static str> {
        let mut served = Vec::new();
        for member in &self.members {
            for name in member.backend.served() {
                if !served.contains(&name) {
                    served.push(name);
                }
            }
        }
        served
    }

    /// The members that serve certain models only.
    pub fn restricted_by_model(&self) -> Members {
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

    /// The order that begins with `first`, for a request that `eligible` members can serve, of which
    /// the `usable` ones could be sent it now.
    ///
    /// If no order has exactly these members, one with fewer of the usable members is better than
    /// one with a member that would have to reject the request.
    pub fn order_from(
        &self,
        first: usize,
        eligible: Members,
        usable: Members,
    ) -> Option<&Rc<Order>> {
        let orders = self
            .orders
            .iter()
            .filter(|order| order.first() == Some(first) && eligible.contains_all(order.members));
        orders.min_by_key(|order| {
            let unusable = order.members.except(usable);
            let absent = usable.except(order.members);
            (!unusable.is_empty(), absent.len(), unusable.len())
        })
    }

    /// The members of a set that have the smallest priority in it.
    pub fn foremost(&self, members: Members) -> Members {
        let smallest = self.smallest_priority(members);
        members
            .iter()
            .filter(|place| self.priority(*place) == smallest)
            .collect()
    }

    /// The smallest priority of a set.
    pub fn smallest_priority(&self, members: Members) -> Option<u32> {
        members
            .iter()
            .filter_map(|place| self.priority(place))
            .min()
    }

    /// The priority of a member.
    pub fn priority(&self, place: usize) -> Option<u32> {
        self.members.get(place).map(|member| member.priority)
    }

    /// A set for each member.
    fn single_sets(&self) -> Vec<Members> {
        let single = |place| Members::default().with(place);
        (0..self.members.len()).map(single).collect()
    }

    /// The sets of members that have orders, the set of all members first if it is one of them.
    ///
    /// These are the sets of members that can serve one request: by its model, by its operation, and
    /// by the access tokens that there may not be yet.
    fn sets(&self) -> Vec<Members> {
        let all = Members::all(self.members.len());
        let restricted = self.restricted_by_model();
        let rules = self.members.iter().enumerate();
        let rules = rules
            .filter(|(place, _)| restricted.contains(*place))
            .map(|(place, member)| (place, &member.backend.model));
        let by_model = sets::by_model(rules, all.except(restricted));
        let operations = [
            Kind::ChatCompletions,
            Kind::CountTokens,
            Kind::Embeddings,
            Kind::InputTokens,
            Kind::Other,
        ];
        let by_operation = operations.map(|kind| self.supporting(kind));
        let by_content = self.admitting_sets();
        let mut without: Vec<Members> = vec![Members::default()];
        without.extend(self.token_sources());
        let sets = by_model
            .into_iter()
            .flat_map(|set| by_operation.map(|able| set.and(able)))
            .flat_map(|set| by_content.iter().map(move |admitting| set.and(*admitting)))
            .flat_map(|set| without.iter().map(move |absent| set.except(*absent)))
            .filter(|set| !set.is_empty());
        let sets: BTreeSet<Members> = sorted::collect(sets);
        let mut sets: Vec<Members> = sets.into_iter().collect();
        sorted::sort_by_key(&mut sets, |set| (std::cmp::Reverse(set.len()), *set));
        let clusters = |sets: &[Members]| sets.iter().map(|set| set.len()).sum::<usize>();
        if clusters(&sets) > MAX_CLUSTERS {
            // Each request still has an order, if with fewer members than could serve it.
            let single = self.single_sets();
            while clusters(&sets) + single.len() > MAX_CLUSTERS && sets.len() > 1 {
                sets.pop();
            }
            sets.retain(|set| set.len() > 1);
            sets.extend(single);
        }
        sets
    }

    /// The sets of members that admit one request by its path, method and content type: all of them;
    /// those without rules about models; and for each operation whose model cannot be read the members
    /// that list it, alone if the route restricts the model, else with those without rules.
    fn admitting_sets(&self) -> Vec<Members> {
        let all = Members::all(self.members.len());
        let unrestricted = self.members_where(|it| {
            it.backend.wire.is_translated() || !it.backend.model.is_restricted()
        });
        let backends = self.members.iter().map(|it| &it.backend);
        let unchecked = backends.flat_map(|it| it.unchecked.iter());
        let by_unchecked = unchecked.flat_map(|operation| {
            let lists = |member: &Member| member.backend.unchecked.contains(operation);
            let listing = self.members_where(lists);
            [listing, listing.iter().fold(unrestricted, Members::with)]
        });
        let sets: BTreeSet<Members> = sorted::collect(by_unchecked.chain([all, unrestricted]));
        sets.into_iter().collect()
    }

    /// The members that get their access tokens from one source, for each source; then all of them.
    fn token_sources(&self) -> Vec<Members> {
        let mut sources: BTreeMap<String, Members> = BTreeMap::new();
        for (place, member) in self.members.iter().enumerate() {
            if let Auth::Token(_, source) = &member.backend.auth {
                let members = sources.entry(source.cluster()).or_default();
                *members = members.with(place);
            }
        }
        let all = self.members_where(|it| matches!(it.backend.auth, Auth::Token(..)));
        let mut sources: Vec<Members> = sources.into_values().collect();
        if sources.len() > MAX_TOKEN_SOURCES {
            sources.clear();
        }
        sources.push(all);
        sources
    }

    fn order(&self, cluster: String, first: usize, members: Members, most: usize) -> Order {
        // The places behind the first come before those in front of it, so that the requests of
        // a failed member go to different members.
        let mut round: Vec<usize> = members.iter().collect();
        sorted::sort_by_key(&mut round, |place| {
            let is_equal = self.priority(*place) == self.priority(first);
            (
                *place != first,
                self.priority(*place),
                is_equal && *place < first,
            )
        });
        // Envoy begins again with the first member, so a further round ends at the first member that
        // has no attempts left.
        let retries = |place: &usize| {
            let member = self.members.get(*place);
            member.map_or(0, |member| member.backend.max_retries)
        };
        let mut attempts = round.len();
        for number in 1.. {
            let again = round.iter().take_while(|place| retries(place) >= number);
            let again = again.count();
            attempts = attempts.saturating_add(again);
            if again < round.len() || attempts >= most {
                break;
            }
        }
        Order {
            cluster: cluster.into(),
            attempts: attempts.clamp(1, most.max(1)),
            round,
            members,
        }
    }
}

/// The turns of pool members: the state of weighted selection in one worker.
#[derive(Debug, Default)]
pub struct Turns(RefCell<BTreeMap<BackendName, Turn>>);

/// The turns in one pool.
#[derive(Debug)]
struct Turn {
    /// The credit of each member: its weights since it was last selected.
    gained: Vec<i64>,
    /// Requests since the last that measured another member than the fastest.
    since_probe: u32,
}

impl Turns {
    /// Selects the next member of `among`.
    ///
    /// Smooth weighted round robin: each member gains its weight, and the one with most is selected
    /// and loses the sum of all weights. In any stretch each is selected by its share, spread evenly.
    /// Source: nginx, `ngx_http_upstream_round_robin.c`, which describes it; nothing is copied.
    pub fn next(&self, pool: &Pool, among: Members) -> Option<usize> {
        self.with(pool, |turn| turn.next(pool, among))?
    }

    /// Whether a request may measure another member than the fastest: at most one in ten, so that
    /// few requests are slow. Counts the request.
    fn may_probe(&self, pool: &Pool) -> bool {
        let counted = self.with(pool, |turn| {
            turn.since_probe = turn.since_probe.saturating_add(1);
            turn.since_probe >= REQUESTS_PER_PROBE
        });
        counted.unwrap_or(false)
    }

    /// A request has measured another member.
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

/// At most one of this many requests of a worker measures another member than the fastest.
const REQUESTS_PER_PROBE: u32 = 10;

/// A pool with more members is refused.
pub const MAX_MEMBERS: usize = 64;

/// A pool has at most this many clusters.
pub const MAX_CLUSTERS: usize = 1024;

/// A request has at most this many attempts.
pub const MAX_ATTEMPTS: usize = 2 * MAX_MEMBERS;

/// A pool with more sources of access tokens has clusters without all of them, not without each.
const MAX_TOKEN_SOURCES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Gateway;

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

    /// The cluster, the members in its order, and the number of attempts of each order.
    fn orders(pool: &Pool) -> Vec<String> {
        let name = |place: &usize| pool.members()[*place].backend.name.as_str();
        let orders = pool.orders().iter().map(|order| {
            let round: Vec<&str> = order.round.iter().map(name).collect();
            format!("{}: {} x{}", order.cluster, round.join(" "), order.attempts)
        });
        orders.collect()
    }

    #[test]
    fn a_pool_has_a_cluster_for_each_member() {
        let pool = pool("", &["a", "b", "c , priority: 1"]);
        assert_eq!(
            orders(&pool),
            ["p/a: a b c x3", "p/b: b a c x3", "p/c: c a b x3"]
        );
    }

    #[test]
    fn each_set_of_members_that_can_serve_a_model_has_clusters() {
        let members = [
            "a |, models: [m-*]",
            "b |, models: [\"*-1\"]",
            "c |, model: x",
        ];
        let expected = [
            "p/a: a b c x3",
            "p/b: b c a x3",
            "p/c: c a b x3",
            "p/a/1: a c x2",
            "p/c/1: c a x2",
            "p/b/2: b c x2",
            "p/c/2: c b x2",
            "p/c/3: c x1",
        ];
        assert_eq!(orders(&pool("", &members)), expected);
    }

    #[test]
    fn a_member_without_a_token_can_be_left_out() {
        let text = "backends:
- {name: a, type: google, config: {projectId: p, location: l, defaultModel: gemini-2.5-flash}}
- {name: b, type: vllm, config: {endpoint: http://h}}
- {name: p, type: pool, backends: [{name: a}, {name: b}]}";
        let gateway = Gateway::parse(text, &|_: &str| None).unwrap();
        let expected = ["p/a: a b x2", "p/b: b a x2", "p/a/1: a x1", "p/b/2: b x1"];
        assert_eq!(orders(&gateway.pools[0])[..4], expected);
    }

    #[test]
    fn a_further_round_ends_at_a_member_without_retries_of_its_own() {
        let members = [
            "a |, maxRetries: 2",
            "b |, maxRetries: 1",
            "c",
            "d , priority: 1",
        ];
        let all = pool("", &members);
        assert_eq!(orders(&all)[..2], ["p/a: a b c d x6", "p/b: b c a d x5"]);
        let cut = pool("maxRetries: 4,", &members);
        assert_eq!(orders(&cut)[0], "p/a: a b c d x5");
        let none = pool("maxRetries: 0,", &members);
        assert_eq!(orders(&none)[0], "p/a: a b c d x1");
        let alone = pool("fallback: false,", &members);
        assert_eq!(
            orders(&alone),
            ["p/a: a x3", "p/b: b x2", "p/c: c x1", "p/d: d x1"]
        );
    }

    #[test]
    fn the_round_ends_after_the_last_useful_member() {
        let pool = pool("", &["a |, maxRetries: 1", "b", "c"]);
        let order = &pool.orders()[0];
        let all = Members::all(3);
        assert_eq!(order.attempts, 4);
        assert_eq!(order.attempts_for(all), 4);
        assert_eq!(order.attempts_for(all.without(1)), 4);
        assert_eq!(order.attempts_for(all.without(2)), 2);
        assert_eq!(order.attempts_for(Members::default().with(0)), 1);
    }

    #[test]
    fn the_largest_pool_has_a_cluster_for_each_member() {
        let names: Vec<String> = (0..MAX_MEMBERS).map(|at| format!("m{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let pool = pool("", &names);
        assert_eq!(pool.orders().len(), MAX_MEMBERS);
        assert!(pool.orders().iter().all(|it| it.attempts == MAX_MEMBERS));
    }

    #[test]
    fn a_pool_with_too_many_sets_has_an_order_for_each_request() {
        // Each name leads to another set.
        let served = |at: usize| (0..12).filter(move |name| (at >> name) & 1 == 1);
        let members: Vec<String> = (1..=MAX_MEMBERS)
            .map(|at| {
                let names: Vec<String> = served(at * 61).map(|name| format!("m{name}")).collect();
                format!("b{at} |, models: [{}]", names.join(", "))
            })
            .collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let pool = pool("", &members);
        assert!(pool.orders().len() <= MAX_CLUSTERS);
        for name in 0..12 {
            let model = format!("m{name}");
            let eligible = pool.members_where(|it| it.backend.model.takes(Some(&model)));
            for first in eligible.iter() {
                let order = pool.order_from(first, eligible, eligible).unwrap();
                assert!(order.round.iter().all(|place| eligible.contains(*place)));
            }
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
