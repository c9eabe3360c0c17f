//! Takes members out of a chat that its provider refuses: in messages those that only another
//! provider's reply can have brought, at the top level those that the provider does not have.
//!
//! Replies that are translated carry members which OpenAI's do not have (`reasoning_signature`,
//! `extra_content`), and clients send them back as they came. A pool may then try a backend that
//! refuses a member that it does not know.
//!
//! Such a member is overwritten with spaces, which JSON allows between its tokens, together with one
//! comma beside it. So the body keeps its length, and nothing has to wait for its end:
//!
//! ```text
//!   {"role":"assistant","reasoning_signature":"S","content":"a"}
//!   {"role":"assistant"                          ,"content":"a"}
//! ```
//!
//! The text is valid JSON: a [`Scanner`](crate::json::Scanner) reads the same bytes before. A key that
//! is written with escapes is not recognised and passes.

use crate::json::Blank;

/// Finds the members of one body, as it arrives.
#[derive(Debug)]
pub struct ForeignMembers {
    /// Of the body.
    top: &'static [&'static str],
    /// Of a message.
    names: &'static [&'static str],
    /// Where the next byte is in the body.
    position: u64,
    /// Where the bytes at hand begin: blanks count from there.
    base: u64,
    /// How many objects and arrays are open.
    depth: u32,
    /// How many of them, from the outside, are on the way `{"messages": [{"tool_calls": [{`.
    on_way: u32,
    text: Text,
    /// In an object on the way.
    member: Member,
    /// Where the comma before the next member is.
    comma: Option<u64>,
    /// The key that is being read, as far as it can be one of ours.
    key: [u8; MAX_KEY],
    key_length: usize,
    /// Since where the text is overwritten.
    blank: Option<Open>,
    /// Whether the bytes before the next key have gone on, so that it stays.
    is_too_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    AfterBackslash,
}

/// What comes next in an object on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// A key, or the end of the object. Holds whether a member has gone before that stays.
    Key { has_before: bool },
    /// The rest of a key, which began at this place.
    InKey { has_before: bool, start: u64 },
    /// The value, and then a comma or the end.
    Value,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    from: u64,
    /// Whether the comma behind it goes, too: no member that stays has gone before.
    takes_comma: bool,
}

impl ForeignMembers {
    /// A body of which nothing has arrived, and the members to take out of it and of its messages.
    pub fn new(top: &'static [&'static str], names: &'static [&'static str]) -> Self {
        Self {
            top,
            names,
            position: 0,
            base: 0,
            depth: 0,
            on_way: 0,
            text: Text::Outside,
            member: Member::Value,
            comma: None,
            key: [0; MAX_KEY],
            key_length: 0,
            blank: None,
            is_too_late: false,
        }
    }

    /// Takes the next bytes, and adds what is overwritten in them.
    pub fn push(&mut self, bytes: &[u8], blanks: &mut Vec<Blank>) {
        let mut rest = bytes;
        while let [byte, after @ ..] = rest {
            match self.text {
                Text::AfterBackslash => {
                    self.text = Text::Inside;
                    self.note(*byte);
                }
                Text::Inside => {
                    let plain = rest.iter().take_while(|it| !matches!(it, b'"' | b'\\'));
                    let plain = plain.count();
                    if plain > 0 {
                        let (text, after) = rest.split_at(plain);
                        if matches!(self.member, Member::InKey { .. }) {
                            text.iter().for_each(|byte| self.note(*byte));
                        }
                        self.position += plain as u64;
                        rest = after;
                        continue;
                    }
                    match byte {
                        b'\\' => {
                            self.text = Text::AfterBackslash;
                            self.note(*byte);
                        }
                        _ => self.string_ends(),
                    }
                }
                Text::Outside => self.structure(*byte, blanks),
            }
            self.position += 1;
            rest = after;
        }
    }

    /// Whether it is not known yet what becomes of the bytes from the last comma on.
    pub fn is_at_a_key(&self) -> bool {
        let may_change = self.on_way >= MESSAGE || !self.top.is_empty();
        self.is_on_way() && may_change && !matches!(self.member, Member::Value)
    }

    /// The bytes so far go on: what is open goes on in the next ones.
    pub fn pass(&mut self, blanks: &mut Vec<Blank>) {
        self.is_too_late |= self.is_at_a_key();
        if let Some(blank) = &mut self.blank {
            let from = std::mem::replace(&mut blank.from, self.position);
            self.overwrite(from, self.position, blanks);
        }
        self.base = self.position;
    }

    fn is_on_way(&self) -> bool {
        self.depth == self.on_way && self.depth % 2 == 1
    }

    fn note(&mut self, byte: u8) {
        if let Some(place) = self.key.get_mut(self.key_length) {
            *place = byte;
        }
        self.key_length = self.key_length.saturating_add(1);
    }

    /// The name of the member whose key has been read; empty where it is too long to be one of ours.
    fn name(&self) -> &[u8] {
        self.key.get(..self.key_length).unwrap_or_default()
    }

    fn string_ends(&mut self) {
        self.text = Text::Outside;
        if let Member::InKey { has_before, start } = self.member {
            self.member = Member::Value;
            let is_one_of = |names: &[&str]| names.iter().any(|it| it.as_bytes() == self.name());
            let is_foreign = match self.on_way {
                BODY => is_one_of(self.top),
                MESSAGE => is_one_of(self.names),
                CALL => self.name() == EXTRA_CONTENT,
                _ => false,
            };
            if is_foreign && !std::mem::take(&mut self.is_too_late) {
                let comma = self.comma.filter(|_| has_before);
                self.blank = Some(Open {
                    from: comma.unwrap_or(start),
                    takes_comma: !has_before,
                });
            }
        }
    }

    /// Both places are in the bytes at hand, which fit the memory.
    fn overwrite(&self, from: u64, until: u64, blanks: &mut Vec<Blank>) {
        let start = u32::try_from(from.saturating_sub(self.base));
        let length = u32::try_from(until.saturating_sub(from));
        if let (Ok(start), Ok(length @ 1..)) = (start, length) {
            blanks.push(Blank { start, length });
        }
    }

    fn structure(&mut self, byte: u8, blanks: &mut Vec<Blank>) {
        match byte {
            b'"' => {
                self.text = Text::Inside;
                if let (true, Member::Key { has_before }) = (self.is_on_way(), self.member) {
                    let start = self.position;
                    self.member = Member::InKey { has_before, start };
                    self.key_length = 0;
                }
            }
            b'{' | b'[' => {
                let is_next = match self.depth {
                    0 => byte == b'{',
                    // The value of a member that leads on, or an item of its list.
                    1 => byte == b'[' && self.name() == b"messages",
                    MESSAGE => byte == b'[' && self.name() == b"tool_calls",
                    2 | 4 => byte == b'{',
                    _ => false,
                };
                if self.depth == self.on_way && is_next && self.blank.is_none() {
                    self.on_way += 1;
                    self.member = Member::Key { has_before: false };
                }
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => {
                if self.depth == self.on_way {
                    if let Some(blank) = self.blank.take() {
                        self.overwrite(blank.from, self.position, blanks);
                    }
                    self.on_way = self.on_way.saturating_sub(1);
                    // The value of a member has ended, or an item.
                    self.member = Member::Value;
                    self.key_length = 0;
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b',' if self.is_on_way() => {
                let has_before = match self.blank.take() {
                    None => true,
                    Some(blank) if blank.takes_comma => {
                        self.overwrite(blank.from, self.position + 1, blanks);
                        false
                    }
                    Some(blank) => {
                        self.overwrite(blank.from, self.position, blanks);
                        true
                    }
                };
                self.comma = Some(self.position);
                self.is_too_late = false;
                self.member = Member::Key { has_before };
            }
            _ => {}
        }
    }
}

/// How many are open in the body, in a message, and in a call.
const BODY: u32 = 1;
const MESSAGE: u32 = 3;
const CALL: u32 = 5;

const EXTRA_CONTENT: &[u8] = b"extra_content";

/// Longer than any of the names.
const MAX_KEY: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    /// What becomes of a body that arrives in two pieces, the first of which is `at` bytes long.
    fn cleaned(body: &str, at: usize) -> String {
        let mut members = ForeignMembers::new(
            &["stream_options"],
            &["reasoning_content", "reasoning_signature"],
        );
        let (first, second) = body.as_bytes().split_at(at);
        let mut out = Vec::new();
        let mut held = first.to_vec();
        let mut blanks = Vec::new();
        members.push(first, &mut blanks);
        if !members.is_at_a_key() {
            members.pass(&mut blanks);
            json::overwrite(&mut held, &blanks);
            blanks.clear();
            out.append(&mut held);
        }
        members.push(second, &mut blanks);
        members.pass(&mut blanks);
        held.extend_from_slice(second);
        json::overwrite(&mut held, &blanks);
        out.append(&mut held);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_only_another_provider_has_is_taken_out() {
        let call = r#"{"id":"c","extra_content":{"google":{"thought_signature":"x,}\""}},"function":{"extra_content":1}}"#;
        let call_after = r#"{"id":"c","function":{"extra_content":1}}"#;
        for (body, expected) in [
            (
                r#"{"model":"m","messages":[{"role":"assistant","reasoning_signature":"S","content":"a"}]}"#.to_owned(),
                r#"{"model":"m","messages":[{"role":"assistant","content":"a"}]}"#.to_owned(),
            ),
            (
                r#"{"messages":[{ "reasoning_signature" : "S,\"}" , "reasoning_content":null,"role":"user"},{"reasoning_content":"b"}],"n":1}"#.to_owned(),
                r#"{"messages":[{"role":"user"},{}],"n":1}"#.to_owned(),
            ),
            (
                format!(r#"{{"messages":[{{"tool_calls":[{call},{call}],"reasoning_signature":[1,{{"a":[]}}]}}]}}"#),
                format!(r#"{{"messages":[{{"tool_calls":[{call_after},{call_after}]}}]}}"#),
            ),
            (
                r#"{"stream_options":{"include_usage":true},"messages":[{"stream_options":1}],"stream_options":{}}"#.to_owned(),
                r#"{"messages":[{"stream_options":1}]}"#.to_owned(),
            ),
            (
                r#"{"reasoning_content":1,"tools":[{"reasoning_content":1}],"messages":[{"content":[{"reasoning_content":1}],"x":{"reasoning_content":1}}]}"#.to_owned(),
                r#"{"reasoning_content":1,"tools":[{"reasoning_content":1}],"messages":[{"content":[{"reasoning_content":1}],"x":{"reasoning_content":1}}]}"#.to_owned(),
            ),
            (
                r#"{"metadata":{"messages":[{"reasoning_content":1}]},"messages":["reasoning_content",[{"reasoning_content":1}]]}"#.to_owned(),
                r#"{"metadata":{"messages":[{"reasoning_content":1}]},"messages":["reasoning_content",[{"reasoning_content":1}]]}"#.to_owned(),
            ),
        ] {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect(text);
            for at in 0..=body.len() {
                let seen = cleaned(&body, at);
                assert_eq!(seen.len(), body.len());
                assert_eq!(value(&seen), value(&expected), "at {at}: {seen}");
            }
        }
    }
}
