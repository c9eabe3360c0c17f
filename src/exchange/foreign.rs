//! Takes members out of a chat that its provider refuses: in messages those that another provider's
//! reply has brought, at the top level hints that the provider does not have, and both where they are
//! `null`. And makes `system` of the role `developer` where the provider does not know it.
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
//! It learns of the body's tokens from the [`Scanner`](crate::json::Scanner) that checks the body. A key
//! that is written with escapes is not recognised and passes.

use crate::json::{self, Blank, Outline, Token};
use crate::provider::members::MemberRules;

/// Finds the members of one body, as it arrives.
#[derive(Debug)]
pub struct ForeignMembers {
    rules: MemberRules,
    /// Which of the rules' hints were taken out: a bit for each.
    hints: u32,
    /// Which of them stay.
    kept: u32,
    /// Which of the rules' nulls stay.
    kept_nulls: u32,
    /// Where the bytes at hand begin: blanks count from there.
    base: u64,
    /// How many objects and arrays are open.
    depth: u32,
    /// How many of them, from the outside, are on the way
    /// `{"messages": [{"tool_calls": [{"function": {`.
    on_way: u32,
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
    /// What is overwritten in the bytes at hand, in order.
    blanks: Vec<Blank>,
    /// The value of a role, as far as it has come, where it may be `developer`.
    role: Option<Role>,
}

#[derive(Clone, Copy, Debug)]
struct Role {
    start: u64,
    /// How many bytes are those of [`DEVELOPER`].
    matched: usize,
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
    /// The value of a member that is taken out if it is `null`. The key began at this place.
    MaybeNull { has_before: bool, start: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Open {
    from: u64,
    /// Whether the comma behind it goes, too: no member that stays has gone before.
    takes_comma: bool,
}

impl ForeignMembers {
    /// A body of which nothing has arrived.
    pub fn new(rules: MemberRules) -> Self {
        Self {
            rules,
            hints: 0,
            kept: 0,
            kept_nulls: 0,
            base: 0,
            depth: 0,
            on_way: 0,
            member: Member::Value,
            comma: None,
            key: [0; MAX_KEY],
            key_length: 0,
            blank: None,
            is_too_late: false,
            blanks: Vec::new(),
            role: None,
        }
    }

    /// The same, but these members of the body stay.
    pub fn keeping(mut self, stays: impl Fn(&str) -> bool) -> Self {
        let kept = |names: &[&str]| {
            let bits = names.iter().enumerate();
            bits.fold(0, |kept, (bit, name)| kept | u32::from(stays(name)) << bit)
        };
        self.kept = kept(self.rules.hints);
        self.kept_nulls = kept(self.rules.nulls);
        self
    }

    /// The hints that were taken out.
    pub fn hints(&self) -> impl Iterator<Item = &'static str> {
        let hints = self.rules.hints.iter().enumerate();
        hints.filter_map(|(bit, name)| (self.hints & 1 << bit != 0).then_some(*name))
    }

    /// Whether it is not known yet what becomes of the bytes from the last comma on.
    pub fn is_at_a_key(&self) -> bool {
        let has_top = !self.rules.hints.is_empty() || !self.rules.nulls.is_empty();
        let may_change = self.on_way >= MESSAGE || has_top;
        self.role.is_some()
            || (self.is_on_way() && may_change && !matches!(self.member, Member::Value))
    }

    /// The bytes before `until` go on: what is open goes on in the next ones. Gives what is overwritten
    /// in them, in order.
    pub fn pass(&mut self, until: u64) -> Vec<Blank> {
        self.is_too_late |= self.is_at_a_key();
        self.role = None;
        if matches!(self.member, Member::MaybeNull { .. }) {
            self.member = Member::Value;
        }
        if let Some(blank) = &mut self.blank {
            let from = std::mem::replace(&mut blank.from, until);
            self.overwrite(from, until);
        }
        self.base = until;
        std::mem::take(&mut self.blanks)
    }

    fn is_on_way(&self) -> bool {
        // Lists are on the way, too.
        self.depth == self.on_way && matches!(self.depth, BODY | MESSAGE | CALL | FUNCTION)
    }

    /// The name of the member whose key has been read; empty where it is too long to be one of ours.
    fn name(&self) -> &[u8] {
        self.key.get(..self.key_length).unwrap_or_default()
    }

    /// Both places are in the bytes at hand, which fit the memory.
    fn overwrite(&mut self, from: u64, until: u64) {
        let start = u32::try_from(from.saturating_sub(self.base));
        let length = u32::try_from(until.saturating_sub(from));
        if let (Ok(start), Ok(length @ 1..)) = (start, length) {
            self.blanks.push(Blank { start, length });
        }
    }

    fn opens(&mut self, is_object: bool) {
        if matches!(self.member, Member::MaybeNull { .. }) {
            self.member = Member::Value;
        }
        let is_next = match self.depth {
            0 => is_object,
            // The value of a member that leads on, or an item of its list.
            1 => !is_object && self.name() == b"messages",
            MESSAGE => !is_object && self.name() == b"tool_calls",
            2 | 4 => is_object,
            CALL => is_object && self.name() == b"function",
            _ => false,
        };
        if self.depth == self.on_way && is_next && self.blank.is_none() {
            self.on_way += 1;
            self.member = Member::Key { has_before: false };
        }
        self.depth = self.depth.saturating_add(1);
    }

    fn closes(&mut self, at: u64) {
        if self.depth == self.on_way {
            if let Some(blank) = self.blank.take() {
                self.overwrite(blank.from, at);
            }
            self.on_way = self.on_way.saturating_sub(1);
            // The value of a member has ended, or an item.
            self.member = Member::Value;
            self.key_length = 0;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn member_ends(&mut self, comma: u64) {
        let has_before = match self.blank.take() {
            None => true,
            Some(blank) if blank.takes_comma => {
                self.overwrite(blank.from, comma + 1);
                false
            }
            Some(blank) => {
                self.overwrite(blank.from, comma);
                true
            }
        };
        self.comma = Some(comma);
        self.is_too_late = false;
        self.member = Member::Key { has_before };
    }

    fn key_ends(&mut self, has_before: bool, start: u64) {
        self.member = Member::Value;
        let place = |names: &[&str]| names.iter().position(|it| it.as_bytes() == self.name());
        let is_left_out = |bit: &usize| self.on_way == BODY && self.kept & 1 << bit == 0;
        let hint = place(self.rules.hints).filter(is_left_out);
        let null = place(self.rules.nulls).filter(|bit| self.kept_nulls & 1 << bit == 0);
        let (is_foreign, may_be_null) = match self.on_way {
            BODY => (hint.is_some(), null.is_some()),
            MESSAGE => (
                place(self.rules.of_messages).is_some(),
                place(self.rules.nulls_of_messages).is_some(),
            ),
            CALL => (self.name() == EXTRA_CONTENT, false),
            FUNCTION => (self.name() == PARSED_ARGUMENTS, false),
            _ => (false, false),
        };
        let is_too_late = std::mem::take(&mut self.is_too_late);
        if is_foreign && !is_too_late {
            self.hints |= hint.map_or(0, |bit| 1 << bit);
            self.open_blank(has_before, start);
        } else if may_be_null && !is_too_late {
            self.member = Member::MaybeNull { has_before, start };
        }
    }

    /// The member whose key began at `start` is overwritten.
    fn open_blank(&mut self, has_before: bool, start: u64) {
        let comma = self.comma.filter(|_| has_before);
        self.blank = Some(Open {
            from: comma.unwrap_or(start),
            takes_comma: !has_before,
        });
    }
}

impl Outline for ForeignMembers {
    fn value(&mut self, kind: json::Kind, at: u64) {
        if let Member::MaybeNull { has_before, start } = self.member {
            self.member = Member::Value;
            if kind == json::Kind::Null {
                self.open_blank(has_before, start);
            }
        }
        let may_be_developer = self.rules.lacks_developer
            && kind == json::Kind::String
            && self.on_way == MESSAGE
            && self.depth == MESSAGE
            && self.name() == b"role";
        self.role = may_be_developer.then_some(Role {
            start: at,
            matched: 0,
        });
    }

    fn text(&mut self, text: &[u8], ends: bool) {
        let Some(role) = &mut self.role else {
            return;
        };
        let expected = DEVELOPER.get(role.matched..).unwrap_or_default();
        if !expected.starts_with(text) {
            self.role = None;
            return;
        }
        role.matched += text.len();
        if ends {
            let Role { start, matched } = *role;
            self.role = None;
            if matched == DEVELOPER.len() {
                // With the quotes.
                self.overwrite(start, start + matched as u64 + 2);
                if let Some(blank) = self.blanks.last_mut() {
                    blank.length |= Blank::SYSTEM;
                }
            }
        }
    }

    fn token(&mut self, token: Token, at: u64) {
        match token {
            Token::OpenArray => self.opens(false),
            Token::OpenObject => self.opens(true),
            Token::Close => self.closes(at),
            Token::Comma if self.is_on_way() => self.member_ends(at),
            Token::Comma => {}
            Token::KeyStart => {
                if let (true, Member::Key { has_before }) = (self.is_on_way(), self.member) {
                    self.member = Member::InKey {
                        has_before,
                        start: at,
                    };
                    self.key_length = 0;
                }
            }
        }
    }

    fn key(&mut self, text: &[u8], ends: bool) {
        let Member::InKey { has_before, start } = self.member else {
            return;
        };
        // What is too long is none of ours.
        let end = self.key_length.saturating_add(text.len());
        if let Some(place) = self.key.get_mut(self.key_length..end) {
            place.copy_from_slice(text);
        }
        self.key_length = end;
        if ends {
            self.key_ends(has_before, start);
        }
    }
}

const DEVELOPER: &[u8] = b"developer";

/// How many are open in the body, in a message, in a call, and in what it calls.
const BODY: u32 = 1;
const MESSAGE: u32 = 3;
const CALL: u32 = 5;
const FUNCTION: u32 = 6;

const EXTRA_CONTENT: &[u8] = b"extra_content";

/// What OpenAI's package has read from `arguments`, handed back.
const PARSED_ARGUMENTS: &[u8] = b"parsed_arguments";

/// Longer than any of the names.
const MAX_KEY: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{self, Event, Scanner, Watched};

    /// What becomes of a body that arrives in two pieces, the first of which is `at` bytes long.
    fn cleaned(body: &str, at: usize) -> String {
        let mut members = ForeignMembers::new(MemberRules {
            hints: &["stream_options"],
            nulls: &["logit_bias"],
            of_messages: &["reasoning_content", "reasoning_signature"],
            nulls_of_messages: &["audio"],
            lacks_developer: true,
            ..MemberRules::default()
        });
        let (first, second) = body.as_bytes().split_at(at);
        let mut scanner = Scanner::new(Watched::new([""; 0]));
        let mut scan = |mut bytes: &[u8], members: &mut ForeignMembers| {
            while scanner.scan_outlined(&mut bytes, Some(members)).unwrap() != Event::InputEmpty {}
            scanner.position()
        };
        let mut out = Vec::new();
        let mut held = first.to_vec();
        let position = scan(first, &mut members);
        if !members.is_at_a_key() {
            json::overwrite(&mut held, &members.pass(position));
            out.append(&mut held);
        }
        let position = scan(second, &mut members);
        held.extend_from_slice(second);
        json::overwrite(&mut held, &members.pass(position));
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
                r#"{"messages":[{"tool_calls":[{"function":{"parsed_arguments":{"a":[{"b":1}]},"name":"f","arguments":"{}"},"id":"c"},{"function":{"name":"f","parsed_arguments":null}},{"parsed_arguments":1,"custom":{"parsed_arguments":1},"function":[{"parsed_arguments":1}]}],"reasoning_content":"b"}],"function":{"parsed_arguments":1}}"#.to_owned(),
                r#"{"messages":[{"tool_calls":[{"function":{"name":"f","arguments":"{}"},"id":"c"},{"function":{"name":"f"}},{"parsed_arguments":1,"custom":{"parsed_arguments":1},"function":[{"parsed_arguments":1}]}]}],"function":{"parsed_arguments":1}}"#.to_owned(),
            ),
            (
                r#"{"metadata":{"messages":[{"reasoning_content":1}]},"messages":["reasoning_content",[{"reasoning_content":1}]]}"#.to_owned(),
                r#"{"metadata":{"messages":[{"reasoning_content":1}]},"messages":["reasoning_content",[{"reasoning_content":1}]]}"#.to_owned(),
            ),
            (
                r#"{"logit_bias":null,"messages":[{"audio": null ,"role":"developer","x":"developer"},{"role" : "developer","audio":null},{"audio":{"id":"a"},"role":"developers"},{"role":"develop"}],"logit_bias":{}}"#.to_owned(),
                r#"{"messages":[{"role":"system","x":"developer"},{"role":"system"},{"audio":{"id":"a"},"role":"developers"},{"role":"develop"}],"logit_bias":{}}"#.to_owned(),
            ),
            (
                r#"{"role":"developer","messages":[{"role":"\u0064eveloper","content":[{"role":"developer"}],"tool_calls":[{"role":"developer"}]}]}"#.to_owned(),
                r#"{"role":"developer","messages":[{"role":"developer","content":[{"role":"developer"}],"tool_calls":[{"role":"developer"}]}]}"#.to_owned(),
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
