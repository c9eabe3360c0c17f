//! Sorting, and ordered maps and sets, in little code.
//!
//! Each type that the standard library sorts costs the module 8 to 12 KB, and `collect` into an ordered
//! map or set sorts first. Nothing here is in the path of a request: lists are short, or sorted once.

use std::cmp::Ordering;

/// Collects into an ordered map or set, one item after the other: of two with one key the later counts.
///
/// ```
/// use std::collections::BTreeMap;
///
/// let map: BTreeMap<&str, u8> = llm_proxy::sorted::collect([("b", 1), ("a", 2), ("b", 3)]);
/// assert_eq!(Vec::from_iter(map), [("a", 2), ("b", 3)]);
/// ```
pub fn collect<C: Default + Extend<T>, T>(items: impl IntoIterator<Item = T>) -> C {
    let mut collection = C::default();
    collection.extend(items);
    collection
}

/// Sorts by a key, and keeps the order of items whose keys are equal.
///
/// ```
/// let mut items = vec!["bb", "c", "aa", "d"];
/// llm_proxy::sorted::sort_by_key(&mut items, |it| it.len());
/// assert_eq!(items, ["c", "d", "bb", "aa"]);
/// ```
pub fn sort_by_key<T, K: Ord>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts, and keeps the order of items that are equal.
pub fn sort_by<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let mut places: Vec<usize> = (0..items.len()).collect();
    sort_places(&mut places, &|one, other| {
        // All places are those of items.
        items
            .get(one)
            .zip(items.get(other))
            .map_or(Ordering::Equal, |(one, other)| compare(one, other))
    });
    let mut unsorted: Vec<Option<T>> = items.drain(..).map(Some).collect();
    let sorted = places.into_iter();
    items.extend(sorted.filter_map(|place| unsorted.get_mut(place)?.take()));
}

/// The one sort that all types share.
#[inline(never)]
fn sort_places(places: &mut [usize], compare: &dyn Fn(usize, usize) -> Ordering) {
    places.sort_unstable_by(|one, other| compare(*one, *other).then(one.cmp(other)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sorts_as_the_standard_library_does() {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 33
        };
        for length in (0..40).chain([1_000]) {
            let items: Vec<(u64, usize)> = (0..length).map(|at| (random() % 7, at)).collect();
            let (mut ours, mut expected) = (items.clone(), items);
            sort_by_key(&mut ours, |(key, _)| *key);
            expected.sort_by_key(|(key, _)| *key);
            assert_eq!(ours, expected);
        }
    }
}
