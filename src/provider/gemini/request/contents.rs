//! The messages of a conversation: what two roles say in turn, and instructions.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::unsupported;
use crate::chat::{Content, Message, MessageIter, Messages, PartKind, Request, Source, ToolCall};
use crate::data_uri;
use crate::failure::quotable;
use crate::json::{self, Ignored, Piece, Quoted, Text, Writer};
use crate::provider::adapt::{Adapter, Rule};
use crate::provider::dialect::Unsupported;
use crate::provider::gemini::model::Model;
use crate::provider::gemini::{Host, SIGNATURE_PREFIX, media, rules};

/// Writes `contents`, and `systemInstruction` where there are instructions. Returns which detail the
/// images ask for.
pub(super) fn write<'r>(
    json: &mut Writer,
    request: &'r Request<'_>,
    model: &'r Model<'_>,
    adapter: &Adapter,
    host: Host,
) -> Result<Details<'r>, Unsupported> {
    let mut contents = Contents {
        json,
        role: None,
        adapter,
        host,
        model,
        messages: &request.messages,
        called: BTreeMap::new(),
        details: Details::NoImage,
        is_low: false,
    };
    contents.json.key("contents").open_array();
    match host {
        Host::AiStudio => {
            for (index, message) in (0..).zip(&request.messages) {
                contents.add(index, message)?;
            }
        }
        Host::Vertex => {
            let mut rest = Numbered {
                index: 0,
                messages: request.messages.iter(),
            };
            while !contents.add_turn(&mut rest)? {}
        }
    }
    // Contents must not be empty: instructions alone are what the user says.
    let is_conversation = contents.role.is_some();
    if !is_conversation {
        for text in instructions(request) {
            contents.begin(USER).key("text").quoted(text);
        }
    }
    let details = contents.end()?;
    if is_conversation && instructions(request).next().is_some() {
        json.key("systemInstruction").object(|json| {
            json.key("parts").array(|json| {
                for text in instructions(request) {
                    json.object(|json| json.key("text").quoted(text));
                }
            });
        });
    }
    Ok(details)
}

/// The texts of system and developer messages, wherever they stand, in order.
fn instructions<'r>(request: &'r Request<'_>) -> impl Iterator<Item = Quoted<'r>> {
    let contents = request.messages.iter().filter_map(|message| match message {
        Message::System { content, .. } => Some(content.iter()),
        _ => None,
    });
    contents.flatten().filter_map(|part| match part.kind {
        PartKind::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    })
}

/// Messages that are still to come, and which one is the next.
#[derive(Clone)]
struct Numbered<'r> {
    index: usize,
    messages: MessageIter<'r>,
}

impl<'r> Iterator for Numbered<'r> {
    type Item = (usize, Message<'r>);

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.messages.next()?;
        self.index += 1;
        Some((self.index - 1, message))
    }
}

/// Which `detail` the images ask for.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Details<'r> {
    Mixed,
    NoImage,
    Same(Cow<'r, str>),
}

/// The contents as they are written: one for all that follows in one role.
///
/// ```text
///   {"role":"user","parts":[{…},{…}]},{"role":"model","parts":[{…
/// ```
///
/// The last part, and with it its content, stays open until the next one begins: more may be said
/// about it.
struct Contents<'w, 'r> {
    json: &'w mut Writer,
    /// Whose content is open: [`USER`] or [`MODEL`]; `None` before the first.
    role: Option<&'static str>,
    adapter: &'w Adapter,
    host: Host,
    model: &'r Model<'r>,
    messages: &'r Messages<'r>,
    /// The numbers of the calls so far, by their ids.
    called: BTreeMap<Id<'r>, u32>,
    details: Details<'r>,
    /// Whether the image that has just been read asks for little detail.
    is_low: bool,
}

/// The id of a call. It is ordered as what it says, however that is escaped.
#[derive(Clone, Copy)]
struct Id<'r>(Text<'r>);

impl Ord for Id<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.decode().cmp(&other.0.decode())
    }
}

impl PartialOrd for Id<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Id<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Id<'_> {}

impl<'r> Contents<'_, 'r> {
    /// Adds the next messages up to where the assistant speaks again: the results of calls in the order
    /// of the calls, before what else is said. Gives whether there are no more.
    ///
    /// Vertex AI knows no ids: a result belongs to its call by its name and its place.
    fn add_turn(&mut self, rest: &mut Numbered<'r>) -> Result<bool, Unsupported> {
        let is_assistant = |message: &Message<'_>| matches!(message, Message::Assistant { .. });
        let mut next = rest.clone();
        if let Some((index, message)) = next.next()
            && is_assistant(&message)
        {
            self.add(index, message)?;
            *rest = next;
        }
        let call_of = |this: &Self, message: &Message<'_>| match message {
            Message::Tool { tool_call_id, .. } => this.called.get(&Id(*tool_call_id)).copied(),
            _ => None,
        };
        let turn = rest.clone();
        let mut results = Vec::new();
        loop {
            let here = rest.clone();
            match rest.next() {
                Some((_, message)) if !is_assistant(&message) => {
                    if let Some(call) = call_of(self, &message) {
                        results.push((call, here));
                    }
                }
                _ => {
                    *rest = here;
                    break;
                }
            }
        }
        results.sort_unstable_by_key(|(call, here)| (*call, here.index));
        for (_, mut here) in results {
            if let Some((index, message)) = here.next() {
                self.add(index, message)?;
            }
        }
        let count = rest.index - turn.index;
        for (index, message) in turn.take(count) {
            if call_of(self, &message).is_none() {
                self.add(index, message)?;
            }
        }
        Ok(rest.clone().next().is_none())
    }

    fn add(&mut self, index: usize, message: Message<'r>) -> Result<(), Unsupported> {
        match message {
            Message::Assistant {
                content,
                tool_calls,
                reasoning,
                reasoning_signature,
                ..
            } => {
                // Another provider's signature would be refused, and thinking without one of Google's
                // is not this model's.
                let signature = reasoning_signature.map(Text::decode);
                let signature = signature
                    .as_deref()
                    .and_then(|signature| signature.strip_prefix(SIGNATURE_PREFIX));
                let reasoning = reasoning.filter(|text| !text.is_empty());
                if let Some(reasoning) = reasoning.filter(|_| signature.is_some()) {
                    let part = self.begin(MODEL);
                    part.key("text").quoted(reasoning);
                    part.key("thought").bool(true);
                }
                let says_something = self.parts(MODEL, index, content);
                if let Some(signature) = signature {
                    if !says_something {
                        self.begin(MODEL).key("text").string("");
                    }
                    self.json.key("thoughtSignature").string(signature);
                }
                for (number, call) in tool_calls.iter().enumerate() {
                    self.call((index, number), &call)?;
                }
            }
            // See `instructions`.
            Message::System { .. } => {}
            Message::Tool {
                tool_call_id,
                content,
                ..
            } => self.result(index, tool_call_id, content)?,
            Message::User { content, .. } => _ = self.parts(USER, index, content),
        }
        Ok(())
    }

    /// Begins a part, in the content of that role if it is open, else in a new one.
    fn begin(&mut self, role: &'static str) -> &mut Writer {
        if self.role.is_some() {
            self.json.close_object();
        }
        if self.role != Some(role) {
            if self.role.is_some() {
                self.json.close_array();
                self.json.close_object();
            }
            self.role = Some(role);
            self.json.open_object();
            self.json.key("role").string(role);
            self.json.key("parts").open_array();
        }
        self.json.open_object();
        self.json
    }

    /// Closes everything that is open.
    fn end(self) -> Result<Details<'r>, Unsupported> {
        if self.role.is_none() {
            return Err(unsupported(
                "messages",
                "Gemini needs a message that says something",
            ));
        }
        // The part, and the content.
        self.json.close_object();
        self.json.close_array();
        self.json.close_object();
        self.json.close_array();
        Ok(self.details)
    }

    /// Returns whether there is one that says something.
    fn parts(&mut self, role: &'static str, message: usize, content: Content<'r>) -> bool {
        let mut says_something = false;
        for (index, part) in content.iter().enumerate() {
            // An empty text is an error for some models, and says nothing to any.
            if matches!(&part.kind, PartKind::Text(text) if text.is_empty()) {
                continue;
            }
            match self.part(&Decoded::new(part.kind)) {
                Ok(part) => {
                    let is_low = std::mem::take(&mut self.is_low);
                    let json = self.begin(role);
                    part.write(json);
                    if is_low {
                        // By part from Gemini 3 on, in v1beta, too:
                        // https://ai.google.dev/gemini-api/docs/generate-content/media-resolution, stored
                        // copy of 2026.
                        json.key("mediaResolution").object(|json| {
                            json.key("level").string("MEDIA_RESOLUTION_LOW");
                        });
                    }
                    says_something = true;
                }
                Err((member, rule)) => self.adapter.apply_at(rule, || {
                    format!("messages[{message}].content[{index}]{member}")
                }),
            }
        }
        says_something
    }

    /// What a part becomes, or which of its members cannot be expressed, and why.
    fn part<'p>(
        &mut self,
        part: &'p Decoded<'r>,
    ) -> Result<Part<'p>, (&'static str, &'static Rule)> {
        match part {
            Decoded::Audio { data, format } => Ok(Part::Inline {
                media_type: ["audio/", format],
                data: Piece::Plain(data),
            }),
            Decoded::File { id, name, data } => {
                let by_name = name.as_deref().and_then(media::by_extension);
                match (data, id) {
                    (Some(Url::InPlace { media_type, data }), _) => {
                        Ok(Part::inline(media_type, Piece::Quoted(*data)))
                    }
                    (Some(Url::Text(data)), _) => {
                        let unreadable = (".file.file_data", &rules::FILE);
                        let url = data_uri::parse(data);
                        let is_url = url.is_some();
                        let (media_type, data) = match url {
                            Some(url) => (url.media_type, url.data),
                            None if data.contains(':') => return Err(unreadable),
                            None => ("", &**data),
                        };
                        if !media_type.is_empty() && is_url {
                            return Ok(Part::inline(media_type, Piece::Plain(data)));
                        }
                        // OpenAI takes PDFs alone without a name that says what they are.
                        let is_nameless = name.as_deref().is_none_or(|name| !name.contains('.'));
                        match by_name.or(is_nameless.then_some(PDF)) {
                            Some(media_type) => Ok(Part::inline(media_type, Piece::Plain(data))),
                            None => Err(unreadable),
                        }
                    }
                    // A file of Google's own is named by its address.
                    (None, Some(id)) if media::is_remote(id) => Ok(Part::File {
                        media_type: by_name,
                        uri: ["", id],
                    }),
                    (None, Some(id)) if self.host == Host::AiStudio && id.starts_with("files/") => {
                        Ok(Part::File {
                            media_type: by_name,
                            uri: [FILES, id],
                        })
                    }
                    (None, Some(_)) => Err((".file.file_id", &rules::FILE)),
                    (None, None) => Err((".file", &rules::FILE)),
                }
            }
            Decoded::Image { url, detail } => {
                let is_low = detail == "low" && self.model.is_third_generation();
                if !self.model.is_third_generation() {
                    match &self.details {
                        Details::NoImage => self.details = Details::Same(detail.clone()),
                        Details::Same(other) if other == detail => {}
                        Details::Mixed | Details::Same(_) => self.details = Details::Mixed,
                    }
                }
                let part = match url {
                    Url::InPlace { media_type, data } => {
                        Part::inline(media_type, Piece::Quoted(*data))
                    }
                    Url::Text(url) => match data_uri::parse(url) {
                        Some(url) if !url.media_type.is_empty() => {
                            Part::inline(url.media_type, Piece::Plain(url.data))
                        }
                        None if media::is_remote(url) => Part::File {
                            media_type: media::by_extension(url),
                            uri: ["", url],
                        },
                        _ => return Err((".image_url.url", &rules::IMAGE)),
                    },
                };
                self.is_low = is_low;
                Ok(part)
            }
            Decoded::Text(text) => Ok(Part::Text(*text)),
        }
    }

    fn call(
        &mut self,
        (message, index): (usize, usize),
        call: &ToolCall<'r>,
    ) -> Result<(), Unsupported> {
        let arguments = call.arguments();
        let args = match arguments.trim_ascii() {
            "" => "{}",
            text if text.starts_with('{') && is_json(text) => text,
            _ => {
                return Err(unsupported(
                    format!("messages[{message}].tool_calls[{index}].function.arguments"),
                    "the arguments must be the text of a JSON object",
                ));
            }
        };
        self.called.insert(Id(call.id), call.number);
        // https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-21:
        // > If you omit a thought_signature for the first functionCall part in any step of the
        // > current turn, the request will fail with a 400 error.
        // > … transferring a trace from a different model that does not include thought
        // > signatures, you can set the following dummy signatures of either
        // > "context_engineering_is_the_way_to_go" or "skip_thought_signature_validator" in the
        // > thought signature field to skip validation.
        let missing = (index == 0 && self.model.is_third_generation()).then_some(SKIP_SIGNATURE);
        let has_ids = self.has_ids();
        let part = self.begin(MODEL);
        part.key("functionCall").object(|json| {
            if has_ids {
                json.key("id").quoted(call.id);
            }
            json.key("name").quoted(call.name);
            json.key("args").raw(args);
        });
        match (call.signature, missing) {
            (Some(signature), _) => part.key("thoughtSignature").quoted(signature),
            (None, Some(signature)) => part.key("thoughtSignature").string(signature),
            (None, None) => {}
        }
        Ok(())
    }

    fn result(
        &mut self,
        message: usize,
        id: Text<'r>,
        content: Content<'r>,
    ) -> Result<(), Unsupported> {
        let call = self.called.get(&Id(id)).copied();
        let Some(call) = call.and_then(|number| self.messages.call(number)) else {
            let id = id.decode();
            let id = quotable(&id);
            return Err(unsupported(
                format!("messages[{message}].tool_call_id"),
                format!("no earlier assistant message has a tool call with the id {id:?}"),
            ));
        };
        let texts = || {
            content.iter().filter_map(|part| match part.kind {
                PartKind::Text(text) => Some(text),
                _ => None,
            })
        };
        let decoded = |text: Quoted<'r>| {
            text.decode().ok_or_else(|| {
                unsupported(
                    format!("messages[{message}].content"),
                    "half of a surrogate pair is no character",
                )
            })
        };
        let text = match (texts().next(), texts().nth(1)) {
            (None, _) => Cow::Borrowed(""),
            (Some(only), None) => decoded(only)?,
            _ => {
                // It is not longer than with its escapes.
                let length = texts().map(|text| text.text().len()).sum();
                let mut all = String::with_capacity(length);
                for text in texts() {
                    all.push_str(&decoded(text)?);
                }
                Cow::Owned(all)
            }
        };
        let has_ids = self.has_ids();
        let part = self.begin(USER);
        part.key("functionResponse").open_object();
        if has_ids {
            // As in the call: models from 3.5 on answer with nothing where the two differ.
            part.key("id").quoted(id);
        }
        part.key("name").quoted(call.name);
        part.key("response");
        response(part, &text);
        self.pictures(message, content);
        self.json.close_object();
        Ok(())
    }

    /// What a result shows beside its text.
    ///
    /// <https://ai.google.dev/gemini-api/docs/function-calling#multimodal>, read 2026-11-21:
    /// > For Gemini 3 series models, you can include multimodal content in the function response
    /// > parts
    fn pictures(&mut self, message: usize, content: Content<'r>) {
        let mut has_any = false;
        for (index, part) in content.iter().enumerate() {
            let part = Decoded::new(part.kind);
            let (member, rule) = match self.part(&part) {
                Ok(Part::Text(_)) => continue,
                Ok(part @ Part::Inline { .. }) if self.model.is_third_generation() => {
                    if !has_any {
                        self.json.key("parts").open_array();
                        has_any = true;
                    }
                    self.json.object(|json| part.write(json));
                    continue;
                }
                Ok(Part::Inline { .. } | Part::File { .. }) => ("", &rules::RESULT_MEDIA),
                Err(lost) => lost,
            };
            self.adapter.apply_at(rule, || {
                format!("messages[{message}].content[{index}]{member}")
            });
        }
        self.is_low = false;
        if has_any {
            self.json.close_array();
        }
    }

    /// Whether calls and results have ids: on Vertex AI from Gemini 3 on.
    fn has_ids(&self) -> bool {
        self.host == Host::AiStudio || self.model.is_third_generation()
    }
}

/// A part of a message's content, whose texts are read.
enum Decoded<'r> {
    Audio {
        data: Cow<'r, str>,
        format: Cow<'r, str>,
    },
    File {
        id: Option<Cow<'r, str>>,
        name: Option<Cow<'r, str>>,
        data: Option<Url<'r>>,
    },
    Image {
        url: Url<'r>,
        detail: Cow<'r, str>,
    },
    Text(Quoted<'r>),
}

/// Where bytes are.
enum Url<'r> {
    /// In a `data:` URI that is written as it stands.
    InPlace {
        media_type: &'r str,
        data: Quoted<'r>,
    },
    Text(Cow<'r, str>),
}

impl<'r> Url<'r> {
    fn new(source: Source<'r>) -> Self {
        match source.in_place() {
            Some((media_type, data)) => Self::InPlace { media_type, data },
            None => Self::Text(data_uri::canonical(source.decode())),
        }
    }
}

impl<'r> Decoded<'r> {
    fn new(part: PartKind<'r>) -> Self {
        match part {
            PartKind::Audio { data, format } => Self::Audio {
                data: data.decode(),
                format: format.decode(),
            },
            PartKind::File { id, name, data } => Self::File {
                id: id.map(Text::decode),
                name: name.map(Text::decode),
                data: data.map(Url::new),
            },
            PartKind::Image { url, detail } => Self::Image {
                url: Url::new(url),
                detail: detail.map_or(Cow::Borrowed("auto"), Text::decode),
            },
            PartKind::Text(text) => Self::Text(text),
        }
    }
}

/// What a part of a message's content becomes.
#[derive(Clone, Copy)]
enum Part<'r> {
    File {
        /// Absent where nothing tells it: Google then looks at the file.
        media_type: Option<&'static str>,
        /// In two pieces.
        uri: [&'r str; 2],
    },
    Inline {
        /// In two pieces.
        media_type: [&'r str; 2],
        /// Base64.
        data: Piece<'r>,
    },
    Text(Quoted<'r>),
}

impl<'r> Part<'r> {
    fn inline(media_type: &'r str, data: Piece<'r>) -> Self {
        Self::Inline {
            media_type: [media_type, ""],
            data,
        }
    }

    /// Writes its member.
    fn write(self, json: &mut Writer) {
        match self {
            Self::File { media_type, uri } => json.key("fileData").object(|json| {
                if let Some(media_type) = media_type {
                    json.key("mimeType").string(media_type);
                }
                json.key("fileUri").string_of(&uri);
            }),
            Self::Inline { media_type, data } => json.key("inlineData").object(|json| {
                json.key("mimeType").string_of(&media_type);
                json.key("data").string_pieces(&[data]);
            }),
            Self::Text(text) => json.key("text").quoted(text),
        }
    }
}

/// A function's result, always an object.
///
/// > Use "output" key to specify function output and "error" key to specify error details (if any).
/// > If "output" and "error" keys are not specified, then whole "response" is treated as function
/// > output.
fn response(json: &mut Writer, text: &str) {
    let trimmed = text.trim_ascii();
    match trimmed.as_bytes().first() {
        Some(b'{') if is_json(trimmed) => json.raw(trimmed),
        Some(b'[') if is_json(trimmed) => json.object(|json| json.key("output").raw(trimmed)),
        _ => json.object(|json| json.key("output").string(text)),
    }
}

fn is_json(text: &str) -> bool {
    json::read::<Ignored>(text.as_bytes()).is_ok()
}

/// Where AI Studio keeps files: `google-genai` 3.6.1, `files.py`.
const FILES: &str = "https://generativelanguage.googleapis.com/v1beta/";
const MODEL: &str = "model";
const PDF: &str = "application/pdf";
const SKIP_SIGNATURE: &str = "skip_thought_signature_validator";
const USER: &str = "user";
