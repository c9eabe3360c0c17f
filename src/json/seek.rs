//! Finds the values at a few places of a text, whatever the chunk boundaries, and checks nothing of the
//! rest. What other values look like does not matter: only the path to a value counts.

use super::CAPTURE_LIMIT;

/// A place to look at. Its number is its position in the list.
pub struct Place {
    /// The number of the place that it is in, or [`ROOT`].
    pub within: u8,
    /// The name of the member; empty: an item of an array.
    pub name: &'static str,
    /// What is wanted of it.
    pub wants: Wants,
}

/// What is wanted of the value at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing: other places are within it.
    Nothing,
    /// That it is there: no empty text, no `null`, no number, no `true` and no `false`.
    Presence,
    /// Its text, up to [`CAPTURE_LIMIT`] bytes; a longer one is not reported.
    Text,
}

/// The root of the text.
pub const ROOT: u8 = u8::MAX;

/// Reads a text and reports values.
pub struct Seeker {
    places: &'static [Place],
    /// The places that are not looked at any more: a bit for each.
    off: u32,
    state: State,
    /// The place of the value that is next, or is read.
    place: u8,
    /// The objects and arrays that are open and have places in them, by their place.
    ///
    /// depth <= open.len()
    open: [(u8, bool); MAX_DEPTH],
    depth: usize,
    /// How many objects and arrays are open within the value that is skipped.
    skipped: u32,
    /// The key that is read, or a longer one's beginning.
    key: Vec<u8>,
    /// The text of the value that is wanted.
    text: Vec<u8>,
    is_wanted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A comma, or the end of what is open.
    After,
    Colon,
    /// The text is complete, or not JSON.
    End,
    InKey,
    InKeyEscape,
    InScalar,
    InText,
    InTextEscape,
    Key,
    Skip,
    SkipText,
    SkipTextEscape,
    /// The first byte of a text whose presence is wanted.
    TextStart,
    Value,
}

impl Seeker {
    /// A seeker at the start of a text.
    pub fn new(places: &'static [Place]) -> Self {
        Self {
            places,
            off: 0,
            state: State::Value,
            place: ROOT,
            open: [(NOWHERE, false); MAX_DEPTH],
            depth: 0,
            skipped: 0,
            key: Vec::new(),
            text: Vec::new(),
            is_wanted: false,
        }
    }

    /// From here on another text is read. The places that were given up stay so.
    pub fn restart(&mut self) {
        self.state = State::Value;
        self.place = ROOT;
        self.depth = 0;
        self.is_wanted = false;
    }

    /// Does not look at a place any more.
    pub fn give_up(&mut self, place: usize) {
        self.off |= 1u32.checked_shl(place as u32).unwrap_or(0);
    }

    /// Reads the next part of the text. `found` gets the number of a place and, where it is wanted, the
    /// text.
    pub fn push(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(&mut Self, usize, &[u8])) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                State::End => return,
                State::Skip => {
                    let length = structure(bytes);
                    let (skipped, after) = bytes.split_at_checked(length).unwrap_or((bytes, b""));
                    self.keep(skipped);
                    let Some((&byte, rest)) = after.split_first() else {
                        return;
                    };
                    self.keep(&[byte]);
                    bytes = rest;
                    match byte {
                        b'"' => self.state = State::SkipText,
                        b'{' | b'[' => self.skipped = self.skipped.saturating_add(1),
                        _ => self.skipped = self.skipped.saturating_sub(1),
                    }
                    if self.skipped == 0 {
                        self.value_ends(found);
                    }
                }
                State::InText | State::SkipText => {
                    let length = text_end(bytes);
                    let (skipped, after) = bytes.split_at_checked(length).unwrap_or((bytes, b""));
                    self.keep(skipped);
                    let Some((&byte, rest)) = after.split_first() else {
                        return;
                    };
                    self.keep(&[byte]);
                    bytes = rest;
                    match (self.state, byte) {
                        (State::InText, b'"') => self.value_ends(found),
                        (State::InText, _) => self.state = State::InTextEscape,
                        (_, b'"') => self.state = State::Skip,
                        (_, _) => self.state = State::SkipTextEscape,
                    }
                }
                State::InTextEscape | State::SkipTextEscape => {
                    self.keep(&[byte]);
                    bytes = rest;
                    self.state = match self.state {
                        State::InTextEscape => State::InText,
                        _ => State::SkipText,
                    };
                }
                State::InKey => {
                    let length = text_end(bytes);
                    let (part, after) = bytes.split_at_checked(length).unwrap_or((bytes, b""));
                    self.extend_key(part);
                    let Some((&byte, rest)) = after.split_first() else {
                        return;
                    };
                    bytes = rest;
                    match byte {
                        b'"' => {
                            self.place = self.place_of_key();
                            self.state = State::Colon;
                        }
                        _ => {
                            self.extend_key(&[byte]);
                            self.state = State::InKeyEscape;
                        }
                    }
                }
                State::InKeyEscape => {
                    self.extend_key(&[byte]);
                    self.state = State::InKey;
                    bytes = rest;
                }
                State::InScalar => match byte {
                    b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' => self.value_ends(found),
                    _ => {
                        self.keep(&[byte]);
                        bytes = rest;
                    }
                },
                State::TextStart => {
                    if byte != b'"' {
                        found(self, usize::from(self.place), b"");
                    }
                    self.state = State::InText;
                }
                State::After | State::Colon | State::Key | State::Value
                    if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') =>
                {
                    bytes = rest;
                }
                State::Value => {
                    bytes = match byte {
                        b'"' | b'{' | b'[' | b']' | b'}' => rest,
                        _ => bytes,
                    };
                    self.value_starts(byte, found);
                }
                State::Key => {
                    bytes = rest;
                    match byte {
                        b'"' => {
                            self.key.clear();
                            self.state = State::InKey;
                        }
                        b'}' => self.close(),
                        _ => self.state = State::End,
                    }
                }
                State::Colon => {
                    bytes = rest;
                    self.state = match byte {
                        b':' => State::Value,
                        _ => State::End,
                    };
                }
                State::After => {
                    bytes = rest;
                    match (byte, self.innermost()) {
                        (b',', Some((place, true))) => self.expect_item(place),
                        (b',', Some((_, false))) => self.state = State::Key,
                        (b'}' | b']', Some(_)) => self.close(),
                        _ => self.state = State::End,
                    }
                }
            }
        }
    }

    fn value_starts(&mut self, byte: u8, found: &mut dyn FnMut(&mut Self, usize, &[u8])) {
        let wants = self.wants();
        self.is_wanted = wants == Wants::Text;
        self.text.clear();
        match byte {
            b'"' => {
                self.keep(b"\"");
                self.state = match wants {
                    Wants::Presence => State::TextStart,
                    Wants::Nothing | Wants::Text => State::InText,
                };
            }
            b'{' | b'[' => {
                if wants == Wants::Presence {
                    found(self, usize::from(self.place), b"");
                }
                let place = self.place;
                let is_array = byte == b'[';
                let has_places = !self.is_wanted && self.has_places(place);
                match self.open.get_mut(self.depth).filter(|_| has_places) {
                    Some(level) => {
                        *level = (place, is_array);
                        self.depth += 1;
                        match is_array {
                            true => self.expect_item(place),
                            false => self.state = State::Key,
                        }
                    }
                    None => {
                        self.keep(&[byte]);
                        self.skipped = 1;
                        self.state = State::Skip;
                    }
                }
            }
            // An array without items.
            b']' => self.close(),
            b'}' => self.state = State::End,
            _ => self.state = State::InScalar,
        }
    }

    fn value_ends(&mut self, found: &mut dyn FnMut(&mut Self, usize, &[u8])) {
        self.state = match self.depth {
            0 => State::End,
            _ => State::After,
        };
        if std::mem::take(&mut self.is_wanted) {
            let text = std::mem::take(&mut self.text);
            found(self, usize::from(self.place), &text);
            self.text = text;
        }
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.state = match self.depth {
            0 => State::End,
            _ => State::After,
        };
    }

    fn expect_item(&mut self, array: u8) {
        self.place = self.place_in(array, b"");
        self.state = State::Value;
    }

    /// The innermost open object or array that has places.
    fn innermost(&self) -> Option<(u8, bool)> {
        self.open.get(self.depth.checked_sub(1)?).copied()
    }

    fn place_of_key(&self) -> u8 {
        let Some((within, _)) = self.innermost() else {
            return NOWHERE;
        };
        if !self.key.contains(&b'\\') {
            return self.place_in(within, &self.key);
        }
        let quoted = [b"\"", self.key.as_slice(), b"\""].concat();
        match super::decode_string(&quoted) {
            Some(key) => self.place_in(within, key.as_bytes()),
            None => NOWHERE,
        }
    }

    fn place_in(&self, within: u8, name: &[u8]) -> u8 {
        let mut places = (0u8..).zip(self.places);
        let is_it = |(number, it): &(u8, &Place)| {
            it.within == within && it.name.as_bytes() == name && !self.is_off(*number)
        };
        places.find(is_it).map_or(NOWHERE, |(number, _)| number)
    }

    fn has_places(&self, within: u8) -> bool {
        let mut places = (0u8..).zip(self.places);
        places.any(|(number, it)| it.within == within && !self.is_off(number))
    }

    fn is_off(&self, place: u8) -> bool {
        self.off & 1u32.checked_shl(u32::from(place)).unwrap_or(0) != 0
    }

    fn wants(&self) -> Wants {
        let place = self.places.get(usize::from(self.place));
        place.map_or(Wants::Nothing, |it| it.wants)
    }

    fn extend_key(&mut self, part: &[u8]) {
        // A longer key is none of those that are looked for: one byte more than fits tells.
        let room = (MAX_KEY_BYTES + 1).saturating_sub(self.key.len());
        self.key.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    fn keep(&mut self, part: &[u8]) {
        if !self.is_wanted {
            return;
        }
        if self.text.len() + part.len() > CAPTURE_LIMIT {
            self.is_wanted = false;
            return;
        }
        self.text.extend_from_slice(part);
    }
}

/// The length of what is before the first quote or backslash.
fn text_end(bytes: &[u8]) -> usize {
    position(bytes, |byte| (byte == b'"') | (byte == b'\\'))
}

/// The length of what is before the first quote, brace or bracket.
fn structure(bytes: &[u8]) -> usize {
    // In ASCII a brace is a bracket with one bit more.
    position(bytes, |byte| {
        (byte == b'"') | ((byte | 0x20) == b'{') | ((byte | 0x20) == b'}')
    })
}

/// The length of what is before the first byte of a kind.
#[inline(always)]
fn position(bytes: &[u8], is_it: impl Fn(u8) -> bool) -> usize {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let has_it = |block: &[u8; BLOCK]| {
        let found = block.iter().map(|&byte| u8::from(is_it(byte)));
        found.fold(0, std::ops::BitOr::bitor) != 0
    };
    let clear = blocks.iter().take_while(|block| !has_it(block)).count() * BLOCK;
    let rest = bytes.get(clear..).unwrap_or_default();
    let at = rest.iter().position(|&byte| is_it(byte));
    clear + at.unwrap_or(rest.len())
}

const BLOCK: usize = 16;

/// No place.
const NOWHERE: u8 = ROOT - 1;

/// How deep places are within each other, at most.
const MAX_DEPTH: usize = 8;

/// The longest key of a place, every character escaped.
const MAX_KEY_BYTES: usize = 32 * 6;

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: [Place; 7] = [
        place(ROOT, "model", Wants::Text),
        place(ROOT, "usage", Wants::Text),
        place(ROOT, "choices", Wants::Nothing),
        place(2, "", Wants::Presence),
        place(3, "finish_reason", Wants::Text),
        place(3, "delta", Wants::Nothing),
        place(5, "content", Wants::Presence),
    ];

    const fn place(within: u8, name: &'static str, wants: Wants) -> Place {
        Place {
            within,
            name,
            wants,
        }
    }

    fn found<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<(usize, String)> {
        let mut seeker = Seeker::new(&PLACES);
        let mut all = Vec::new();
        for chunk in chunks {
            seeker.push(chunk, &mut |_, place, text| {
                all.push((place, String::from_utf8(text.to_vec()).unwrap()));
            });
        }
        all
    }

    #[test]
    fn values_are_found_by_their_path_alone_at_every_chunking() {
        for (text, expected) in [
            (
                r#"{"model":"m","usage":{"a":[1,{"b":"}"}]}}"#,
                vec![(0, r#""m""#), (1, r#"{"a":[1,{"b":"}"}]}"#)],
            ),
            (
                r#"{ "usage" : null , "model" : "a\"b" }"#,
                vec![(1, "null"), (0, r#""a\"b""#)],
            ),
            (r#"{"us\u0061ge":7}"#, vec![(1, "7")]),
            (
                r#"{"x":"\"usage\":{\"a\":1}","y":{"usage":{"a":1}},"z":["usage",{"usage":1}]}"#,
                vec![],
            ),
            (r#"{"choices":[],"usage":{}}"#, vec![(1, "{}")]),
            (
                r#"{"choices":[{"delta":{"content":"hi"},"finish_reason":null},{"usage":1,"finish_reason":"stop"}]}"#,
                vec![(3, ""), (6, ""), (4, "null"), (3, ""), (4, r#""stop""#)],
            ),
            (
                r#"{"choices":[{"delta":{"content":""}}],"usage":1}"#,
                vec![(3, ""), (1, "1")],
            ),
            (
                r#"{"choices":[{"delta":{"content":null,"x":[[["usage"]]]}}]}"#,
                vec![(3, "")],
            ),
            (r#"{"choices":{"delta":1},"usage":2}"#, vec![(1, "2")]),
            (r#"[{"usage":1}]"#, vec![]),
            (r#""usage""#, vec![]),
            (r#"{"a":1}{"usage":1}"#, vec![]),
            (r#"{"a" "usage":1}"#, vec![]),
            (r#"{"a":"\\","usage":1.5e3}"#, vec![(1, "1.5e3")]),
            (r#"{"a":"\\\"","usage":true}"#, vec![(1, "true")]),
        ] {
            let expected: Vec<(usize, String)> = expected
                .into_iter()
                .map(|(place, text)| (place, text.to_owned()))
                .collect();
            let bytes = text.as_bytes();
            assert_eq!(found([bytes]), expected, "{text}");
            assert_eq!(found(bytes.chunks(1)), expected, "{text}, byte by byte");
            for at in 0..bytes.len() {
                assert_eq!(
                    found([&bytes[..at], &bytes[at..]]),
                    expected,
                    "{text} at {at}"
                );
            }
        }
    }

    #[test]
    fn a_value_that_is_too_long_is_not_reported_and_ends_where_it_ends() {
        let long = "x".repeat(CAPTURE_LIMIT);
        let text = format!(r#"{{"usage":{{"a":"{long}"}},"model":"m"}}"#);
        assert_eq!(found([text.as_bytes()]), [(0, r#""m""#.to_owned())]);
    }
}
