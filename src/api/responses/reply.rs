//! Writing a whole reply.

use std::convert::Infallible;

use super::item::{self, Call, End};
use super::{CALL_SIGNATURE, Context, MAX_NAME_BYTES, call_id, carrier, item_id, response_id};
use crate::api::openai::{custom_input, tokens};
use crate::api::{Stamp, prose};
use crate::chat::tape::Kind;
use crate::chat::{CallStyle, Choice, Input, Reply, StopReason, ToolCall};
use crate::json::{self, Piece, Quoted, TooLong, Unwritten, Writer};

/// A reply as a `response`. `length` is that of the provider's. Unit of `length` and `limit`: bytes.
///
/// The API has one answer: the first choice.
///
/// # Errors
///
/// When it would be longer than `limit`.
pub(super) fn write_within(
    reply: &Reply<'_>,
    context: &Context,
    stamp: Stamp,
    length: usize,
    limit: usize,
) -> Result<Vec<u8>, TooLong> {
    let carrier = match context.echo.is_stored() {
        true => carrier::id(&mut |json| output(json, reply, context, stamp)),
        false => None,
    };
    let carried = carrier.as_ref().map_or(0, String::len);
    let guess = length + carried + MAX_USUAL_HEAD_BYTES;
    let written = json::write_within(guess, limit, &mut |json| {
        write(json, reply, context, carrier.as_deref(), stamp);
        Ok::<_, Infallible>(())
    });
    match written {
        Ok(((), body)) => Ok(body),
        Err(Unwritten::TooLong(long)) => Err(long),
    }
}

/// What mostly stands around the texts of a reply. Unit: bytes.
const MAX_USUAL_HEAD_BYTES: usize = 2048;

fn write(
    json: &mut Writer,
    reply: &Reply<'_>,
    context: &Context,
    carrier: Option<&str>,
    stamp: Stamp,
) {
    json.object(|json| {
        let model = match reply.model.len() {
            1..=MAX_NAME_BYTES => &*reply.model,
            _ => &context.model,
        };
        item::head(json, &response_id(&reply.id, stamp), model, context, stamp);
        json.key("output").array(|json| {
            output(json, reply, context, stamp);
            if let Some(id) = carrier {
                carrier::write(json, id);
            }
        });
        end(reply).write(json, &reply.usage);
    });
}

fn end(reply: &Reply<'_>) -> End {
    let stop = reply.choices.iter().next().map(|it| it.stop);
    End::of(stop.unwrap_or(StopReason::Stop), reply.refusal.is_some())
}

/// The items of a reply.
fn output(json: &mut Writer, reply: &Reply<'_>, context: &Context, stamp: Stamp) {
    let mut index = 0;
    let mut next = |prefix: &str| {
        index += 1;
        item_id(prefix, stamp, index - 1)
    };
    let Some(choice) = reply.choices.iter().next() else {
        if let Some(text) = &reply.refusal {
            item::message(json, &next("msg"), "completed", &|json| {
                item::refusal(json, &|json| json.piece(Piece::Plain(text)));
            });
        }
        return;
    };
    thinking(json, choice, reply, &mut next);
    let is_said = |(kind, text): (Kind, &[u8])| match kind {
        Kind::Text => !text.is_empty(),
        Kind::MediaData => true,
        _ => false,
    };
    let has_text = choice.entries().any(is_said);
    if has_text || reply.refusal.is_some() {
        let status = end(reply).status();
        item::message(json, &next("msg"), status, &|json| {
            if has_text {
                let cited = reply.annotations.iter().find(|(choice, _)| *choice == 0);
                let cited = cited.map_or(&[][..], |(_, all)| all.as_slice());
                let text = |json: &mut Writer| prose::write(json, choice);
                item::output_text(json, &text, cited, &|json| tokens(json, choice.logprobs()));
            }
            if let Some(text) = &reply.refusal {
                item::refusal(json, &|json| json.piece(Piece::Plain(text)));
            }
        });
    }
    let count = match stamp.calls {
        CallStyle::All => usize::MAX,
        CallStyle::First | CallStyle::Function => 1,
    };
    for (number, it) in (0..).zip(choice.tool_calls().iter().take(count)) {
        call(json, &it, number, context, stamp, &mut next);
    }
}

fn thinking(
    json: &mut Writer,
    choice: Choice<'_>,
    reply: &Reply<'_>,
    next: &mut dyn FnMut(&str) -> String,
) {
    let thoughts = || {
        let entries = choice.entries();
        entries.filter(|(kind, text)| *kind == Kind::Reasoning && !text.is_empty())
    };
    let has_text = thoughts().next().is_some();
    let signature = |json: &mut Writer, has_signature: &mut bool| {
        (reply.write_signature)(json, choice, &mut |json| {
            *has_signature = true;
            json.key("encrypted_content");
        });
    };
    let mut has_signature = false;
    if !has_text {
        signature(&mut Writer::default(), &mut has_signature);
        if !has_signature {
            return;
        }
    }
    let text = |json: &mut Writer| {
        thoughts().for_each(|(_, text)| json.piece(Piece::Quoted(Quoted::checked(text))));
    };
    let text: item::Write<'_> = &text;
    item::reasoning(json, &next("rs"), has_text.then_some(text), &|json| {
        let mut has_signature = false;
        signature(json, &mut has_signature);
        if !has_signature {
            json.key("encrypted_content").null();
        }
    });
}

fn call(
    json: &mut Writer,
    it: &ToolCall<'_>,
    number: u64,
    context: &Context,
    stamp: Stamp,
    next: &mut dyn FnMut(&str) -> String,
) {
    if let Some(signature) = it.signature {
        item::reasoning(json, &next("rs"), None, &|json| {
            json.key("encrypted_content").string_pieces(&[
                Piece::Plain(CALL_SIGNATURE),
                Piece::Quoted(signature.quoted()),
            ]);
        });
    }
    let name = it.name.decode();
    let is_custom = context.is_custom(&name);
    let made = call_id(stamp, number);
    let call = Call {
        id: &next(if is_custom { "ctc" } else { "fc" }),
        call_id: match it.id.is_empty() {
            // Letters and digits alone.
            true => Quoted::checked(made.as_bytes()),
            false => it.id.quoted(),
        },
        name: &name,
        is_custom,
    };
    call.write(
        json,
        "completed",
        context,
        &|json| match (is_custom, it.input) {
            (true, input) => {
                let arguments = it.arguments();
                let arguments = match input {
                    Some(Input::Plain(input) | Input::Spaced(input)) => input.get(),
                    None => &*arguments,
                };
                json.piece(Piece::Plain(&custom_input(arguments)));
            }
            (false, None) => json.piece(Piece::Plain(&it.arguments())),
            (false, Some(Input::Plain(input))) => json.piece(Piece::Plain(input.get())),
            (false, Some(Input::Spaced(input))) => {
                input.without_space(&mut |piece| json.piece(Piece::Plain(piece)));
            }
        },
    );
}
