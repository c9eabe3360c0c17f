//! Changes the field `model` of a form while it passes, and decides how long the headers wait for it.
//!
//! It is to forms what [`BodyEdit`](super::body::BodyEdit) is to JSON: the same rules, every other byte
//! as the client sent it. Clients send the field before the file or behind it, so that headers that can
//! wait do so until it has come, whatever the length: as long as Envoy's buffer allows. A second
//! `model` behind the first is refused, and the provider sees the request break off.

use std::ops::Range;
use std::rc::Rc;

use super::body::{Edit, OfRoute, Pushed, new_model, other_model};
use crate::backend::Backend;
use crate::form::{Boundary, Event, Scanner};
use crate::headers::HeaderEdit;
use crate::json::Splice;
use crate::model::{Asked, OTHER_MODELS};
use crate::operation::ModelMember;
use crate::refusal::Refusal;

/// One form on its way.
pub struct FormEdit {
    backend: Rc<Backend>,
    of_route: OfRoute,
    member: ModelMember,
    scanner: Scanner,
    /// Whether the model is decided.
    is_decided: bool,
    /// Whether what the client calls the model stays, since the path names the one that is used.
    keeps_model: bool,
    /// The model that goes upstream, once it is decided.
    chosen: Option<Rc<str>>,
    /// Whether the last delimiter has come.
    is_closed: bool,
    /// The change to the bytes at hand.
    splice: Option<Splice>,
    /// How many bytes longer the new body is.
    growth: i64,
    /// The length that the client declared.
    declared: Option<u64>,
    /// Whether headers and body wait here.
    holds: bool,
}

impl FormEdit {
    /// A form of which nothing has arrived.
    pub fn new(
        backend: Rc<Backend>,
        of_route: OfRoute,
        member: ModelMember,
        boundary: &Boundary,
        declared: Option<u64>,
        holds: bool,
    ) -> Self {
        let is_restricted = of_route.is_restricted() || backend.model.is_restricted();
        let others: &[&str] = if is_restricted { &OTHER_MODELS } else { &[] };
        Self {
            backend,
            of_route,
            member,
            scanner: Scanner::new(boundary).with_others(others),
            is_decided: false,
            keeps_model: false,
            chosen: None,
            is_closed: false,
            splice: None,
            growth: 0,
            declared,
            holds,
        }
    }

    /// The same where the path names the model, and the form must not.
    pub fn keeping_model(mut self) -> Self {
        self.keeps_model = true;
        self
    }

    fn scan(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        loop {
            match self
                .scanner
                .scan(&mut bytes)
                .map_err(Refusal::InvalidForm)?
            {
                Event::InputEmpty => return Ok(()),
                Event::Other(name) => return Err(other_model(name)),
                Event::Model { .. } if self.is_decided => {
                    return Err(Refusal::DuplicateMember("model".to_owned()));
                }
                Event::Model { range, value } => {
                    let asked = match value.trim() {
                        "" => Asked::Nothing,
                        _ => Asked::Model(&value),
                    };
                    if let Some(model) = self.decide(asked)? {
                        self.replace(range, model.as_bytes().to_vec());
                    }
                }
                Event::End(at) => {
                    self.is_closed = true;
                    if !self.is_decided
                        && let Some(model) = self.decide(Asked::Nothing)?
                    {
                        let head = "\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
                        let delimiter = self.scanner.delimiter();
                        let part = [delimiter, head.as_bytes(), model.as_bytes(), b"\r\n"].concat();
                        self.replace(at..at, part);
                    }
                }
            }
        }
    }

    /// The model that takes the place of what was asked for; `None`: that stays.
    fn decide(&mut self, asked: Asked<'_>) -> Result<Option<Rc<str>>, Refusal> {
        self.is_decided = true;
        let choice = self
            .of_route
            .choose(asked, &self.backend.model, self.member);
        let new = new_model(choice, asked)?;
        self.chosen = match (&new, asked) {
            (Some(model), _) => Some(Rc::clone(model)),
            (None, Asked::Model(model)) => Some(Rc::from(model)),
            (None, _) => None,
        };
        let delimiter = self.scanner.delimiter();
        let breaks = |model: &str| {
            let mut places = model.as_bytes().windows(delimiter.len());
            model.chars().any(char::is_control) || places.any(|it| it == delimiter)
        };
        match new.filter(|model| breaks(model)) {
            Some(model) => Err(Refusal::UnknownModel(model.to_string())),
            None => Ok(self
                .chosen
                .clone()
                .filter(|model| asked != Asked::Model(model) && !self.keeps_model)),
        }
    }

    fn replace(&mut self, range: Range<u64>, with: Vec<u8>) {
        let length = |length: u64| i64::try_from(length).unwrap_or(i64::MAX);
        self.growth = length(with.len() as u64) - length(range.end - range.start);
        self.splice = Some(Splice { range, with });
    }
}

impl Edit for FormEdit {
    fn push(&mut self, bytes: &[u8], ends: bool) -> Result<Pushed, Refusal> {
        self.scan(bytes)?;
        if ends {
            self.scanner.finish().map_err(Refusal::InvalidForm)?;
        }
        let waits = match self.holds {
            true => !self.is_decided,
            // Only what may have to be changed.
            false => !self.is_decided && self.scanner.must_wait(),
        };
        if waits {
            return Ok(Pushed::Hold);
        }
        let mut headers = Vec::new();
        if std::mem::take(&mut self.holds) && self.growth != 0 {
            let new = self
                .declared
                .and_then(|it| it.checked_add_signed(self.growth));
            headers.extend(new.map(|it| HeaderEdit::set("content-length", it.to_string())));
        }
        Ok(Pushed::Pass {
            headers,
            splices: Vec::from_iter(self.splice.take()),
            blanks: Vec::new(),
        })
    }

    fn chosen_model(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn is_stream(&self) -> bool {
        false
    }
}
