//! Items that are carried by a conversation: nothing is stored, and references to items resolve.
//!
//! Some clients do not send an earlier reply's items again but `{"type": "item_reference", "id"}`, since
//! OpenAI has stored them (the AI SDK does it unless `store` is `false`). An id is known before its item
//! is complete, so it cannot have the item's content. But a reply can end with one more item: reasoning
//! that says nothing, and whose id has the content of all items before it. Clients send it, or a
//! reference to it, with the others.
//!
//! ```text
//!   rs_carrier1_ base64url( [ item, item, … ] )        items: as they are in an input
//! ```
//!
//! What a client sends as a carrier can say no more than what it sends as items: nothing in it is trusted.

use std::convert::Infallible;

use crate::api::InvalidRequest;
use crate::base64;
use crate::failure::quotable;
use crate::json::{self, Text, Writer};

/// What the id of a carrier begins with, and the version of what follows.
pub(super) const PREFIX: &str = "rs_carrier1_";

/// The longest items that are carried, as JSON. Unit: bytes.
pub(super) const MAX_CARRIED_BYTES: usize = 64 << 10;

/// As long as the items of most replies. Unit: bytes.
const MAX_USUAL_BYTES: usize = 4 << 10;

/// Whether an item with this id is a carrier.
pub(super) fn is_carrier(id: Text<'_>) -> bool {
    id.quoted().text().starts_with(PREFIX.as_bytes())
}

/// The id that carries these items, which `write` writes as the content of an array; `None`: there are
/// none, or they are too long.
pub(super) fn id(write: &mut dyn FnMut(&mut Writer)) -> Option<String> {
    let mut array = |json: &mut Writer| {
        json.array(&mut *write);
        Ok::<_, Infallible>(())
    };
    let ((), items) = json::write_within(MAX_USUAL_BYTES, MAX_CARRIED_BYTES, &mut array).ok()?;
    (items != b"[]").then(|| [PREFIX, &base64::encode_url(&items)].concat())
}

/// The items that an id carries, as a JSON array; `None`: it carries none.
pub(super) fn items(id: &str) -> Option<Vec<u8>> {
    base64::decode_url(id.strip_prefix(PREFIX)?)
}

/// Writes a carrier.
pub(super) fn write(json: &mut Writer, id: &str) {
    json.object(|json| {
        json.key("id").string(id);
        json.key("type").string("reasoning");
        json.key("summary").array(|_| {});
    });
}

/// That an item is referred to which is not in the conversation.
pub(super) fn unknown_reference(path: &str, id: &str) -> InvalidRequest {
    let message = format!(
        "the item {:?} is stored by another server, or was too long to be referred to; send the item \
         itself: with \"store\": false, clients do",
        quotable(id)
    );
    InvalidRequest::at(path, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_items_up_to_their_limit() {
        let id = id(&mut |json| json.string("é")).unwrap();
        assert!(id.starts_with(PREFIX) && id.is_ascii());
        assert_eq!(items(&id).as_deref(), Some("[\"é\"]".as_bytes()));
        assert_eq!(super::id(&mut |_| {}), None);
        let long = "x".repeat(MAX_CARRIED_BYTES);
        assert_eq!(super::id(&mut |json| json.string(&long)), None);
        for foreign in ["", "rs_1", "rs_carrier2_W10", "rs_carrier1_*"] {
            assert_eq!(items(foreign), None, "{foreign}");
        }
    }
}
