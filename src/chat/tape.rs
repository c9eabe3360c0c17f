//! A conversation as places in the text that it was read from.
//!
//! A body of 30 MB may have a million messages or parts, and a struct for each would take many times
//! what they take in the text. So what was read is kept as a list of entries of 8 bytes, in the order
//! of the text: each says what something is, and where it is. A message begins with an entry of its
//! own, and its parts and calls follow; a part, a call or a tool begins with one, and its attributes
//! follow.
//!
//! ```text
//!  {"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u","detail":"low"}}]}
//!   User                      Text "a"                   Image "u" · Detail "low"
//! ```
//!
//! The shortest message that is valid has 28 bytes and two entries, the shortest part 25 and one.

use crate::json::{Raw, Text};

/// Entries, and the text that they are about.
#[derive(Debug)]
pub(crate) struct Tape<'a> {
    text: &'a [u8],
    /// All but the last are full. So no entry is ever moved but in the first: a list that grows as a
    /// vector does takes three times its content.
    segments: Vec<Vec<Entry>>,
}

/// What something is, and where: 6 bits of [`Kind`], 29 of an offset, 29 of a length.
#[derive(Clone, Copy, Debug)]
struct Entry(u64);

/// The longest text that a [`Tape`] can be about. A VM has memory for half of it. Unit: bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 1 << PLACE_BITS;

const PLACE_BITS: u32 = 29;
const SEGMENT_ENTRIES: usize = 4096;

macro_rules! kinds {
    ($($(#[$about:meta])* $name:ident,)*) => {
        /// What an entry is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub(crate) enum Kind {
            $($(#[$about])* $name,)*
        }

        const KINDS: &[Kind] = &[$(Kind::$name,)*];
    };
}

kinds! {
    // Messages.
    Assistant,
    System,
    /// With the id of the call.
    Tool,
    User,
    // Attributes of messages.
    MessageCache,
    Reasoning,
    ReasoningSignature,
    // Parts.
    /// With its data.
    Audio,
    File,
    /// With its URL.
    Image,
    /// An image with its data, in base64.
    ImageData,
    Refusal,
    Text,
    /// One of a kind that is not known, with that.
    UnknownPart,
    // Attributes of parts.
    Detail,
    FileData,
    FileId,
    FileName,
    /// Its content, where that is text.
    FileText,
    Format,
    /// Of an [`ImageData`](Self::ImageData), or of [`FileData`](Self::FileData) that is base64 alone.
    MediaType,
    PartCache,
    // Calls.
    /// With its id.
    Call,
    // Attributes of calls.
    Arguments,
    /// The text of a call of a custom tool, in place of arguments.
    CallCustomInput,
    CallName,
    CallSignature,
    // Tools.
    /// With its name.
    Function,
    // Attributes of tools.
    Description,
    IsCustom,
    IsNotStrict,
    IsStrict,
    Parameters,
    ToolCache,
    // Choices of a reply, by why they ended.
    ChoiceCalls,
    ChoiceFiltered,
    ChoiceLength,
    /// With the provider's word.
    ChoiceOther,
    ChoiceStop,
    // What a choice says, beside texts, refusals, calls, and thinking as `Reasoning`.
    /// The signature of the thinking before it.
    BlockSignature,
    /// The arguments of a call, as JSON.
    CallInput,
    /// The same with white space that is left out.
    CallInputSpaced,
    /// A picture, with its media type.
    Media,
    /// The data of the picture before it, in base64.
    MediaData,
    /// Thinking that is not shown.
    Redacted,
    /// The signature of a text.
    TextSignature,
    // Tokens.
    Token,
    /// Of the token before it.
    Logprob,
    /// One that could be in the place of the [`Token`](Self::Token) before it.
    TopToken,
}

impl Kind {
    /// Whether a message begins with it.
    pub(crate) fn is_message(self) -> bool {
        self <= Self::User
    }

    /// Whether a choice begins with it.
    pub(crate) fn is_choice(self) -> bool {
        (Self::ChoiceCalls..=Self::ChoiceStop).contains(&self)
    }

    /// Whether a part of a message's content begins with it.
    pub(crate) fn is_part(self) -> bool {
        (Self::Audio..=Self::UnknownPart).contains(&self)
    }
}

impl<'a> Tape<'a> {
    /// A tape without entries, about a text of at most [`MAX_TEXT_BYTES`].
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            segments: Vec::new(),
        }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        match self.segments.split_last() {
            Some((last, full)) => full.len() * SEGMENT_ENTRIES + last.len(),
            None => 0,
        }
    }

    /// Adds an entry. `place` is a part of the text; where it is not, it counts as empty.
    pub(crate) fn push(&mut self, kind: Kind, place: &[u8]) {
        let start = place
            .as_ptr()
            .addr()
            .wrapping_sub(self.text.as_ptr().addr());
        let is_within = start < self.text.len() && place.len() <= self.text.len() - start;
        let (start, length) = match is_within {
            true => (start as u64, place.len() as u64),
            false => (0, 0),
        };
        let entry = Entry((kind as u64) << (2 * PLACE_BITS) | start << PLACE_BITS | length);
        match self.segments.last_mut() {
            Some(last) if last.len() < SEGMENT_ENTRIES => last.push(entry),
            last => {
                // Most conversations are short.
                let capacity = last.map_or(16, |_| SEGMENT_ENTRIES);
                let mut segment = Vec::with_capacity(capacity);
                segment.push(entry);
                self.segments.push(segment);
            }
        }
    }

    /// Makes another entry of the one at `index`.
    pub(crate) fn replace(&mut self, index: usize, kind: Kind, place: &[u8]) {
        let end = self.len();
        self.push(kind, place);
        let Some(last) = self.segments.last_mut() else {
            return;
        };
        let entry = last.pop();
        if last.is_empty() {
            self.segments.pop();
        }
        let segment = self.segments.get_mut(index / SEGMENT_ENTRIES);
        let place = segment.and_then(|it| it.get_mut(index % SEGMENT_ENTRIES));
        if let (Some(place), Some(entry)) = (place, entry)
            && index < end
        {
            *place = entry;
        }
    }

    /// The entry at `index`: what it is, and where.
    pub(crate) fn get(&self, index: usize) -> Option<(Kind, &'a [u8])> {
        let segment = self.segments.get(index / SEGMENT_ENTRIES)?;
        let Entry(entry) = *segment.get(index % SEGMENT_ENTRIES)?;
        let kind = KINDS.get((entry >> (2 * PLACE_BITS)) as usize)?;
        let part = |shift: u32| (entry >> shift) as usize & (MAX_TEXT_BYTES - 1);
        let (start, length) = (part(PLACE_BITS), part(0));
        Some((*kind, self.text.get(start..start + length)?))
    }

    /// The entries from this [position](Span::position) on.
    pub(crate) fn from(&self, position: u32) -> Span<'_> {
        Span {
            start: position as usize,
            ..self.all()
        }
    }

    /// All entries.
    pub(crate) fn all(&self) -> Span<'_> {
        Span {
            tape: self,
            start: 0,
            end: self.len(),
        }
    }
}

/// Some entries of a tape, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'r> {
    tape: &'r Tape<'r>,
    start: usize,
    end: usize,
}

impl<'r> Span<'r> {
    /// Where on the tape it begins.
    pub(crate) fn position(self) -> u32 {
        // There are fewer entries than bytes.
        u32::try_from(self.start).unwrap_or(u32::MAX)
    }

    /// The first entry, and those behind it.
    pub(crate) fn split_first(mut self) -> Option<(Kind, &'r [u8], Self)> {
        if self.start >= self.end {
            return None;
        }
        let (kind, place) = self.tape.get(self.start)?;
        self.start += 1;
        Some((kind, place, self))
    }

    /// The entries from the front for which this holds, and those behind them.
    pub(crate) fn split_while(self, holds: impl Fn(Kind) -> bool) -> (Self, Self) {
        let mut rest = self;
        while let Some((kind, _, after)) = rest.split_first()
            && holds(kind)
        {
            rest = after;
        }
        let before = Self {
            end: rest.start,
            ..self
        };
        (before, rest)
    }

    /// What all entries are, and where.
    pub(crate) fn entries(self) -> impl Iterator<Item = (Kind, &'r [u8])> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let (kind, place, after) = rest.split_first()?;
            rest = after;
            Some((kind, place))
        })
    }

    /// The text of the first entry of this kind.
    pub(crate) fn text(self, kind: Kind) -> Option<Text<'r>> {
        self.find(kind).map(Text::checked)
    }

    /// The value of the first entry of this kind.
    pub(crate) fn raw(self, kind: Kind) -> Option<Raw<'r>> {
        self.find(kind).map(Raw::checked)
    }

    fn find(self, kind: Kind) -> Option<&'r [u8]> {
        let found = self.entries().find(|(it, _)| *it == kind);
        found.map(|(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_where_they_were_put() {
        let text = b"0123456789".repeat(2000);
        let mut tape = Tape::new(&text);
        for index in 0..10_000 {
            let kind = KINDS[index % KINDS.len()];
            tape.push(kind, &text[index..index * 2]);
            assert_eq!(tape.len(), index + 1);
        }
        tape.replace(9_999, Kind::User, &text[7..9]);
        tape.replace(0, Kind::User, b"elsewhere");
        tape.replace(4_096, Kind::Tool, &text[text.len()..]);
        for index in 0..10_000 {
            let expected = match index {
                0 => (Kind::User, &b""[..]),
                4_096 => (Kind::Tool, &b""[..]),
                9_999 => (Kind::User, &text[7..9]),
                _ => (KINDS[index % KINDS.len()], &text[index..index * 2]),
            };
            assert_eq!(tape.get(index), Some(expected));
        }
        assert_eq!(tape.get(10_000), None);
        let span = tape.all();
        assert_eq!(span.entries().count(), 10_000);
        let (before, after) = span.split_while(|kind| kind != Kind::Audio);
        assert_eq!(before.entries().count() + after.entries().count(), 10_000);
        assert_eq!(
            after.split_first().map(|(kind, ..)| kind),
            Some(Kind::Audio)
        );
    }
}
