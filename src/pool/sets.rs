//! The sets of members that can serve one model, for all names that a model can have.
//!
//! A member serves the names that its patterns match. All patterns are matched side by side against
//! every possible name, letter by letter; names after which the same patterns are open in the same
//! way lead to the same sets, so each such state is visited once.
//!
//! # Limits
//!
//! Hostile patterns can have more states than memory. After [`MAX_STATES`] the rest is left out: a
//! request for a name that only the rest has uses a smaller set.

use std::collections::{BTreeMap, BTreeSet};

use super::Members;
use crate::model::ModelRule;
use crate::sorted;

/// The distinct sets; `unrestricted` members are in each of them.
pub fn by_model<'a>(
    rules: impl Iterator<Item = (usize, &'a ModelRule)>,
    unrestricted: Members,
) -> BTreeSet<Members> {
    let patterns: Vec<Pattern> = rules
        .flat_map(|(member, rule)| rule.patterns().map(move |text| Pattern::new(member, &text)))
        .collect();
    let start: State = sorted::collect((0..patterns.len()).map(|pattern| (pattern, 0)));
    let mut found = BTreeSet::new();
    let mut seen: BTreeSet<State> = sorted::collect([start.clone()]);
    let mut waiting = vec![start];
    while let Some(state) = waiting.pop() {
        found.insert(accepted(&patterns, &state, unrestricted));
        for next in successors(&patterns, &state) {
            if seen.len() < MAX_STATES && seen.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    // A request may name no model.
    found.insert(unrestricted);
    found
}

/// The open patterns after some letters: the number of each, and how much of it has matched.
type State = BTreeSet<(usize, usize)>;

struct Pattern {
    member: usize,
    items: Vec<Item>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Letter(char),
    /// Any text, also none.
    Star,
}

impl Pattern {
    fn new(member: usize, text: &str) -> Self {
        let item = |letter| match letter {
            '*' => Item::Star,
            letter => Item::Letter(letter),
        };
        let mut items: Vec<Item> = text.chars().map(item).collect();
        items.dedup_by(|a, b| (*a, *b) == (Item::Star, Item::Star));
        Self { member, items }
    }
}

/// The members whose patterns match the name that ends here.
fn accepted(patterns: &[Pattern], state: &State, unrestricted: Members) -> Members {
    let matches = |pattern: &Pattern, at: usize| {
        let rest = pattern.items.get(at..).unwrap_or_default();
        rest.iter().all(|item| *item == Item::Star)
    };
    let patterns = state.iter().filter_map(|(number, at)| {
        let pattern = patterns.get(*number)?;
        matches(pattern, *at).then_some(pattern.member)
    });
    patterns.fold(unrestricted, Members::with)
}

/// The states after one more letter: each that a pattern has next, and one that no pattern has.
fn successors(patterns: &[Pattern], state: &State) -> Vec<State> {
    let mut any = State::new();
    let mut by_letter: BTreeMap<char, State> = BTreeMap::new();
    for (number, at) in state {
        let items = patterns.get(*number).map_or(&[][..], |it| &it.items);
        let mut at = *at;
        if items.get(at) == Some(&Item::Star) {
            any.insert((*number, at));
            at += 1;
        }
        if let Some(Item::Letter(letter)) = items.get(at) {
            let next = by_letter.entry(*letter).or_default();
            next.insert((*number, at + 1));
        }
    }
    let mut states: Vec<State> = by_letter.into_values().collect();
    for state in &mut states {
        state.extend(&any);
    }
    states.push(any);
    states
}

/// More than any list of model names needs.
const MAX_STATES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Glob;

    /// The sets of members that have these patterns each, the last one unrestricted.
    fn sets(members: &[&[&str]]) -> Vec<Vec<usize>> {
        let rule = |patterns: &&[&str]| ModelRule {
            serves: Some(patterns.iter().map(|it| Glob::new(it)).collect()),
            ..ModelRule::default()
        };
        let rules: Vec<ModelRule> = members.iter().map(rule).collect();
        let unrestricted = Members::default().with(members.len());
        let sets = by_model(rules.iter().enumerate(), unrestricted);
        sets.iter().map(|set| set.iter().collect()).collect()
    }

    #[test]
    fn families_of_models_exclude_each_other() {
        let families: [&[&str]; 3] = [&["gpt-*", "o1*"], &["claude-*"], &["gpt-*"]];
        assert_eq!(
            sets(&families),
            [vec![3], vec![0, 3], vec![1, 3], vec![0, 2, 3]]
        );
    }

    #[test]
    fn patterns_that_one_name_can_match_share_a_set() {
        assert_eq!(
            sets(&[&["*-mini"], &["gpt-*"]]),
            [vec![2], vec![0, 2], vec![1, 2], vec![0, 1, 2]]
        );
        assert_eq!(
            sets(&[&["a*b"], &["ab"]]),
            [vec![2], vec![0, 2], vec![0, 1, 2]]
        );
        assert_eq!(sets(&[&["*"], &["**"]]), [vec![2], vec![0, 1, 2]]);
    }

    #[test]
    fn a_name_leads_to_a_set_that_is_found() {
        let members: [&[&str]; 4] = [&["a*", "*b"], &["*a*", "b"], &["ab*ba"], &["a", "aa*"]];
        let found = sets(&members);
        let letters = ['a', 'b', 'c'];
        for number in 0..3_usize.pow(6) {
            let name: String = (0..6)
                .map(|at| letters[number / 3_usize.pow(at) % 3])
                .take(number % 7)
                .collect();
            let serves = |patterns: &&[&str]| {
                let mut patterns = patterns.iter();
                patterns.any(|it| Glob::new(it).matches(&name))
            };
            let set: Vec<usize> = (0..5)
                .filter(|member| members.get(*member).is_none_or(serves))
                .collect();
            assert!(found.contains(&set), "{name}: {set:?}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let texts: Vec<String> = (0..24)
            .map(|at| format!("*{}*", "ab".repeat(at + 1)))
            .collect();
        let texts: Vec<[&str; 1]> = texts.iter().map(|it| [it.as_str()]).collect();
        let members: Vec<&[&str]> = texts.iter().map(|it| it.as_slice()).collect();
        assert!(!sets(&members).is_empty());
    }
}
