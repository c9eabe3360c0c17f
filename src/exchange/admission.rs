//! What becomes of a request's body, before any of it has arrived: it is read, it passes, it must be
//! empty, or the request is refused.
//!
//! Where the configuration restricts the models of a backend, a request whose model cannot be read is
//! refused: a rule that a client can step around by a media type, a method or a path is none.

use super::{can_be_json, media_type, takes_body};
use crate::backend::Backend;
use crate::form::Boundary;
use crate::headers::Headers;
use crate::operation::table::{Definition, Media, ModelPlace};
use crate::operation::{ModelMember, Operation};
use crate::refusal::Refusal;

/// What becomes of the body.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// It must be empty.
    Empty,
    /// It is a form, whose parts this separates.
    Form(Boundary),
    /// It is JSON.
    Json,
    /// It passes unread.
    Unread,
}

/// A request, as far as its body matters.
pub struct Request<'a> {
    /// The call.
    pub operation: &'a Operation<'a>,
    /// Its headers.
    pub headers: &'a Headers<'a>,
    /// Whether it has no body.
    pub ends: bool,
    /// Whether a form is read for the model, where no rule restricts it.
    pub reads_forms: bool,
}

impl Request<'_> {
    /// What becomes of the body where no rule restricts the model.
    pub fn unrestricted(&self) -> Body {
        let method = self.headers.text(":method").unwrap_or_default();
        let takes_forms = self.operation.definition().media().contains(&Media::Form);
        let is_read = self.reads_forms && takes_forms && !self.ends;
        let form = || form(self.headers).filter(|_| is_read);
        match takes_body(method) {
            true if can_be_json(self.headers, self.operation.kind()) => Body::Json,
            true => form().map_or(Body::Unread, Body::Form),
            false => Body::Unread,
        }
    }

    /// What becomes of the body where a rule restricts the model.
    ///
    /// # Errors
    ///
    /// When the model would stand where the rule does not reach it.
    pub fn restricted(&self, backend: &Backend) -> Result<Body, Refusal> {
        let method = self.headers.text(":method").unwrap_or_default();
        let definition = self.operation.definition();
        if self.operation.is_disguised() {
            return Err(Refusal::DisguisedPath);
        }
        if !KNOWN_METHODS.contains(&method) {
            return Err(wrong_method(definition));
        }
        match definition.model {
            ModelPlace::Path => return Err(Refusal::ModelInPath),
            ModelPlace::Unreadable if is_unchecked(backend, definition) => {
                return Ok(self.unrestricted());
            }
            // A browser asks what it may send; nothing runs.
            ModelPlace::Unreadable if method == "OPTIONS" && self.ends => return Ok(Body::Unread),
            ModelPlace::Unreadable => return Err(Refusal::UncheckedOperation(definition.name)),
            ModelPlace::Body(..) | ModelPlace::Nowhere => {}
        }
        if !definition.methods.contains(&method) {
            // Without a body nothing runs that would need one.
            return match !self.ends && (takes_body(method) || self.declares_body()) {
                true => Err(wrong_method(definition)),
                false => Ok(Body::Empty),
            };
        }
        let ModelPlace::Body(media, member) = definition.model else {
            return Ok(Body::Unread);
        };
        if self.ends {
            return match member {
                ModelMember::Incidental => Ok(Body::Unread),
                ModelMember::Optional | ModelMember::Required => Err(Refusal::MissingBody),
            };
        }
        if can_be_json(self.headers, self.operation.kind()) {
            return Ok(Body::Json);
        }
        let form = form(self.headers).filter(|_| media.contains(&Media::Form));
        form.map(Body::Form)
            .ok_or(Refusal::UnsupportedMediaType(definition))
    }

    /// Whether the headers promise a body.
    fn declares_body(&self) -> bool {
        let length = self.headers.get("content-length");
        length.is_some_and(|it| it != b"0") || self.headers.get("transfer-encoding").is_some()
    }
}

/// Whether a browser asks what a page may send. It does so before it sends any credential, so no policy
/// about clients has admitted the request, and no provider needs a key to reply.
///
/// Source: <https://fetch.spec.whatwg.org/#cors-preflight-request>.
pub fn is_preflight(headers: &Headers<'_>) -> bool {
    headers.get(":method") == Some(b"OPTIONS")
        && headers.get("access-control-request-method").is_some()
}

/// The boundary of a form that may be read; `None`: it is no form, or one that servers could read in
/// different ways.
pub fn form(headers: &Headers<'_>) -> Option<Boundary> {
    let is_form = media_type(headers).eq_ignore_ascii_case(Media::Form.as_str().as_bytes());
    // Of two media types a server could take the other one.
    let is_one = headers.all(b"content-type").count() == 1;
    let content_type = headers.get("content-type");
    Boundary::of(content_type.filter(|_| is_form && is_one)?)
}

/// Whether the operator lets a call pass although its model cannot be checked.
pub fn is_unchecked(backend: &Backend, definition: &Definition) -> bool {
    backend.unchecked.contains(&definition)
}

/// Refuses a body that is to be read and is compressed.
///
/// # Errors
///
/// When it is, with the name of the coding.
pub fn check_encoding(headers: &Headers<'_>) -> Result<(), Refusal> {
    let is_encoded = |value: &[u8]| {
        let mut codings = value.split(|&byte| byte == b',');
        codings.any(|it| {
            !it.trim_ascii().is_empty() && !it.trim_ascii().eq_ignore_ascii_case(b"identity")
        })
    };
    let mut values = headers.all(b"content-encoding");
    match values.find(|value| is_encoded(value)) {
        None => Ok(()),
        Some(value) => {
            let name = String::from_utf8_lossy(value).trim().to_owned();
            let name = name.chars().take(MAX_NAME_CHARACTERS).collect();
            Err(Refusal::ContentEncoding(name))
        }
    }
}

/// What a client sees of a method that cannot have a body here.
pub fn wrong_method(definition: &Definition) -> Refusal {
    let allowed = definition
        .methods
        .iter()
        .chain(&["GET", "HEAD", "OPTIONS", "DELETE"]);
    Refusal::WrongMethod(allowed.copied().collect::<Vec<_>>().join(", "))
}

/// The methods that every server knows: what another one does with a body, nobody can say.
const KNOWN_METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"];

/// How much of a coding's name is repeated to the client.
const MAX_NAME_CHARACTERS: usize = 64;
