//! The header map that Envoy has of a message.

use llm_proxy::headers::{HeaderEdit, Headers};

/// Names and values, in order.
pub type Pairs = Vec<(String, String)>;

/// What the module sees of a map.
pub fn list(pairs: &Pairs) -> Headers<'_> {
    let bytes = pairs.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes()));
    Headers::new(bytes.collect())
}

/// The first value of a header.
pub fn header<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(it, _)| it == name);
    found.map(|(_, value)| value.as_str())
}

/// Does what the module wants done.
pub fn apply(pairs: &mut Pairs, edits: Vec<HeaderEdit>) {
    for edit in edits {
        let (HeaderEdit::Remove(name) | HeaderEdit::Set(name, _)) = &edit;
        let place = pairs.iter().position(|(it, _)| it == name.as_str());
        pairs.retain(|(it, _)| it != name.as_str());
        if let HeaderEdit::Set(name, value) = edit {
            let place = place.unwrap_or(pairs.len()).min(pairs.len());
            let pair = (name.as_str().to_owned(), value.as_str().to_owned());
            pairs.insert(place, pair);
        }
    }
}
