//! Which Envoy is going to read what is rendered.

use std::fmt;

/// A version of Envoy, as far as it decides what can be rendered: `1.40`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u16,
    minor: u16,
}

/// A version that is not one, or that is too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidVersion(String);

impl Version {
    /// The oldest in which headers can wait for the body.
    pub const OLDEST: Self = Self::new(1, 35);

    /// The oldest that has composite clusters, of which pools are made. What is rendered for it
    /// works in every newer one.
    pub const POOLS: Self = Self::new(1, 37);

    /// The oldest that goes on to the next member of a composite cluster, within an attempt, where
    /// it has ejected one. An older one fails the request.
    const SKIPS_EJECTED: Self = Self::new(1, 40);

    const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Reads `1.40` or `1.40.0`.
    ///
    /// # Errors
    ///
    /// When the text is no version, or one before [`Version::OLDEST`].
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        let mut numbers = text.trim_start_matches('v').split('.');
        let mut next = || numbers.next()?.parse().ok();
        let version = next().zip(next());
        let version = version.map(|(major, minor)| Self::new(major, minor));
        version
            .filter(|version| *version >= Self::OLDEST)
            .ok_or_else(|| InvalidVersion(text.to_owned()))
    }

    /// Finds the version in what `envoy --version` prints: `…/1.40.0/Clean/…`.
    pub fn find(text: &str) -> Option<Self> {
        text.split(['/', ' ', '\n'])
            .find_map(|word| Self::parse(word).ok())
    }

    /// Whether a pool's member whose host is ejected is passed over at no cost.
    pub fn skips_ejected(self) -> bool {
        self >= Self::SKIPS_EJECTED
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for InvalidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let oldest = Version::OLDEST;
        write!(
            f,
            "{:?} is not a version from {oldest} on, such as 1.40.0",
            self.0
        )
    }
}

impl std::error::Error for InvalidVersion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_number() {
        let parse = |text| Version::parse(text).ok().map(|version| version.to_string());
        assert_eq!(parse("1.40").as_deref(), Some("1.40"));
        assert_eq!(parse("v1.37.0").as_deref(), Some("1.37"));
        assert_eq!(parse("1.100.1").as_deref(), Some("1.100"));
        for text in ["", "1", "1.34.9", "one.two", "1.x", "0.99"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let printed = "\n/usr/bin/envoy  version: 5b2a/1.40.0/Clean/RELEASE/BoringSSL\n";
        assert_eq!(Version::find(printed), Version::parse("1.40").ok());
        assert_eq!(Version::find("envoy"), None);
        assert!(Version::find(printed).is_some_and(Version::skips_ejected));
        assert!(!Version::POOLS.skips_ejected());
    }
}
