//! A call of a provider that has a dialect of its own, there and back.
//!
//! The body is translated whole, so headers and body wait for its end. The backend's rules go
//! first, as splices of the client's text: they are the same for every dialect. Where a chat has
//! none but about its model, the text is read once, and the model is changed in what was read.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use super::body::{self, BodyEdit, Edit as _, OfRoute, Pushed};
use crate::api::{self, ClientApi, ReplyWriter, Stamp};
use crate::backend::Backend;
use crate::chat::{CallStyle, Request};
use crate::embed;
use crate::json;
use crate::model;
use crate::operation::{Kind, ModelMember};
use crate::provider::Dialects;
use crate::provider::dialect::{
    BrokenReply, Counting, Dialect, Embeddings, Encoded, Options, Unsupported,
};
use crate::refusal::{LocalReply, Refusal};
use crate::relay::{Relay, reason_name};
use crate::usage::Observed;

/// A request that waits for the end of its body.
pub struct ChatRequest {
    backend: Rc<Backend>,
    dialects: Dialects,
    options: Options,
    api: &'static dyn ClientApi,
    call: Call,
    /// The operation.
    kind: Kind,
    of_route: OfRoute,
    /// The model that the client has named.
    requested: RefCell<Option<Rc<str>>>,
}

/// What is requested.
#[derive(Clone, Copy)]
pub enum Call {
    /// A conversation.
    Chat,
    /// The number of a conversation's tokens.
    Count,
    /// Embeddings.
    Embeddings(&'static dyn api::Embeddings),
}

/// What goes to the provider.
pub enum Outgoing {
    /// The model speaks the client's API: the body with the changes that the provider needs.
    Passed {
        /// The path below the base path.
        suffix: String,
        /// JSON.
        body: Vec<u8>,
        /// The provider's name of the model.
        model: String,
        /// Whether it requests a stream.
        is_stream: bool,
    },
    /// The request in the provider's words, and what its reply needs.
    Translated(Encoded, ReplyContext),
}

/// What of a request its reply needs.
#[derive(Clone)]
pub struct ReplyContext {
    dialect: &'static dyn Dialect,
    api: &'static dyn ClientApi,
    /// The provider's name of the model.
    model: String,
    form: Form,
    calls: CallStyle,
    /// The value of [`ADAPTED_HEADER`](crate::contract::ADAPTED_HEADER).
    adapted: Option<Rc<str>>,
}

/// The form of the reply.
#[derive(Clone)]
enum Form {
    Count(&'static dyn Counting),
    Embeddings {
        reader: &'static dyn Embeddings,
        writer: &'static dyn api::Embeddings,
        encoding: embed::Encoding,
        count: usize,
    },
    Stream(Rc<dyn ReplyWriter>),
    Whole(Rc<dyn ReplyWriter>),
}

impl ChatRequest {
    /// A request of which no byte has arrived.
    pub fn new(
        backend: Rc<Backend>,
        dialects: Dialects,
        options: Options,
        api: &'static dyn ClientApi,
        (kind, call): (Kind, Call),
        of_route: OfRoute,
    ) -> Self {
        Self {
            backend,
            dialects,
            options,
            api,
            call,
            kind,
            of_route,
            requested: RefCell::default(),
        }
    }

    /// The model that the client has named, once the body was read.
    pub fn requested_model(&self) -> Option<Rc<str>> {
        self.requested.borrow().clone()
    }

    /// The whole body in the provider's words, and what the reply will need. `limit`: how long the
    /// provider's body may be. Unit: bytes.
    ///
    /// # Errors
    ///
    /// When it is no chat completion, the dialect cannot express it, or it would be too long.
    pub fn outgoing(&self, body: &[u8], limit: u64) -> Result<Outgoing, Refusal> {
        if self.dialects.may_pass(self.kind) {
            let (text, model) = self.ruled(body)?;
            let dialect = self.dialects.of(&model);
            if let Some(passed) = dialect.pass(self.kind, &model, &text)? {
                let mut body = Vec::with_capacity(text.len() + 64);
                json::apply(&text, 0, &passed.splices, &mut body)
                    .map_err(|_| Refusal::Gateway("the body was not edited"))?;
                return Ok(Outgoing::Passed {
                    suffix: passed.suffix,
                    body,
                    model,
                    is_stream: passed.is_stream,
                });
            }
        }
        let (encoded, context) = self.translate(body, limit)?;
        Ok(Outgoing::Translated(encoded, context))
    }

    /// The same where nothing passes.
    fn translate(&self, body: &[u8], limit: u64) -> Result<(Encoded, ReplyContext), Refusal> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        match self.call {
            Call::Chat | Call::Count => {
                let prepared = self.api.prepare(Cow::Borrowed(body))?;
                if let Some(request) = self.read_at_once(&prepared) {
                    return self.chat(request?, &prepared, limit);
                }
                // Of the two texts one is kept.
                let body = match self.ruled(&prepared)?.0 {
                    Cow::Owned(ruled) => Cow::Owned(ruled),
                    Cow::Borrowed(_) => prepared,
                };
                self.chat(self.api.read(&body)?, &body, limit)
            }
            Call::Embeddings(embeddings) => {
                let (body, model) = self.ruled(body)?;
                self.embeddings(embeddings, &body, model, limit)
            }
        }
    }

    /// A chat to which the rules have been applied, where they are about nothing but the model. It is
    /// what would be read from what is [`ruled`](Self::ruled).
    ///
    /// `None`: there are other rules, or something is wrong with the body, which they may mend, and
    /// about which they may have to say something before.
    fn read_at_once<'a>(&self, body: &'a [u8]) -> Option<Result<Request<'a>, Refusal>> {
        if !self.backend.members.is_empty() {
            return None;
        }
        let mut request = self.api.read(body).ok()?;
        if request.model.len() > MAX_MODEL_BYTES {
            return None;
        }
        let asked = match request.model.trim().is_empty() {
            true => model::Asked::Nothing,
            false => model::Asked::Model(&request.model),
        };
        if let model::Asked::Model(name) = asked {
            *self.requested.borrow_mut() = Some(Rc::from(name));
        }
        let rule = &self.backend.model;
        let choice = self.of_route.choose(asked, rule, ModelMember::Required);
        match body::new_model(choice, asked) {
            Ok(None) => {}
            Ok(Some(model)) => request.model = Cow::Owned(String::from(&*model)),
            Err(refusal) => return Some(Err(refusal)),
        }
        Some(Ok(request))
    }

    /// The body as the rules make it, and the model that they choose.
    fn ruled<'a>(&self, body: &'a [u8]) -> Result<(Cow<'a, [u8]>, String), Refusal> {
        let (backend, of_route) = (Rc::clone(&self.backend), self.of_route.clone());
        let member = ModelMember::Required;
        let mut rules = BodyEdit::new(backend, of_route, member, None, true, true);
        let splices = match rules.push(body, true)? {
            Pushed::Pass { splices, .. } => splices,
            Pushed::Hold => Vec::new(),
        };
        let model = rules.chosen_model().unwrap_or_default().to_owned();
        *self.requested.borrow_mut() = rules.requested_model();
        if splices.is_empty() {
            return Ok((Cow::Borrowed(body), model));
        }
        let mut ruled = Vec::new();
        json::apply(body, 0, &splices, &mut ruled)
            .map_err(|_| Refusal::Gateway("the body was not edited"))?;
        Ok((Cow::Owned(ruled), model))
    }

    /// `body`: what the request was read from.
    fn chat(
        &self,
        request: Request<'_>,
        body: &[u8],
        limit: usize,
    ) -> Result<(Encoded, ReplyContext), Refusal> {
        let dialect = self.dialects.of(&request.model);
        let options = &self.options;
        if let Call::Count = self.call {
            let Some(counting) = dialect.counting() else {
                return Err(Refusal::CannotCount(self.backend.provider.as_str()));
            };
            let encoded = counting.encode_within(&request, options, body.len(), limit)?;
            let context = ReplyContext {
                dialect,
                api: self.api,
                model: request.model.into_owned(),
                form: Form::Count(counting),
                calls: CallStyle::All,
                adapted: encoded.head.adapted.as_deref().map(Rc::from),
            };
            return Ok((encoded, context));
        }
        let encoded = dialect.encode_within(&request, options, body.len(), limit)?;
        let writer = self.api.reply_writer(&request, body);
        let context = ReplyContext {
            dialect,
            api: self.api,
            calls: match request.uses_functions {
                true => CallStyle::Function,
                false => encoded.head.calls,
            },
            adapted: encoded.head.adapted.as_deref().map(Rc::from),
            form: match request.stream {
                true => Form::Stream(writer),
                false => Form::Whole(writer),
            },
            model: request.model.into_owned(),
        };
        Ok((encoded, context))
    }

    fn embeddings(
        &self,
        embeddings: &'static dyn api::Embeddings,
        body: &[u8],
        model: String,
        limit: usize,
    ) -> Result<(Encoded, ReplyContext), Refusal> {
        let dialect = self.dialects.of(&model);
        let Some(reader) = dialect.embeddings() else {
            return Err(Refusal::from(Unsupported {
                param: "model".to_owned(),
                message: format!("the model {model:?} has no embeddings"),
            }));
        };
        let request = embeddings.read(body).map_err(unembeddable)?;
        let options = &self.options;
        let encoded = reader.encode_within(&request, &model, options, body.len(), limit)?;
        let context = ReplyContext {
            dialect,
            api: self.api,
            form: Form::Embeddings {
                reader,
                writer: embeddings,
                encoding: request.encoding,
                count: request.texts.len(),
            },
            model,
            calls: CallStyle::All,
            adapted: encoded.head.adapted.as_deref().map(Rc::from),
        };
        Ok((encoded, context))
    }
}

impl ReplyContext {
    /// Whether the client wants a stream.
    pub fn is_stream(&self) -> bool {
        matches!(self.form, Form::Stream(_))
    }

    /// The parameters that were adapted for this backend, for the header [`ADAPTED_HEADER`](crate::contract::ADAPTED_HEADER).
    pub fn adapted(&self) -> Option<&str> {
        self.adapted.as_deref()
    }

    /// Which calls of the reply the client gets, and how.
    pub fn calls(&self) -> CallStyle {
        self.calls
    }

    /// The provider's name of the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The API of the request.
    pub fn api(&self) -> &'static dyn ClientApi {
        self.api
    }

    /// A whole reply in the client's API.
    ///
    /// # Errors
    ///
    /// When the bytes are no reply: 502.
    pub fn reply(
        &self,
        body: &[u8],
        stamp: Stamp,
        limit: usize,
        observed: &mut Observed,
    ) -> Result<Vec<u8>, LocalReply> {
        let length = body.len();
        let reply = match &self.form {
            Form::Count(counting) => counting.decode(body).map(|tokens| {
                let body = self.api.token_count(tokens);
                body.unwrap_or_default().into_bytes()
            }),
            Form::Embeddings {
                reader,
                writer,
                encoding,
                count,
            } => reader.decode(body, *count).and_then(|reply| {
                observed.usage = reply.usage;
                let written = writer.write(&reply, *encoding, &self.model, length, limit);
                written.map_err(BrokenReply::from)
            }),
            Form::Stream(writer) | Form::Whole(writer) => {
                self.dialect.decode(body).and_then(|reply| {
                    observed.usage = reply.usage;
                    observed.model = Some(&*reply.model)
                        .filter(|it| !it.is_empty())
                        .map(Box::from);
                    let stop = reply.choices.iter().next().map(|it| reason_name(&it.stop));
                    observed.finish_reason = stop;
                    let written = writer.write(&reply, stamp, length, limit);
                    written.map_err(BrokenReply::from)
                })
            }
        };
        reply.map_err(|broken| self.broken_reply(&broken))
    }

    /// A provider's error in the client's API, and its status.
    pub fn error(&self, status: u16, body: &[u8]) -> (u16, String) {
        let failure = self.dialect.error(status, body);
        (failure.status, self.api.error(&failure))
    }

    /// How long an error asks to wait. Unit: seconds.
    pub fn retry_after(&self, body: &[u8]) -> Option<u64> {
        self.dialect.retry_after(body)
    }

    /// What turns the provider's stream into one of the client's API; `None`: none was requested.
    pub fn stream(&self, stamp: Stamp) -> Option<Relay> {
        let Form::Stream(writer) = &self.form else {
            return None;
        };
        let stream = self.dialect.stream(MAX_EVENT_BYTES);
        Some(Relay::new(stream, writer.stream(stamp), MAX_CHUNKS_BYTES))
    }

    /// What a client sees of a reply that has no body.
    pub fn empty_reply(&self) -> LocalReply {
        self.broken_reply(&BrokenReply("it is empty".to_owned()))
    }

    /// The same for one that is a stream where none was asked for, or the other way round.
    pub fn mistaken_reply(&self) -> LocalReply {
        self.broken_reply(&BrokenReply(
            "it streams, or does not, against what was asked".to_owned(),
        ))
    }

    /// The same for one that is compressed, which we asked it not to be.
    pub fn compressed_reply(&self) -> LocalReply {
        self.broken_reply(&BrokenReply("it is compressed".to_owned()))
    }

    /// What a client sees of a reply that is none.
    fn broken_reply(&self, broken: &BrokenReply) -> LocalReply {
        LocalReply::error(&broken.to_failure(), self.api)
    }
}

/// Why texts cannot be embedded.
fn unembeddable(invalid: api::InvalidRequest) -> Refusal {
    match invalid.param {
        Some(param) => Refusal::from(Unsupported {
            param,
            message: invalid.message,
        }),
        None => Refusal::from(invalid),
    }
}

/// The longest name of a model that is read at once: however it is escaped, rules take its text
/// whole.
const MAX_MODEL_BYTES: usize = json::CAPTURE_LIMIT / 8;

/// An event carries at most a part of an answer, or an image.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// What one call may make of the events at hand. Unit: bytes.
const MAX_CHUNKS_BYTES: usize = 2 * MAX_EVENT_BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openai::OpenAi;
    use crate::gateway::Gateway;
    use crate::model::{Aliases, Renaming};
    use crate::provider::Wire;

    /// What comes of a body, read at once or by way of its text.
    type Outcome = Result<Encoded, Refusal>;

    fn outcome(chat: Result<(Encoded, ReplyContext), Refusal>) -> Outcome {
        chat.map(|(encoded, _)| encoded)
    }

    /// Every body that is worth trying: with models of all kinds, cut, and with a byte changed.
    fn bodies() -> Vec<Vec<u8>> {
        let long = |length: usize| format!(r#""model":"{}","#, r"\u0061".repeat(length));
        let (long, longer) = (long(MAX_MODEL_BYTES), long(json::CAPTURE_LIMIT));
        let members = [
            "",
            r#""model":"a","#,
            r#""model":"claude-x","#,
            r#""mod\u0065l":"\u0061","#,
            r#""model":"b/a","#,
            r#""model":null,"#,
            r#""model":" ","#,
            r#""model":7,"#,
            r#""model":"\ud800","#,
            r#""model":"a","model":"c","#,
            r#""model":null,"model":"a","#,
            r#""model":"a","stream":null,"stream":true,"#,
            r#""stream":true,"stream":false,"#,
            r#""model":"a","functions":[],"#,
            r#""model":"zzz","n":2,"#,
            &long,
            &longer,
        ];
        let body = |members: &str| {
            let messages = r#""messages":[{"role":"user","content":"h\u00e9\n"}]"#;
            format!("{{{members}{messages},\"stream\":true}}").into_bytes()
        };
        let mut bodies: Vec<Vec<u8>> = members.iter().map(|it| body(it)).collect();
        let deep = [br#"{"x":"#.as_slice(), &[b'['; 200], &[b']'; 200], b"}"];
        bodies.push(deep.concat());
        let plain = body(r#""model":"a","#);
        for at in 0..=plain.len() {
            bodies.push(plain[..at].to_vec());
            for byte in *b"\"\\,:{}[]0 a\n\xff" {
                let mut changed = plain.clone();
                changed.splice(at..(at + 1).min(plain.len()), [byte]);
                bodies.push(changed);
            }
        }
        bodies
    }

    #[test]
    fn what_is_read_at_once_is_what_is_read_from_the_ruled_text() {
        let of_routes = [
            OfRoute::default(),
            OfRoute {
                model: Some(Rc::from("claude-r")),
                ..OfRoute::default()
            },
            OfRoute {
                model: None,
                renaming: Renaming {
                    aliases: Some(Rc::new(Aliases::new([("a".into(), Rc::from("claude-s"))]))),
                    prefix: Some(Rc::from("b/")),
                },
            },
        ];
        let (bodies, mut at_once, mut refused) = (bodies(), 0, 0);
        for config in [
            "apiKey: k",
            "model: claude-m",
            "defaultModel: claude-d",
            "modelAliases: {a: claude-a, 'claude-*': claude-b}",
            "models: [a], defaultModel: a",
        ] {
            let text = format!("backends: [{{name: b, type: anthropic, config: {{{config}}}}}]");
            let gateway = Gateway::parse(&text, &|_: &str| None::<String>).unwrap();
            for of_route in &of_routes {
                let backend = Rc::clone(&gateway.backends[0]);
                let (Wire::Translated(dialects), options) = (&backend.wire, backend.options) else {
                    panic!("{:?}", backend.wire);
                };
                let rules = of_route.clone();
                let call = (Kind::ChatCompletions, Call::Chat);
                let dialects = *dialects;
                let request = ChatRequest::new(backend, dialects, options, &OpenAi, call, rules);
                for body in &bodies {
                    let ruled = request.ruled(body);
                    let by_text = ruled.and_then(|(text, model)| {
                        let chat = OpenAi.read(&text)?;
                        assert_eq!(chat.model, model);
                        request.chat(chat, &text, usize::MAX)
                    });
                    let by_text = outcome(by_text);
                    let translated = outcome(request.translate(body, u64::MAX));
                    let what = String::from_utf8_lossy(body);
                    assert_eq!(translated, by_text, "{config} {of_route:?} {what}");
                    at_once += usize::from(request.read_at_once(body).is_some());
                    refused += usize::from(translated.is_err());
                }
            }
        }
        assert!(at_once > 1000 && refused > 1000, "{at_once} {refused}");
    }
}
