//! What a request was before its first attempt changed it.
//!
//! Upstream there is one header map for all attempts: what one wrote, the next one finds. The body
//! comes again as the client sent it. So the first attempt keeps what is derived from the headers
//! that it changes, where the next one can read it.

use crate::headers::Headers;
use crate::pairs;

/// The parts of a request from which every attempt starts anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// The path with its query.
    pub path: String,
    /// The length that the client declared for its body. Unit: bytes.
    pub content_length: Option<u64>,
}

impl Original {
    /// What a request says that no attempt has changed yet; `None` where it has no path.
    pub fn of(headers: &Headers<'_>) -> Option<Self> {
        let length = headers.text("content-length");
        Some(Self {
            path: headers.text(":path")?.to_owned(),
            content_length: length.and_then(|length| length.parse().ok()),
        })
    }

    /// The bytes to keep.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.content_length.map(|length| length.to_string());
        pairs::encode(&[
            (":path", &self.path),
            ("content-length", length.as_deref().unwrap_or_default()),
        ])
    }

    /// What was kept; `None` where the bytes are not ours.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::of(&Headers::new(pairs::decode(bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        for content_length in [None, Some(0), Some(20 << 20)] {
            let original = Original {
                path: "/v1/x?y=ü".to_owned(),
                content_length,
            };
            assert_eq!(Original::decode(&original.encode()), Some(original));
        }
        assert_eq!(Original::decode(b"junk"), None);
    }
}
