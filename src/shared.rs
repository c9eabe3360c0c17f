//! What the workers know in common: small values by name.
//!
//! Every worker of Envoy has a module of its own. What one of them learns, such as a token or a
//! provider that asks for a pause, the others read here. Envoy keeps it in memory, for all plugins
//! with one `vm_id`, until the process ends.
//!
//! # Invariants
//!
//! * A key has a namespace of its owner: `token/…`.
//! * Whoever changes a value by what it was says so with [`Expected`]; between reading and writing
//!   another worker may have been there.

/// Reads and writes what is shared.
pub trait Shared {
    /// A value and its version.
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)>;

    /// Sets a value, unless `expected` does not hold. Gives whether it was set.
    fn set(&self, key: &str, value: &[u8], expected: Expected) -> bool;
}

/// Which of the values that a key has had. They are only equal or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// What must hold for a value to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// There is none.
    Absent,
    /// Nothing: the last one who sets wins.
    Anything,
    /// It is still this one.
    Version(Version),
}

/// What is shared where there is no host: one map.
#[derive(Debug, Default)]
pub struct Memory(std::cell::RefCell<std::collections::BTreeMap<String, (Vec<u8>, Version)>>);

impl Shared for Memory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        self.0.borrow().get(key).cloned()
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> bool {
        let mut values = self.0.borrow_mut();
        let version = values.get(key).map(|(_, version)| *version);
        let holds = match expected {
            Expected::Absent => version.is_none(),
            Expected::Anything => true,
            Expected::Version(expected) => version.is_none_or(|version| version == expected),
        };
        if holds {
            let version = Version(version.map_or(1, |Version(version)| version.wrapping_add(1)));
            values.insert(key.to_owned(), (value.to_vec(), version));
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_changes_only_where_what_is_expected_holds() {
        let shared = Memory::default();
        assert!(shared.set("a", b"1", Expected::Absent));
        assert!(!shared.set("a", b"2", Expected::Absent));
        let (value, version) = shared.get("a").unwrap();
        assert_eq!(value, b"1");
        assert!(shared.set("a", b"3", Expected::Version(version)));
        assert!(!shared.set("a", b"4", Expected::Version(version)));
        assert!(shared.set("a", b"5", Expected::Anything));
        assert_eq!(shared.get("a").unwrap().0, b"5");
    }
}
