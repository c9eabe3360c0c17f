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
//!
//! # `max_tokens`
//!
//! Some models take it only by its new name, `max_completion_tokens`, and some providers only by the
//! old one: see [`LimitName`]. Its key is then replaced, its value stays. Which model goes
//! upstream may be told only after the key: then what comes from the key on waits, up to
//! [`MAX_HELD_BYTES`], also where headers do not; beyond, the key stays what it was. A request
//! that has both names is refused, as OpenAI itself does it; where one of them is the
//! configuration's, an override wins over what the client sent, and that over a default.
//! [`MemberRules::renamed`] has other members of which a provider takes another name alone.
//!
//! [`MemberRules::renamed`]: crate::provider::members::MemberRules::renamed

use std::ops::Range;
use std::rc::Rc;

use super::choices::{Both, ModelChoices};
use super::foreign::ForeignMembers;
use crate::backend::Backend;
use crate::headers::HeaderEdit;
use crate::json::{self, Blank, Event, Scanner, Splice, ValueText, object};
use crate::model::{Asked, Choice, ModelRule, OTHER_MODELS, Renaming, Unusable};
use crate::operation::ModelMember;
use crate::provider::openai::insists_on_completion_tokens;
use crate::provider::{LimitName, STREAM_OPTIONS};
use crate::refusal::Refusal;

/// One JSON body on its way.
pub struct BodyEdit {
    backend: Rc<Backend>,
    of_route: OfRoute,
    member: ModelMember,
    scanner: Scanner,
    /// Which members of [`Backend::watched`] have been decided.
    decided: Vec<bool>,
    /// The members whose name may have to be replaced, such as `max_tokens`.
    renames: Vec<Rename>,
    /// Members of messages that are another provider's; `None`: they stay.
    foreign: Option<ForeignMembers>,
    /// Where the models are restricted, what else names one.
    choices: Option<ModelChoices>,
    /// Where the bytes at hand begin: what stands before has gone on.
    base: u64,
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
    /// Whether what the client calls the model stays, since the path names the one that is used.
    keeps_model: bool,
    /// The model that the client names.
    requested: Option<Rc<str>>,
    /// The model that goes upstream, once it is decided.
    chosen: Option<Rc<str>>,
    /// Whether the usage of a stream is requested where the client does not; `None`: it never is.
    usage: Option<UsageRequest>,
    /// Whether the root object has ended.
    is_closed: bool,
    /// Whether its `stream` is `true`.
    is_stream: bool,
}

/// What a route says about the model.
#[derive(Clone, Debug, Default)]
pub struct OfRoute {
    /// Written always, before the backend's rules.
    pub model: Option<Rc<str>>,
    /// What the client's becomes before them.
    pub renaming: Renaming,
}

impl OfRoute {
    /// Whether the model is not the client's to choose freely. The name of a backend before it is no
    /// limit: it says where the request goes.
    pub fn is_restricted(&self) -> bool {
        let aliases = self.renaming.aliases.as_ref();
        self.model.is_some() || aliases.is_some_and(|aliases| !aliases.is_empty())
    }

    /// Whether the client's model is left to the backend's rules.
    pub fn is_empty(&self) -> bool {
        self.model.is_none() && self.renaming.is_empty()
    }

    /// What becomes of the model that a client asks for: by the route, then by its backend's `rule`.
    pub fn choose(&self, asked: Asked<'_>, rule: &ModelRule, member: ModelMember) -> Choice {
        let by_rules = |asked| match &self.model {
            Some(model) if asked != Asked::Nothing || member != ModelMember::Incidental => {
                Choice::Write(Rc::clone(model))
            }
            _ => rule.choose(asked, member),
        };
        let renamed = match asked {
            Asked::Model(name) => self.renaming.rename(name),
            Asked::Nothing | Asked::NotText => None,
        };
        match renamed {
            Some(name) => match by_rules(Asked::Model(&name)) {
                Choice::Keep => Choice::Write(name),
                choice => choice,
            },
            None => by_rules(asked),
        }
    }
}

/// A member with two names, such as `max_tokens` and `max_completion_tokens`, of which a model or a
/// provider may insist on one.
#[derive(Debug)]
struct Rename {
    /// The name that is replaced, and the one that takes its place.
    names: [&'static str; 2],
    /// Their positions in [`Backend::watched`].
    old: usize,
    new: usize,
    /// Whether the model that goes upstream insists; `None`: it is not known yet.
    insists: Option<bool>,
    /// Whether every model of the provider insists.
    is_fixed: bool,
    /// Where the key that is replaced stands, if it says something.
    old_key: Option<Range<u64>>,
    is_renamed: bool,
    has_new: bool,
    /// Where the value of the one that came last stands, once it has ended.
    value: Option<Range<u64>>,
}

impl Rename {
    /// Whether this is one of its names.
    fn has(&self, member: usize) -> bool {
        self.other(member).is_some()
    }

    /// The other name of the same.
    fn other(&self, member: usize) -> Option<usize> {
        match member {
            _ if member == self.old => Some(self.new),
            _ if member == self.new => Some(self.old),
            _ => None,
        }
    }
}

/// The request for the usage of a stream.
struct UsageRequest {
    /// The position of `stream_options` in [`Backend::watched`].
    member: usize,
    /// What the client has written: where, and its text unless that is too long.
    options: Option<(Range<u64>, Option<Vec<u8>>)>,
    /// How many bytes of the new length are for it and not yet written. The length may have to be known
    /// before it is known whether it is a stream; spaces fill what is not needed.
    reserved: usize,
    /// Whether it is the gateway's alone.
    is_ours: bool,
}

object! {
    /// `stream_options`.
    StreamOptions<'a> {
        include_usage: bool = b"include_usage",
        ..others
    }
}

/// A client's `stream_options` with the usage; `None`: they have it, or are none.
fn with_usage(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"null" {
        return Some(INCLUDE_USAGE.to_vec());
    }
    let options = json::read::<StreamOptions<'_>>(text).ok()?;
    if options.include_usage == Some(true) {
        return None;
    }
    let mut with = INCLUDE_USAGE.to_vec();
    with.pop();
    for (name, value) in options.others {
        with.push(b',');
        with.extend_from_slice(json::encode_string(&name).as_bytes());
        with.push(b':');
        with.extend_from_slice(value.bytes());
    }
    with.push(b'}');
    // Escapes in names could become longer.
    (with.len() <= text.len() + RESERVED).then_some(with)
}

/// A body that changes while it passes.
pub trait Edit {
    /// Takes the next bytes. `ends`: they are the last.
    ///
    /// # Errors
    ///
    /// When the body is not what it has to be, or its `model` cannot be used.
    fn push(&mut self, bytes: &[u8], ends: bool) -> Result<Pushed, Refusal>;

    /// The model that goes upstream, once it is decided.
    fn chosen_model(&self) -> Option<&str>;

    /// The model that the client names, as far as it is known.
    fn requested_model(&self) -> Option<Rc<str>> {
        None
    }

    /// Whether the usage of a stream was requested and the client has not requested it.
    fn hides_usage(&self) -> bool {
        false
    }

    /// Whether the body has ended, by what stands in it: no rule has anything left to do.
    fn is_closed(&self) -> bool;

    /// Whether the body requests a stream, as far as it is read.
    fn is_stream(&self) -> bool;

    /// The hints that were left out for the provider, as [`ADAPTED_HEADER`](crate::contract::ADAPTED_HEADER) lists them.
    fn adapted(&self) -> Option<String> {
        None
    }
}

/// What becomes of the bytes at hand.
pub enum Pushed {
    /// They wait.
    Hold,
    /// They go on, changed by the blanks and the splices.
    Pass {
        /// What is now known about the length, where the headers waited for it.
        headers: Vec<HeaderEdit>,
        /// In order; ranges count from the start of the body.
        splices: Vec<Splice>,
        /// Parts of the bytes at hand that spaces overwrite first. No splice changes them.
        blanks: Vec<Blank>,
    },
}

impl BodyEdit {
    /// A body of which nothing has arrived.
    pub fn new(
        backend: Rc<Backend>,
        of_route: OfRoute,
        member: ModelMember,
        declared: Option<u64>,
        holds: bool,
        needs_model: bool,
    ) -> Self {
        let watched = backend.watched.clone();
        let is_restricted = of_route.is_restricted() || backend.model.is_restricted();
        Self {
            choices: is_restricted.then(ModelChoices::default),
            decided: vec![false; watched.len()],
            scanner: Scanner::new(watched),
            backend,
            of_route,
            member,
            renames: Vec::new(),
            foreign: None,
            base: 0,
            open: None,
            splices: Vec::new(),
            growth: 0,
            declared,
            holds,
            needs_model,
            keeps_model: false,
            requested: None,
            chosen: None,
            usage: None,
            is_closed: false,
            is_stream: false,
        }
    }

    /// The same for a chat completion, of which a model or the provider may insist on other names of
    /// members.
    pub fn with_renames(mut self) -> Self {
        let provider = self.backend.provider;
        let limit_name = provider.limit_name();
        let is_fixed = limit_name == LimitName::Old;
        let always = self.of_route.model.as_deref();
        let always = always.or(self.backend.model.always.as_deref());
        let insists = match is_fixed {
            true => Some(true),
            false => always.map(insists_on_completion_tokens),
        };
        if let Some(names) = limit_name.names().filter(|_| insists != Some(false)) {
            self.add_rename(names, insists, is_fixed);
        }
        for names in provider.member_rules().renamed {
            self.add_rename(*names, Some(true), true);
        }
        self
    }

    fn add_rename(&mut self, names: [&'static str; 2], insists: Option<bool>, is_fixed: bool) {
        let [old, new] = names.map(|name| self.backend.watched.position(name));
        let places = old.zip(new);
        self.renames.extend(places.map(|(old, new)| Rename {
            names,
            old,
            new,
            insists,
            is_fixed,
            old_key: None,
            is_renamed: false,
            has_new: false,
            value: None,
        }));
    }

    /// The same for a chat completion, whose messages may have another provider's members.
    pub fn without_foreign_members(mut self) -> Self {
        let rules = self.backend.provider.member_rules();
        // What the configuration says about the messages counts.
        let has_rule = self.backend.has_rule("messages");
        // Google's own API in OpenAI's dialect reads the signatures that it has sent.
        let is_google = self.backend.endpoint.authority.ends_with(".googleapis.com");
        // A member that the configuration writes stays.
        let stays = |name: &str| self.backend.has_rule(name);
        let is_clean = rules.is_empty() || has_rule || is_google;
        self.foreign = (!is_clean).then(|| ForeignMembers::new(rules).keeping(stays));
        self
    }

    /// The same where the path names the model, and the body must not.
    pub fn keeping_model(mut self) -> Self {
        self.keeps_model = true;
        self
    }

    /// The same for a chat completion at a provider that gives the usage of a stream on request.
    pub fn with_usage(mut self) -> Self {
        let member = self.backend.watched.position(STREAM_OPTIONS);
        let has_rule = self
            .backend
            .members
            .iter()
            .any(|it| it.name == STREAM_OPTIONS);
        // Without held headers the length would be lost for this alone.
        let may_change = self.holds || self.may_change();
        self.usage = member
            .filter(|_| !has_rule && may_change)
            .map(|member| UsageRequest {
                member,
                options: None,
                reserved: 0,
                is_ours: false,
            });
        self
    }

    /// Whether any body could come out longer or shorter than it went in.
    pub fn may_change(&self) -> bool {
        let rule = &self.backend.model;
        !self.of_route.is_empty()
            || !self.renames.is_empty()
            || rule.always.is_some()
            || rule.default.is_some()
            || !rule.aliases.is_empty()
            || !self.backend.members.is_empty()
    }

    /// Whether the bytes at hand end where a foreign member may begin.
    fn waits_for_a_key(&self) -> bool {
        // White space before a key may be endless.
        let held = self.scanner.position() - self.base;
        held <= 2 * MAX_HELD_BYTES
            && self
                .foreign
                .as_ref()
                .is_some_and(ForeignMembers::is_at_a_key)
    }

    fn scan(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        loop {
            let event = match (&mut self.foreign, &mut self.choices) {
                (Some(foreign), Some(choices)) => {
                    let mut both = Both(foreign, choices);
                    self.scanner.scan_outlined(&mut bytes, Some(&mut both))
                }
                (Some(only), None) => self.scanner.scan_outlined(&mut bytes, Some(only)),
                (None, Some(only)) => self.scanner.scan_outlined(&mut bytes, Some(only)),
                (None, None) => self.scanner.scan_outlined(&mut bytes, None),
            };
            let found = self.choices.as_ref().and_then(ModelChoices::found);
            if let Some(name) = found.filter(|name| !self.backend.has_rule(name)) {
                return Err(other_model(name));
            }
            match event.map_err(|error| self.invalid(error))? {
                Event::InputEmpty => return Ok(()),
                Event::ValueStart { member, at, kind } => self.value_starts(member, at, kind)?,
                Event::ValueEnd { member, range } => {
                    let new = self.value_ends(member, &range)?;
                    let is_cut = self.open.take().is_some() && range.start < self.base;
                    // What was cut off comes back, unless something else takes its place.
                    let with = match (new, is_cut) {
                        (Some(new), _) => new,
                        (None, true) => self.open_text()?,
                        (None, false) => {
                            self.rename()?;
                            continue;
                        }
                    };
                    let length = i64::try_from(range.end - range.start).unwrap_or(i64::MAX);
                    self.growth += i64::try_from(with.len()).unwrap_or(i64::MAX) - length;
                    let range = if is_cut { self.base..range.end } else { range };
                    self.splices.push(Splice { range, with });
                    self.rename()?;
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

    fn value_starts(&mut self, member: usize, at: u64, kind: json::Kind) -> Result<(), Refusal> {
        let is_null = kind == json::Kind::Null;
        if !is_null {
            self.check_other_models(member)?;
        }
        let says_something = !is_null || self.rule(member).is_some();
        for rename in &mut self.renames {
            if member == rename.old && says_something {
                rename.old_key = Some(self.scanner.key_range());
            }
            rename.has_new |= member == rename.new;
        }
        let waits = match member {
            MODEL => true,
            STREAM => false,
            // A default is only for what is absent or null.
            _ => self
                .rule_for(member)
                .is_some_and(|rule| rule.always || is_null),
        };
        self.open = waits.then_some(at);
        self.rename()
    }

    /// Where the models are restricted, the body names no others.
    fn check_other_models(&self, member: usize) -> Result<(), Refusal> {
        let name = self.backend.watched.name(member);
        match name.filter(|it| OTHER_MODELS.contains(it)) {
            Some(name) if self.choices.is_some() && self.rule(member).is_none() => {
                Err(other_model(name))
            }
            _ => Ok(()),
        }
    }

    /// What takes the place of a value that has just ended; `None`: it stays.
    fn value_ends(
        &mut self,
        member: usize,
        range: &Range<u64>,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(decided) = self.decided.get_mut(member) {
            *decided = true;
        }
        let waited = self.open.is_some();
        if let Some(rename) = self.renames.iter_mut().find(|it| it.has(member)) {
            // What is replaced now needs not be replaced later.
            rename.value = (!waited).then(|| range.clone());
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
                let chosen = Self::remembered(&choice, asked);
                let insists = insists(&choice, asked);
                let written = written(choice, asked)?;
                if let Asked::Model(name) = asked {
                    self.requested = Some(Rc::from(name));
                }
                self.chosen = chosen;
                self.settle_renames(insists);
                Ok(written.filter(|_| !self.keeps_model))
            }
            STREAM => {
                let (ValueText::Whole(text) | ValueText::Cut(text)) = self.scanner.value_text();
                self.is_stream = text == b"true";
                self.request_usage();
                Ok(None)
            }
            _ if self.usage.as_ref().is_some_and(|it| it.member == member) => {
                let text = match self.scanner.value_text() {
                    ValueText::Whole(text) => Some(text.to_vec()),
                    // Nobody writes that much there.
                    ValueText::Cut(_) => None,
                };
                if let Some(usage) = &mut self.usage {
                    usage.options = Some((range.clone(), text));
                }
                self.request_usage();
                Ok(None)
            }
            _ => {
                let rule = self.rule_for(member).filter(|_| waited);
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
            self.chosen = Self::remembered(&choice, Asked::Nothing);
            self.settle_renames(insists(&choice, Asked::Nothing));
            if let Some(model) = written(choice, Asked::Nothing)?
                && !self.keeps_model
            {
                add("model", &model);
            }
        }
        self.rename()?;
        if let Some(usage) = &mut self.usage
            && usage.options.is_none()
            && self.is_stream
        {
            usage.is_ours = true;
            add(STREAM_OPTIONS, INCLUDE_USAGE);
        }
        for (number, rule) in self.backend.members.iter().enumerate() {
            if !self.is_decided(FIRST_RULE + number)
                && let Some(name) = self.name_to_add(FIRST_RULE + number, &rule.name)
            {
                add(name, rule.value.as_bytes());
            }
        }
        // What was reserved, and is not needed, is white space.
        if let Some(usage) = &mut self.usage {
            let own = match usage.is_ours && usage.options.is_none() {
                true => RESERVED,
                false => 0,
            };
            let rest = usage.reserved.saturating_sub(own);
            added.resize(added.len() + rest, b' ');
        }
        Ok(added)
    }

    /// Requests the usage of a stream whose options the client has written, as soon as both are known.
    fn request_usage(&mut self) {
        let Some(usage) = &mut self.usage else {
            return;
        };
        let Some((range, text)) = usage.options.clone().filter(|_| self.is_stream) else {
            return;
        };
        let Some(with) = text.as_deref().and_then(with_usage) else {
            return;
        };
        // What has gone on stays.
        if range.start < self.base || usage.is_ours {
            return;
        }
        usage.is_ours = true;
        let length = text.map_or(0, |it| it.len());
        if usage.reserved > 0 {
            usage.reserved = (usage.reserved + length).saturating_sub(with.len());
        }
        self.insert(range, with);
    }

    /// The name by which an absent member with a rule is added; `None`: it stays absent.
    fn name_to_add<'n>(&self, member: usize, name: &'n str) -> Option<&'n str> {
        let mut renames = self.renames.iter();
        let Some((rename, other)) = renames.find_map(|it| Some((it, it.other(member)?))) else {
            return Some(name);
        };
        let [_, new_name] = rename.names;
        match rename.old_key.is_some() || rename.has_new {
            // What the client sent is there, or has been replaced.
            true => None,
            false if member == rename.old && self.rule(other).is_some() => None,
            false => Some(new_name),
        }
    }

    /// The model that goes upstream is known.
    fn settle_renames(&mut self, insists: bool) {
        self.renames.retain(|it| insists || it.is_fixed);
        for rename in &mut self.renames {
            rename.insists = Some(true);
        }
    }

    /// Renames and replaces what has been found, once it is known that it has to be.
    fn rename(&mut self) -> Result<(), Refusal> {
        for number in 0..self.renames.len() {
            self.rename_one(number)?;
        }
        Ok(())
    }

    fn rename_one(&mut self, number: usize) -> Result<(), Refusal> {
        let Some(rename) = self.renames.get_mut(number) else {
            return Ok(());
        };
        if rename.insists != Some(true) {
            return Ok(());
        }
        let [old_name, new_name] = rename.names;
        if rename.old_key.is_some() && rename.has_new {
            return Err(Refusal::Parameter {
                param: Some(old_name.to_owned()),
                message: format!("{old_name} and {new_name} cannot be set at the same time"),
                code: "invalid_value",
            });
        }
        let member = if rename.has_new {
            rename.new
        } else {
            rename.old
        };
        let value = rename.value.take();
        if let Some(key) = rename.old_key.clone().filter(|_| !rename.is_renamed) {
            rename.is_renamed = true;
            self.insert(key, json::encode_string(new_name).into_bytes());
        }
        if let Some(value) = value
            && let Some(rule) = self.rule_for(member).filter(|rule| rule.always)
        {
            let with = rule.value.as_bytes().to_vec();
            self.insert(value, with);
        }
        Ok(())
    }

    /// A change to what came before the last one, unless it has gone on.
    fn insert(&mut self, range: Range<u64>, with: Vec<u8>) {
        if range.start < self.base {
            return;
        }
        let length = i64::try_from(range.end - range.start).unwrap_or(i64::MAX);
        self.growth += i64::try_from(with.len()).unwrap_or(i64::MAX) - length;
        let after = |it: &Splice| it.range.start < range.start;
        let place = self.splices.partition_point(after);
        self.splices.insert(place, Splice { range, with });
    }

    /// Whether the bytes at hand end where a member may have to be renamed.
    fn waits_for_rename(&self) -> bool {
        let held = self.scanner.position() - self.base;
        let waits = |rename: &Rename| {
            let is_found = rename.old_key.is_some() || rename.has_new;
            match rename.insists.is_none() && is_found {
                true => held <= MAX_HELD_BYTES,
                // White space before the value may be endless.
                false => self.scanner.is_at_a_key() && held <= 2 * MAX_HELD_BYTES,
            }
        };
        !self.is_closed && self.renames.iter().any(waits)
    }

    fn choose(&self, asked: Asked<'_>) -> Choice {
        let rule = &self.backend.model;
        self.of_route.choose(asked, rule, self.member)
    }

    /// The model that a choice comes to.
    fn remembered(choice: &Choice, asked: Asked<'_>) -> Option<Rc<str>> {
        match (choice, asked) {
            (Choice::Write(model), _) => Some(Rc::clone(model)),
            (Choice::Keep, Asked::Model(model)) => Some(Rc::from(model)),
            _ => None,
        }
    }

    /// The length of the new body, once nothing more can change it.
    fn new_length(&self, ends: bool) -> Option<u64> {
        let rules = self.backend.members.len();
        let all_decided = || {
            let is_known = |it: &Rename| self.is_decided(it.old) || self.is_decided(it.new);
            self.is_decided(MODEL)
                && self.renames.iter().all(is_known)
                && (FIRST_RULE..FIRST_RULE + rules).all(|member| self.is_decided(member))
        };
        let old = match ends {
            true => Some(self.scanner.position()),
            false if self.is_closed || all_decided() => self.declared,
            false => None,
        };
        let reserved = match ends || self.is_closed {
            true => 0,
            false => self.usage_to_reserve() as u64,
        };
        old.and_then(|length| length.checked_add_signed(self.growth))
            .map(|length| length + reserved)
    }

    /// How many bytes the request for the usage may still take. Unit: bytes.
    fn usage_to_reserve(&self) -> usize {
        let is_whole = self.is_decided(STREAM) && !self.is_stream;
        match &self.usage {
            Some(usage) if !is_whole && usage.options.is_none() => RESERVED,
            // The client's options are there, and whether they count is not known.
            Some(usage) if !is_whole && !self.is_decided(STREAM) => match &usage.options {
                Some((_, Some(_))) => RESERVED,
                _ => 0,
            },
            _ => 0,
        }
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

    fn rule(&self, member: usize) -> Option<&crate::backend::MemberRule> {
        self.backend.members.get(member.checked_sub(FIRST_RULE)?)
    }

    /// The same, where the other name of the member may have the rule.
    fn rule_for(&self, member: usize) -> Option<&crate::backend::MemberRule> {
        let own = self.rule(member);
        let renames = self.renames.iter();
        let other = renames
            .filter(|it| it.insists == Some(true))
            .find_map(|it| self.rule(it.other(member)?))
            .filter(|rule| rule.always && !own.is_some_and(|own| own.always));
        other.or(own)
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
            json::InvalidJson::Lookalike { .. } => Refusal::Parameter {
                param: None,
                message: error.to_string(),
                code: "duplicate_parameter",
            },
            error => Refusal::InvalidBody(error),
        }
    }
}

impl Edit for BodyEdit {
    fn push(&mut self, bytes: &[u8], ends: bool) -> Result<Pushed, Refusal> {
        self.scan(bytes)?;
        if ends {
            self.scanner.finish().map_err(Refusal::InvalidBody)?;
        }
        let length = self.new_length(ends);
        let headers = match (self.holds, length) {
            _ if !ends && self.waits_for_a_key() => return Ok(Pushed::Hold),
            (false, _) if self.waits_for_rename() => return Ok(Pushed::Hold),
            (false, _) => Vec::new(),
            (true, Some(length)) => {
                if !ends && !self.is_closed {
                    let reserved = self.usage_to_reserve();
                    if let Some(usage) = &mut self.usage {
                        usage.reserved = reserved;
                    }
                }
                match self.declared == Some(length) {
                    true => Vec::new(),
                    false => vec![HeaderEdit::set("content-length", length.to_string())],
                }
            }
            (true, None) if self.must_hold() || self.waits_for_rename() => return Ok(Pushed::Hold),
            (true, None) => vec![HeaderEdit::remove("content-length")],
        };
        self.holds = false;
        let base = std::mem::replace(&mut self.base, self.scanner.position());
        if let Some(open) = self.open {
            self.splices.push(Splice {
                range: open.max(base)..self.base,
                with: Vec::new(),
            });
        }
        let splices = std::mem::take(&mut self.splices);
        let foreign = self.foreign.as_mut();
        Ok(Pushed::Pass {
            headers,
            splices,
            blanks: foreign.map_or_else(Vec::new, |it| it.pass(self.base)),
        })
    }

    fn chosen_model(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    fn requested_model(&self) -> Option<Rc<str>> {
        self.requested.clone()
    }

    fn hides_usage(&self) -> bool {
        self.usage.as_ref().is_some_and(|it| it.is_ours)
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn is_stream(&self) -> bool {
        self.is_stream
    }

    fn adapted(&self) -> Option<String> {
        let hints: Vec<&str> = self
            .foreign
            .iter()
            .flat_map(ForeignMembers::hints)
            .collect();
        (!hints.is_empty()).then(|| hints.join(", "))
    }
}

/// What a client sees of a member that names other models.
pub fn other_model(name: &str) -> Refusal {
    Refusal::Parameter {
        param: Some(name.to_owned()),
        message: format!("{name} can name other models, and the gateway restricts them; remove it"),
        code: "model_not_allowed",
    }
}

/// Whether the model that a choice comes to insists on `max_completion_tokens`.
fn insists(choice: &Choice, asked: Asked<'_>) -> bool {
    match (choice, asked) {
        (Choice::Write(model), _) => insists_on_completion_tokens(model),
        (Choice::Keep, Asked::Model(model)) => insists_on_completion_tokens(model),
        _ => false,
    }
}

/// The JSON text that a choice writes; `None`: what stands there stays.
fn written(choice: Choice, asked: Asked<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let model = new_model(choice, asked)?;
    Ok(model.map(|model| json::encode_string(&model).into_bytes()))
}

/// The model that a choice comes to, where it is not what was asked for.
///
/// # Errors
///
/// When it comes to none.
pub fn new_model(choice: Choice, asked: Asked<'_>) -> Result<Option<Rc<str>>, Refusal> {
    match (choice, asked) {
        (Choice::Keep, _) => Ok(None),
        (Choice::Write(model), asked) if asked == Asked::Model(&model) => Ok(None),
        (Choice::Write(model), _) => Ok(Some(model)),
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

const INCLUDE_USAGE: &[u8] = br#"{"include_usage":true}"#;

/// The length of `,"stream_options":` and its value. Unit: bytes.
const RESERVED: usize = ",\"\":".len() + STREAM_OPTIONS.len() + INCLUDE_USAGE.len();
