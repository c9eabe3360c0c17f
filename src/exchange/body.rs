//! Changes members of a JSON body while it passes, and decides how long the headers wait for it.
//!
//! Every byte that is not part of a changed member stays what the client sent. Nothing of the body
//! is kept here, but the text of a `model` that is split between two pieces.
//!
//! # Holding
//!
//! Where headers can wait, they wait until the body's new length is known, so that
//! `content-length` is exact: until every rule has found its member, or the body has ended. They
//! do not wait for more than [`MAX_HELD_BYTES`]: a larger body whose `model` comes late goes on
//! without a `content-length`. Only where the model is part of the path they wait for it, as long as
//! Envoy's buffer allows.
//!
//! # A value between two pieces
//!
//! When the bytes at hand go on while a value to be changed is still open, its first part is cut
//! off, and what takes its place goes on with the last part:
//!
//! ```text
//!   piece 1   {"messages":[…],"model":"gp      ─►  {"messages":[…],"model":
//!   piece 2   t-4o","stream":true}             ─►  "grok-2","stream":true}
//! ```

use std::rc::Rc;

use crate::config::Backend;
use crate::headers::HeaderEdit;
use crate::json::{self, Event, Scanner, Splice, ValueText};
use crate::model::{Asked, Choice, Unusable};
use crate::operation::ModelMember;
use crate::refusal::Refusal;

/// One JSON body on its way.
pub struct BodyEdit {
    backend: Rc<Backend>,
    /// The route's model, which goes before the backend's rules.
    model: Option<Rc<str>>,
    member: ModelMember,
    scanner: Scanner,
    /// Which members of [`Backend::watched`] have been decided.
    decided: Vec<bool>,
    /// The value that is open where the bytes at hand end, and has to wait for its end.
    open: Option<u64>,
    /// Changes to the bytes at hand, in order.
    splices: Vec<Splice>,
    /// How many bytes longer the new body is, as far as it is known.
    growth: i64,
    /// The length that the client declared.
    declared: Option<u64>,
    /// Whether headers and body wait here.
    holds: bool,
    /// Whether they cannot go on without the model, since it is part of the path.
    needs_model: bool,
    /// The model that goes upstream, once it is decided.
    chosen: Option<Rc<str>>,
    /// Whether the root object has ended.
    is_closed: bool,
}

/// What becomes of the bytes at hand.
pub enum Pushed {
    /// They wait.
    Hold,
    /// They go on, changed by the splices.
    Pass {
        /// What is now known about the length, where the headers waited for it.
        headers: Vec<HeaderEdit>,
        /// In order; ranges count from the start of the body.
        splices: Vec<Splice>,
    },
}

impl BodyEdit {
    /// A body of which nothing has arrived.
    pub fn new(
        backend: Rc<Backend>,
        model: Option<Rc<str>>,
        member: ModelMember,
        declared: Option<u64>,
        holds: bool,
        needs_model: bool,
    ) -> Self {
        let watched = backend.watched.clone();
        Self {
            decided: vec![false; watched.len()],
            scanner: Scanner::new(watched),
            backend,
            model,
            member,
            open: None,
            splices: Vec::new(),
            growth: 0,
            declared,
            holds,
            needs_model,
            chosen: None,
            is_closed: false,
        }
    }

    /// Whether any body could come out longer or shorter than it went in.
    pub fn may_change(&self) -> bool {
        let rule = &self.backend.model;
        self.model.is_some()
            || rule.always.is_some()
            || rule.default.is_some()
            || !rule.aliases.is_empty()
            || !self.backend.members.is_empty()
    }

    /// Whether the root object has ended: no rule has anything left to do.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The model that goes upstream, once it is decided.
    pub fn chosen_model(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    /// Takes the next bytes. `ends`: they are the last.
    ///
    /// # Errors
    ///
    /// When the body is not a JSON object, or its `model` cannot be used.
    pub fn push(&mut self, bytes: &[u8], ends: bool) -> Result<Pushed, Refusal> {
        let start = self.scanner.position();
        self.scan(bytes, start)?;
        if ends {
            self.scanner.finish().map_err(Refusal::InvalidBody)?;
        }
        let length = self.new_length(ends);
        let headers = match (self.holds, length) {
            (false, _) => Vec::new(),
            (true, Some(length)) => match self.declared == Some(length) {
                true => Vec::new(),
                false => vec![HeaderEdit::set("content-length", length.to_string())],
            },
            (true, None) if self.must_hold() => return Ok(Pushed::Hold),
            (true, None) => vec![HeaderEdit::remove("content-length")],
        };
        let start = if self.holds { 0 } else { start };
        self.holds = false;
        if let Some(open) = self.open {
            let range = open.max(start)..self.scanner.position();
            self.splices.push(Splice {
                range,
                with: Vec::new(),
            });
        }
        Ok(Pushed::Pass {
            headers,
            splices: std::mem::take(&mut self.splices),
        })
    }

    fn scan(&mut self, mut bytes: &[u8], start: u64) -> Result<(), Refusal> {
        loop {
            match self
                .scanner
                .scan(&mut bytes)
                .map_err(|error| self.invalid(error))?
            {
                Event::InputEmpty => return Ok(()),
                Event::ValueStart { member, at, kind } => self.value_starts(member, at, kind),
                Event::ValueEnd { member, range } => {
                    let new = self.value_ends(member)?;
                    let is_cut =
                        self.open.take().is_some_and(|_| !self.holds) && range.start < start;
                    // What was cut off comes back, unless something else takes its place.
                    let with = match (new, is_cut) {
                        (Some(new), _) => new,
                        (None, true) => self.open_text()?,
                        (None, false) => continue,
                    };
                    let length = i64::try_from(range.end - range.start).unwrap_or(i64::MAX);
                    self.growth += i64::try_from(with.len()).unwrap_or(i64::MAX) - length;
                    let range = if is_cut { start..range.end } else { range };
                    self.splices.push(Splice { range, with });
                }
                Event::ObjectEnd { close, is_empty } => {
                    self.is_closed = true;
                    let with = self.absent_members(is_empty)?;
                    if !with.is_empty() {
                        self.growth += i64::try_from(with.len()).unwrap_or(i64::MAX);
                        self.splices.push(Splice {
                            range: close..close,
                            with,
                        });
                    }
                }
            }
        }
    }

    fn value_starts(&mut self, member: usize, at: u64, kind: json::Kind) {
        let waits = match member {
            MODEL => true,
            STREAM => false,
            // A default is only for what is absent or null.
            _ => self
                .rule(member)
                .is_some_and(|rule| rule.always || kind == json::Kind::Null),
        };
        self.open = waits.then_some(at);
    }

    /// What takes the place of a value that has just ended; `None`: it stays.
    fn value_ends(&mut self, member: usize) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(decided) = self.decided.get_mut(member) {
            *decided = true;
        }
        match member {
            MODEL => {
                // A text that was cut has no closing quote: no model has a name that long.
                let (ValueText::Whole(text) | ValueText::Cut(text)) = self.scanner.value_text();
                let name = json::decode_string(text);
                let asked = match (&name, text) {
                    (_, b"null") => Asked::Nothing,
                    (Some(name), _) if name.trim().is_empty() => Asked::Nothing,
                    (Some(name), _) => Asked::Model(name),
                    (None, _) => Asked::NotText,
                };
                let choice = self.choose(asked);
                let chosen = self.remembered(&choice, asked);
                let written = written(choice, asked)?;
                self.chosen = chosen;
                Ok(written)
            }
            STREAM => Ok(None),
            _ => {
                let waited = self.open.is_some();
                let rule = self.rule(member).filter(|_| waited);
                Ok(rule.map(|rule| rule.value.as_bytes().to_vec()))
            }
        }
    }

    /// The members to add before the closing brace.
    fn absent_members(&mut self, is_empty: bool) -> Result<Vec<u8>, Refusal> {
        let mut added = Vec::new();
        let mut add = |name: &str, value: &[u8]| {
            if !is_empty || !added.is_empty() {
                added.push(b',');
            }
            added.extend_from_slice(json::encode_string(name).as_bytes());
            added.push(b':');
            added.extend_from_slice(value);
        };
        if !self.is_decided(MODEL) {
            let choice = self.choose(Asked::Nothing);
            self.chosen = self.remembered(&choice, Asked::Nothing);
            if let Some(model) = written(choice, Asked::Nothing)? {
                add("model", &model);
            }
        }
        for (number, rule) in self.backend.members.iter().enumerate() {
            if !self.is_decided(FIRST_RULE + number) {
                add(&rule.name, rule.value.as_bytes());
            }
        }
        Ok(added)
    }

    fn choose(&self, asked: Asked<'_>) -> Choice {
        match &self.model {
            Some(model) if asked != Asked::Nothing || self.member != ModelMember::Incidental => {
                Choice::Write(Rc::clone(model))
            }
            _ => self.backend.model.choose(asked, self.member),
        }
    }

    /// The model that a choice comes to, where the path is going to need it.
    fn remembered(&self, choice: &Choice, asked: Asked<'_>) -> Option<Rc<str>> {
        match (choice, asked) {
            _ if !self.needs_model => None,
            (Choice::Write(model), _) => Some(Rc::clone(model)),
            (Choice::Keep, Asked::Model(model)) => Some(Rc::from(model)),
            _ => None,
        }
    }

    /// The length of the new body, once nothing more can change it.
    fn new_length(&self, ends: bool) -> Option<u64> {
        let all_decided = || {
            self.is_decided(MODEL)
                && (FIRST_RULE..self.decided.len()).all(|member| self.is_decided(member))
        };
        let old = match ends {
            true => Some(self.scanner.position()),
            false if self.is_closed || all_decided() => self.declared,
            false => None,
        };
        old.and_then(|length| length.checked_add_signed(self.growth))
    }

    /// The text of the open value, which has now ended.
    fn open_text(&self) -> Result<Vec<u8>, Refusal> {
        match self.scanner.value_text() {
            ValueText::Whole(text) => Ok(text.to_vec()),
            ValueText::Cut(_) => Err(Refusal::ModelNotText),
        }
    }

    fn must_hold(&self) -> bool {
        let waits_for_model = self.needs_model && !self.is_decided(MODEL);
        waits_for_model || self.scanner.position() <= MAX_HELD_BYTES
    }

    fn rule(&self, member: usize) -> Option<&crate::config::MemberRule> {
        self.backend.members.get(member.checked_sub(FIRST_RULE)?)
    }

    fn is_decided(&self, member: usize) -> bool {
        self.decided.get(member).copied().unwrap_or(false)
    }

    fn invalid(&self, error: json::InvalidJson) -> Refusal {
        match error {
            json::InvalidJson::Duplicate { member, .. } => {
                let name = self.backend.watched.name(member).unwrap_or_default();
                Refusal::DuplicateMember(name.to_owned())
            }
            error => Refusal::InvalidBody(error),
        }
    }
}

/// The JSON text that a choice writes; `None`: what stands there stays.
fn written(choice: Choice, asked: Asked<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    match (choice, asked) {
        (Choice::Keep, _) => Ok(None),
        (Choice::Write(model), asked) if asked == Asked::Model(&model) => Ok(None),
        (Choice::Write(model), _) => Ok(Some(json::encode_string(&model).into_bytes())),
        (Choice::Refuse(Unusable::NotServed), Asked::Model(model)) => {
            Err(Refusal::UnknownModel(model.to_owned()))
        }
        (Choice::Refuse(Unusable::NotText), _) => Err(Refusal::ModelNotText),
        (Choice::Refuse(Unusable::Missing | Unusable::NotServed), _) => Err(Refusal::MissingModel),
    }
}

/// The places of the members in [`Backend::watched`].
const MODEL: usize = 0;
const STREAM: usize = 1;
const FIRST_RULE: usize = 2;

/// How much of a body is held while its new length is not known. Well below Envoy's default buffer
/// limit of 1 MiB, over which Envoy answers 413 by itself.
const MAX_HELD_BYTES: u64 = 256 << 10;
