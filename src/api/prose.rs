//! What a model wrote, as one text.

use crate::chat::Choice;
use crate::chat::tape::Kind;
use crate::json::{Piece, Quoted, Writer};

/// Writes the texts of a choice behind each other, into a string that is open. No client API has a place
/// for a picture in a reply's message: Markdown has.
pub fn write(json: &mut Writer, choice: Choice<'_>) {
    let mut media_type = Quoted::default();
    for (kind, place) in choice.entries() {
        let text = Quoted::checked(place);
        match kind {
            Kind::Text => json.piece(Piece::Quoted(text)),
            Kind::Media => media_type = text,
            Kind::MediaData => {
                let mark = match media_type.text().starts_with(b"image/") {
                    true => "![",
                    false => "[",
                };
                for piece in [
                    Piece::Plain(mark),
                    Piece::Quoted(media_type),
                    Piece::Plain("](data:"),
                    Piece::Quoted(media_type),
                    Piece::Plain(";base64,"),
                    Piece::Quoted(text),
                    Piece::Plain(")"),
                ] {
                    json.piece(piece);
                }
            }
            _ => {}
        }
    }
}
