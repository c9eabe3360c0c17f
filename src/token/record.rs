//! What the workers share of one credential: its token, and how far the next one is.

use crate::moment::Moment;
use crate::pairs;
use crate::secret::Secret;
use crate::shared::{Shared, Version};

/// All that is shared, as one value: it changes as a whole, or not.
///
/// Moments may be [`Moment::NEVER`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The token, as long as there was one.
    pub token: Option<Fresh>,
    /// Until then one worker fetches, and the others leave it to that one.
    pub claim: Moment,
    /// Not before then anybody tries again.
    pub next: Moment,
    /// How many attempts have failed since the last that did not.
    pub failures: u32,
    /// Why the last one failed; empty: it did not.
    pub reason: String,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Itself.
    pub token: Secret,
    /// Requests go out with it until then.
    pub ends: Moment,
    /// From then on it is time to fetch another. `renews <= ends`
    pub renews: Moment,
}

impl Record {
    /// What is shared under this key, and its version, where there is something.
    pub fn read(shared: &dyn Shared, key: &str) -> (Self, Option<Version>) {
        match shared.get(key) {
            Some((bytes, version)) => (Self::decode(&bytes).unwrap_or_default(), Some(version)),
            None => (Self::default(), None),
        }
    }

    /// The bytes to share.
    pub fn encode(&self) -> Vec<u8> {
        let none = Fresh {
            token: Secret::new(""),
            ends: Moment::NEVER,
            renews: Moment::NEVER,
        };
        let token = self.token.as_ref().unwrap_or(&none);
        pairs::encode(&[
            ("token", &token.token.expose()),
            ("ends", &token.ends.as_nanos().to_string()),
            ("renews", &token.renews.as_nanos().to_string()),
            ("claim", &self.claim.as_nanos().to_string()),
            ("next", &self.next.as_nanos().to_string()),
            ("failures", &self.failures.to_string()),
            ("reason", &self.reason),
        ])
    }

    /// `None` where the bytes are not ours.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let pairs = pairs::decode(bytes)?;
        let text = |name: &str| {
            let (_, value) = pairs.iter().find(|(key, _)| *key == name.as_bytes())?;
            std::str::from_utf8(value).ok()
        };
        let moment = |name: &str| text(name)?.parse().ok().map(Moment::from_nanos);
        let token = text("token").filter(|token| !token.is_empty());
        Some(Self {
            token: match token {
                Some(token) => Some(Fresh {
                    token: Secret::new(token),
                    ends: moment("ends")?,
                    renews: moment("renews")?,
                }),
                None => None,
            },
            claim: moment("claim")?,
            next: moment("next")?,
            failures: text("failures")?.parse().ok()?,
            reason: text("reason")?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_comes_back() {
        let token = Fresh {
            token: Secret::new("ya29.x"),
            ends: Moment::from_nanos(5),
            renews: Moment::from_nanos(4),
        };
        for token in [None, Some(token)] {
            let record = Record {
                token,
                claim: Moment::from_nanos(1),
                next: Moment::from_nanos(2),
                failures: 3,
                reason: "no".to_owned(),
            };
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        assert_eq!(Record::decode(b"junk"), None);
    }
}
