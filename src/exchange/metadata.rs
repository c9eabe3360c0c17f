//! What an Envoy route says to the module in its metadata: per-route configuration.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::model::{Aliases, Renaming};
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
    /// What becomes of the client's model before the backend's rules.
    ///
    /// Shape: `aliases` is a text, the JSON of a configuration's `modelAliases`; `prefix` is what is
    /// cut off a name that begins with it.
    pub renaming: Renaming,
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
                b"prefix" => found.renaming.prefix = text.map(Rc::from),
                b"aliases" => found.renaming.aliases = text.map(|text| Rc::new(aliases(&text))),
                _ => {}
            }
        }
        found
    }
}

/// The text of [`RouteMetadata::renaming`]'s aliases.
pub fn aliases_text(aliases: &Aliases) -> String {
    let entries: BTreeMap<String, &str> = aliases.written().collect();
    serde_json::to_string(&entries).unwrap_or_default()
}

/// What was written there; what is not such a text has none.
fn aliases(text: &str) -> Aliases {
    let entries: BTreeMap<String, Rc<str>> = serde_json::from_str::<BTreeMap<String, String>>(text)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, model)| (name, Rc::from(model)))
        .collect();
    Aliases::new(entries)
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
            renaming: Renaming::default(),
        };
        assert_eq!(found, expected);
        assert_eq!(RouteMetadata::decode(&[0xff; 9]), RouteMetadata::default());
    }
    #[test]
    fn aliases_come_back_from_their_text() {
        let entry = |name: &str, model: &str| (name.to_owned(), Rc::from(model));
        let written = Aliases::new([entry("a*", "x"), entry("a", "\"y\"")]);
        let text = aliases_text(&written);
        let bytes = pairs::encode(&[("aliases", text.as_str()), ("prefix", "b/")]);
        let found = RouteMetadata::decode(&bytes).renaming;
        let expected = Renaming {
            aliases: Some(Rc::new(written)),
            prefix: Some(Rc::from("b/")),
        };
        assert_eq!(found, expected);
        let broken = RouteMetadata::decode(&pairs::encode(&[("aliases", "[1]")]));
        assert!(broken.renaming.is_empty());
    }
}
