//! The messages of a conversation: what two roles say in turn, and instructions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::unsupported;
use crate::chat::{self, Message, PartKind, Request, ToolCall};
use crate::json::{Quoted, Writer};
use crate::provider::dialect::{Options, Unsupported};
use crate::provider::gemini::model::Model;
use crate::provider::gemini::{Host, SIGNATURE_PREFIX, media};

/// Writes `contents`, and `systemInstruction` where there are instructions. Returns which detail the
/// images ask for.
pub(super) fn write<'r>(
    json: &mut Writer,
    request: &'r Request<'_>,
    model: &'r Model<'_>,
    options: Options,
    host: Host,
) -> Result<Details<'r>, Unsupported> {
    let mut contents = Contents {
        json,
        role: None,
        options,
        host,
        model,
        called: BTreeMap::new(),
        details: Details::NoImage,
    };
    contents.json.key("contents").open_array();
    match host {
        Host::AiStudio => {
            for (index, message) in request.messages.iter().enumerate() {
                contents.add(index, message)?;
            }
        }
        Host::Vertex => {
            for (index, message) in in_order_of_calls(&request.messages) {
                contents.add(index, message)?;
            }
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
    let contents = request.messages.iter().map(|message| match message {
        Message::System { content, .. } => content.as_slice(),
        _ => &[],
    });
    contents.flatten().filter_map(|part| match &part.kind {
        PartKind::Text(text) if !text.text().is_empty() => Some(*text),
        _ => None,
    })
}

/// The messages with the results of calls in the order of the calls, before what else is said.
///
/// Vertex AI knows no ids: a result belongs to its call by its name and its place.
fn in_order_of_calls<'r, 'a>(messages: &'r [Message<'a>]) -> Vec<(usize, &'r Message<'a>)> {
    let mut calls = BTreeMap::new();
    let mut count = 0;
    let mut turn = 0;
    let mut ordered: Vec<_> = (0..)
        .zip(messages)
        .map(|(index, message)| {
            let place = match message {
                Message::Assistant { tool_calls, .. } => {
                    turn += 1;
                    for call in tool_calls {
                        count += 1;
                        calls.insert(&*call.id, count);
                    }
                    0
                }
                Message::Tool { tool_call_id, .. } => {
                    calls.get(&**tool_call_id).copied().unwrap_or(usize::MAX)
                }
                Message::System { .. } | Message::User { .. } => usize::MAX,
            };
            ((turn, place), (index, message))
        })
        .collect();
    ordered.sort_by_key(|(place, _)| *place);
    ordered.into_iter().map(|(_, message)| message).collect()
}

/// Which `detail` the images ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Details<'r> {
    Mixed,
    NoImage,
    Same(&'r str),
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
    options: Options,
    host: Host,
    model: &'r Model<'r>,
    /// The functions that were called, by the call's id.
    called: BTreeMap<&'r str, &'r str>,
    details: Details<'r>,
}

impl<'r> Contents<'_, 'r> {
    fn add(&mut self, index: usize, message: &'r Message<'_>) -> Result<(), Unsupported> {
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
                let signature = reasoning_signature
                    .as_deref()
                    .and_then(|signature| signature.strip_prefix(SIGNATURE_PREFIX));
                let reasoning = reasoning.as_deref().filter(|text| !text.is_empty());
                if let Some(reasoning) = reasoning.filter(|_| signature.is_some()) {
                    let part = self.begin(MODEL);
                    part.key("text").string(reasoning);
                    part.key("thought").bool(true);
                }
                let says_something = self.parts(MODEL, index, content)?;
                if let Some(signature) = signature {
                    if !says_something {
                        self.begin(MODEL).key("text").string("");
                    }
                    self.json.key("thoughtSignature").string(signature);
                }
                for (number, call) in tool_calls.iter().enumerate() {
                    self.call((index, number), call)?;
                }
            }
            // See `instructions`.
            Message::System { .. } => {}
            Message::Tool {
                tool_call_id,
                content,
                ..
            } => self.result(index, tool_call_id, content)?,
            Message::User { content, .. } => _ = self.parts(USER, index, content)?,
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
    fn parts(
        &mut self,
        role: &'static str,
        message: usize,
        content: &'r [chat::Part<'_>],
    ) -> Result<bool, Unsupported> {
        let mut says_something = false;
        for (index, part) in content.iter().enumerate() {
            // An empty text is an error for some models, and says nothing to any.
            if matches!(&part.kind, PartKind::Text(text) if text.text().is_empty()) {
                continue;
            }
            match self.part(&part.kind) {
                Ok(part) => {
                    part.write(self.begin(role));
                    says_something = true;
                }
                Err((member, reason)) => self.options.lose(
                    format!("messages[{message}].content[{index}]{member}"),
                    reason,
                )?,
            }
        }
        Ok(says_something)
    }

    /// What a part becomes, or which of its members cannot be expressed, and why.
    fn part(&mut self, part: &'r PartKind<'_>) -> Result<Part<'r>, (&'static str, &'static str)> {
        match part {
            PartKind::Audio { data, format } => Ok(Part::Inline {
                media_type: ["audio/", format],
                data,
            }),
            PartKind::File { id, name, data } => {
                let by_name = name.as_deref().and_then(media::by_extension);
                match (data, id) {
                    (Some(data), _) => match media::data_url(data) {
                        Some(url) if url.media_type.is_empty() => {
                            Ok(Part::inline(by_name.unwrap_or(PDF), url.data))
                        }
                        Some(url) => Ok(Part::inline(url.media_type, url.data)),
                        None if data.contains(':') => Err((
                            ".file.file_data",
                            "only base64, bare or in a data: address, can be sent",
                        )),
                        None => Ok(Part::inline(by_name.unwrap_or(PDF), data)),
                    },
                    // A file of Google's own is named by its address.
                    (None, Some(id)) if media::is_remote(id) => Ok(Part::File {
                        media_type: by_name,
                        uri: id,
                    }),
                    (None, Some(_)) => Err((
                        ".file.file_id",
                        "Gemini does not know this file; send its data, or its address",
                    )),
                    (None, None) => Err((".file", "a file needs file_data")),
                }
            }
            PartKind::Image { url, detail } => {
                let detail = detail.as_deref().unwrap_or("auto");
                self.details = match self.details {
                    Details::NoImage => Details::Same(detail),
                    Details::Same(other) if other == detail => Details::Same(detail),
                    Details::Mixed | Details::Same(_) => Details::Mixed,
                };
                if let Some(url) = media::data_url(url) {
                    if url.media_type.is_empty() {
                        return Err((".image_url.url", "the address has no media type"));
                    }
                    return Ok(Part::inline(url.media_type, url.data));
                }
                if media::is_remote(url) {
                    return Ok(Part::File {
                        media_type: media::by_extension(url),
                        uri: url,
                    });
                }
                Err((
                    ".image_url.url",
                    "only http(s) addresses and data: addresses with base64 can be sent",
                ))
            }
            PartKind::Text(text) => Ok(Part::Text(*text)),
        }
    }

    fn call(
        &mut self,
        (message, index): (usize, usize),
        call: &'r ToolCall<'_>,
    ) -> Result<(), Unsupported> {
        let args = match call.arguments.trim_ascii() {
            "" => "{}",
            text if text.starts_with('{') && is_json(text) => text,
            _ => {
                return Err(unsupported(
                    format!("messages[{message}].tool_calls[{index}].function.arguments"),
                    "the arguments must be the text of a JSON object",
                ));
            }
        };
        self.called.insert(&call.id, &call.name);
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
                json.key("id").string(&call.id);
            }
            json.key("name").string(&call.name);
            json.key("args").raw(args);
        });
        if let Some(signature) = call.signature.as_deref().or(missing) {
            part.key("thoughtSignature").string(signature);
        }
        Ok(())
    }

    fn result(
        &mut self,
        message: usize,
        id: &'r str,
        content: &'r [chat::Part<'_>],
    ) -> Result<(), Unsupported> {
        let Some(name) = self.called.get(id).copied() else {
            return Err(unsupported(
                format!("messages[{message}].tool_call_id"),
                format!("no earlier assistant message has a tool call with the id {id:?}"),
            ));
        };
        let mut text = Cow::Borrowed("");
        for part in content {
            if let PartKind::Text(more) = &part.kind {
                let more = more.decode().ok_or_else(|| {
                    unsupported(
                        format!("messages[{message}].content"),
                        "half of a surrogate pair is no character",
                    )
                })?;
                match text.is_empty() {
                    true => text = more,
                    false => text.to_mut().push_str(&more),
                }
            }
        }
        let has_ids = self.has_ids();
        let part = self.begin(USER);
        part.key("functionResponse").open_object();
        if has_ids {
            // As in the call: models from 3.5 on answer with nothing where the two differ.
            part.key("id").string(id);
        }
        part.key("name").string(name);
        part.key("response");
        response(part, &text);
        self.pictures(message, content)?;
        self.json.close_object();
        Ok(())
    }

    /// What a result shows beside its text.
    ///
    /// <https://ai.google.dev/gemini-api/docs/function-calling#multimodal>, read 2026-11-21:
    /// > For Gemini 3 series models, you can include multimodal content in the function response
    /// > parts
    fn pictures(
        &mut self,
        message: usize,
        content: &'r [chat::Part<'_>],
    ) -> Result<(), Unsupported> {
        let mut has_any = false;
        for (index, part) in content.iter().enumerate() {
            let (member, reason) = match self.part(&part.kind) {
                Ok(Part::Text(_)) => continue,
                Ok(part @ Part::Inline { .. }) if self.model.is_third_generation() => {
                    if !has_any {
                        self.json.key("parts").open_array();
                        has_any = true;
                    }
                    self.json.object(|json| part.write(json));
                    continue;
                }
                Ok(Part::Inline { .. }) => ("", "this model takes only text as a result"),
                Ok(Part::File { .. }) => ("", "a result can hold only data, no addresses"),
                Err(lost) => lost,
            };
            self.options.lose(
                format!("messages[{message}].content[{index}]{member}"),
                reason,
            )?;
        }
        if has_any {
            self.json.close_array();
        }
        Ok(())
    }

    /// Whether calls and results have ids.
    fn has_ids(&self) -> bool {
        self.host == Host::AiStudio
    }
}

/// What a part of a message's content becomes.
#[derive(Clone, Copy)]
enum Part<'r> {
    File {
        /// Absent where nothing tells it: Google then looks at the file.
        media_type: Option<&'static str>,
        uri: &'r str,
    },
    Inline {
        /// In two pieces.
        media_type: [&'r str; 2],
        /// Base64.
        data: &'r str,
    },
    Text(Quoted<'r>),
}

impl<'r> Part<'r> {
    fn inline(media_type: &'r str, data: &'r str) -> Self {
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
                json.key("fileUri").string(uri);
            }),
            Self::Inline { media_type, data } => json.key("inlineData").object(|json| {
                json.key("mimeType").string_of(&media_type);
                json.key("data").string(data);
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
    serde_json::from_str::<&RawValue>(text).is_ok()
}

const MODEL: &str = "model";
const PDF: &str = "application/pdf";
const SKIP_SIGNATURE: &str = "skip_thought_signature_validator";
const USER: &str = "user";
