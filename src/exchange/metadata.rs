//! What an Envoy route says to the module in its metadata: per-route configuration.

use crate::pairs;

/// The members of `filter_metadata: {llm-proxy: {…}}` of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMetadata {
    /// The name of a backend.
    pub backend: Option<String>,
    /// The model that is always written.
    pub model: Option<String>,
    /// The route's path, below which the operation's suffix starts.
    pub path: Option<String>,
}

impl RouteMetadata {
    /// Reads the [pair list](pairs) that Envoy makes of the metadata. What is not text counts as
    /// absent, and so does an empty text.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        for (key, value) in pairs::decode(bytes).unwrap_or_default() {
            let text = std::str::from_utf8(value)
                .ok()
                .filter(|text| !text.is_empty());
            let text = text.map(str::to_owned);
            match key {
                b"backend" => found.backend = text,
                b"model" => found.model = text,
                b"path" => found.path = text,
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_members_are_read_and_others_skipped() {
        let bytes = pairs::encode(&[
            ("model", "m"),
            ("weight", "x"),
            ("path", "/a"),
            ("backend", ""),
        ]);
        let found = RouteMetadata::decode(&bytes);
        let expected = RouteMetadata {
            backend: None,
            model: Some("m".into()),
            path: Some("/a".into()),
        };
        assert_eq!(found, expected);
        assert_eq!(RouteMetadata::decode(&[0xff; 9]), RouteMetadata::default());
    }
}
