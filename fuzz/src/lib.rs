//! What must hold whatever bytes arrive: one function for each reader, which panics if it does not.
//!
//! `tests/seeded.rs` calls them with mutations of what lies in `tests/chat`, a bounded number of
//! times, wherever the tests run; `targets/` hands them to libFuzzer:
//!
//! ```sh
//! cargo test -p llm-proxy-fuzz                                  # FUZZ_ROUNDS=100000 for more
//! cargo +nightly fuzz run --features libfuzzer --sanitizer none stream_gemini -- -max_total_time=60
//! ```
//!
//! Everything is called with bytes alone, so what was found by one way is a regression test for the
//! other. Bounded memory is shown by the size of what comes out, in proportion to what went in, and by
//! counting what a translation has at once.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a finding is a panic"
)]

use llm_proxy::api::openai::{self, ChunkWriter, OpenAi};
use llm_proxy::api::responses::Responses;
use llm_proxy::api::{ClientApi, Stamp};
use llm_proxy::chat::CallStyle;
use llm_proxy::check::{self, Keys};
use llm_proxy::config::{Gateway, Text};
use llm_proxy::embed::Encoding;
use llm_proxy::import;
use llm_proxy::json::{self, Event, Scanner, Splice, Watched, Writer};
use llm_proxy::provider::adapt::Policy;
use llm_proxy::provider::anthropic::Anthropic;
use llm_proxy::provider::dialect::{Dialect, MAX_SCHEMA_BYTES, Options};
use llm_proxy::provider::gemini::{Gemini, schema};
use llm_proxy::provider::openai::OpenAi as ChatCompletions;
use llm_proxy::relay::Relay;
use llm_proxy::sse::{self, Item};
use serde_json::Value;
use serde_json::value::RawValue;

#[path = "../../tests/support/allocator.rs"]
pub mod allocator;

/// What a translation may take at once: natively five times the body, beside what comes out, and what
/// does not depend on the body. Unit: bytes. Nothing is counted where the program has no
/// [`allocator::Counting`].
fn assert_bounded(most: usize, body: &[u8], out: usize) {
    assert!(
        most <= 5 * body.len() + 3 * out + (48 << 10),
        "{most} bytes for {} and {out}",
        body.len()
    );
}

const STAMP: Stamp = Stamp {
    created: 1_763_700_000,
    nonce: 0xabc,
    calls: CallStyle::All,
};

/// The first byte says how the others are cut: whole, or in pieces of so many bytes.
fn pieces(bytes: &[u8]) -> (&[u8], usize) {
    match bytes.split_first() {
        Some((&first, rest)) => (rest, usize::from(first % 32)),
        None => (&[], 0),
    }
}

fn chunks(bytes: &[u8], size: usize) -> Vec<&[u8]> {
    match size {
        0 => vec![bytes],
        size => bytes.chunks(size).collect(),
    }
}

/// Events: the same for every way to cut the bytes, and no longer than the bytes.
pub fn sse(bytes: &[u8]) {
    const LIMIT: usize = 64;
    let (bytes, size) = pieces(bytes);
    for limit in [LIMIT, 1 << 20] {
        let read = |chunks: Vec<&[u8]>| {
            let mut decoder = sse::Decoder::new(limit);
            let mut all = Vec::new();
            let mut out = Vec::new();
            let mut length = 0;
            let mut give = |item: Item<'_>| length += said(&item, &mut all, &mut out);
            let result = chunks
                .into_iter()
                .try_for_each(|chunk| decoder.push(chunk, &mut give))
                .and_then(|()| decoder.finish(&mut give));
            if let Err(error) = result {
                return (all, Some(error.limit));
            }
            // What is no UTF-8 becomes a character of three bytes.
            assert!(length <= 3 * bytes.len(), "{length}");
            assert!(out.len() <= 3 * bytes.len() + all.len() * 32);
            (all, None)
        };
        assert_eq!(read(vec![bytes]), read(chunks(bytes, size)));
    }
}

fn said(item: &Item<'_>, all: &mut Vec<String>, out: &mut Vec<u8>) -> usize {
    match item {
        Item::Comment(comment) => sse::write_comment(comment, out),
        Item::Event(event) => sse::write_data(event.data, out),
    }
    all.push(format!("{item:?}"));
    match item {
        Item::Comment(comment) => comment.len(),
        Item::Event(event) => event.data.len(),
    }
}

/// A body and the change of a member: what serde_json takes is read, whatever the pieces, and nothing
/// but that member changes.
pub fn json(bytes: &[u8]) {
    let (bytes, size) = pieces(bytes);
    let scan = |chunks: Vec<&[u8]>| {
        let mut scanner = Scanner::new(Watched::new(["model", "max_tokens"]));
        let mut found = Vec::new();
        for mut chunk in chunks {
            loop {
                match scanner.scan(&mut chunk) {
                    Ok(Event::InputEmpty) => break,
                    Ok(Event::ValueStart { member, .. }) => {
                        found.push((member, scanner.key_range()));
                    }
                    Ok(Event::ValueEnd { member, range }) => found.push((member + 2, range)),
                    Ok(Event::ObjectEnd { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        scanner.finish().map(|()| found)
    };
    let whole = scan(vec![bytes]);
    assert_eq!(whole, scan(chunks(bytes, size)));
    let parsed = serde_json::from_slice::<Value>(bytes);
    let Ok(found) = whole else {
        return;
    };
    let splices: Vec<Splice> = found
        .iter()
        .filter(|(member, _)| *member == 2)
        .map(|(_, range)| Splice {
            range: range.clone(),
            with: b"\"new\"".to_vec(),
        })
        .collect();
    let mut out = Vec::new();
    json::apply(bytes, 0, &splices, &mut out).expect("they fit");
    // serde_json refuses more: lone surrogates, numbers out of range, depth.
    if let Ok(mut expected) = parsed {
        if !splices.is_empty() {
            expected["model"] = "new".into();
        }
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }
}

fn request(api: &dyn ClientApi, dialect: &dyn Dialect, bytes: &[u8]) {
    let Ok(request) = api.read(bytes) else {
        return;
    };
    for unsupported in [Policy::Adapt, Policy::Drop] {
        let options = Options {
            max_tokens: None,
            has_web_search: true,
            unsupported,
            ..Options::default()
        };
        let translate = || {
            let request = api.read(bytes).ok()?;
            let length = bytes.len();
            let encoded = dialect.encode_within(&request, &options, length, usize::MAX);
            Some(encoded.map_or(0, |it| it.body.len()))
        };
        let (most, out) = allocator::most_of(translate);
        assert_bounded(most, bytes, out.unwrap_or(0));
        if let Ok(encoded) = dialect.encode(&request, &options) {
            assert!(serde_json::from_slice::<&RawValue>(&encoded.body).is_ok());
            assert!(encoded.head.suffix.starts_with('/'));
            assert!(encoded.body.len() <= 4096 + 40 * bytes.len() + MAX_SCHEMA_BYTES);
        }
    }
}

/// A chat completion for Anthropic: refused, or JSON.
pub fn request_anthropic(bytes: &[u8]) {
    request(&OpenAi, &Anthropic::new(), bytes);
    request(&OpenAi, &Anthropic::on_vertex(), bytes);
}

/// A chat completion for Gemini: refused, or JSON.
pub fn request_gemini(bytes: &[u8]) {
    request(&OpenAi, &Gemini, bytes);
}

/// A request for a response, in every dialect: refused, or JSON, and no longer by what it refers to.
pub fn request_responses(bytes: &[u8]) {
    let (most, prepared) = allocator::most_of(|| Responses.prepare(bytes.into()));
    let Ok(prepared) = prepared else {
        return;
    };
    assert_bounded(most, bytes, prepared.len());
    assert!(prepared.len() <= 1024 + 20 * bytes.len());
    if prepared != bytes && serde_json::from_slice::<&RawValue>(bytes).is_ok() {
        assert!(serde_json::from_slice::<&RawValue>(&prepared).is_ok());
    }
    let dialects: [&dyn Dialect; 3] = [&Anthropic::new(), &ChatCompletions, &Gemini];
    for dialect in dialects {
        request(&Responses, dialect, &prepared);
    }
}

/// A schema: cleaned or refused, and never larger than it may be.
pub fn schema(bytes: &[u8]) {
    let Ok(schema) = serde_json::from_slice::<&RawValue>(bytes).map(RawValue::get) else {
        return;
    };
    for is_answer in [false, true] {
        let write = || {
            let mut growth = schema::Growth::default();
            let cleaned = schema::clean(schema, None, is_answer, &mut growth).ok()??;
            let mut json = Writer::default();
            cleaned.write(&mut json);
            Some(json.into_bytes())
        };
        let (most, text) = allocator::most_of(write);
        let out = text.as_ref().map_or(0, Vec::len);
        assert_bounded(most, bytes, out);
        if let Some(text) = text {
            assert!(serde_json::from_slice::<&RawValue>(&text).is_ok());
            assert!(out <= 2 * MAX_SCHEMA_BYTES + 8 * bytes.len());
        }
    }
}

/// Embeddings, there and back.
pub fn embeddings(bytes: &[u8]) {
    let (bytes, count) = pieces(bytes);
    let embeddings = Gemini.embeddings().expect("it has them");
    for unsupported in [Policy::Adapt, Policy::Drop] {
        let options = Options {
            max_tokens: None,
            has_web_search: true,
            unsupported,
            ..Options::default()
        };
        let translate = || {
            let request = openai::embeddings::read(bytes).ok()?;
            let length = bytes.len();
            let encoded = embeddings.encode_within(&request, "m", &options, length, usize::MAX);
            encoded.ok()
        };
        let (most, encoded) = allocator::most_of(translate);
        let out = encoded.as_ref().map_or(0, |it| it.body.len());
        assert_bounded(most, bytes, out);
        if let Some(encoded) = encoded {
            assert!(serde_json::from_slice::<&RawValue>(&encoded.body).is_ok());
            assert!(encoded.body.len() <= 1024 + 64 * bytes.len());
        }
    }
    for encoding in [Encoding::Base64, Encoding::Float] {
        let translate = || {
            let reply = embeddings.decode(bytes, count).ok()?;
            openai::embeddings::write(&reply, encoding, "m", bytes.len(), usize::MAX).ok()
        };
        let (most, reply) = allocator::most_of(translate);
        assert_bounded(most, bytes, reply.as_ref().map_or(0, Vec::len));
        if let Some(reply) = reply {
            assert!(serde_json::from_slice::<&RawValue>(&reply).is_ok());
            assert!(reply.len() <= 1024 + 64 * bytes.len());
        }
    }
}

fn reply(dialect: &dyn Dialect, bytes: &[u8]) {
    let translate = || {
        let reply = dialect.decode(bytes).ok()?;
        let length = bytes.len();
        openai::write_reply_within(&reply, "asked", STAMP, length, usize::MAX).ok()
    };
    let (most, out) = allocator::most_of(translate);
    assert_bounded(most, bytes, out.map_or(0, |it| it.len()));
    if let Ok(reply) = dialect.decode(bytes) {
        let out = openai::write_reply(&reply, "asked", STAMP);
        assert!(serde_json::from_slice::<&RawValue>(&out).is_ok());
        assert!(out.len() <= 1024 + 24 * bytes.len(), "{}", out.len());
    }
    for status in [400, 429, 500] {
        let translate = || {
            let failure = dialect.error(status, bytes);
            (failure.status, openai::error(&failure))
        };
        let (most, (status, error)) = allocator::most_of(translate);
        assert_bounded(most, bytes, error.len());
        assert!(status >= 400);
        let error: Value = serde_json::from_str(&error).unwrap();
        assert!(
            error["error"]["message"]
                .as_str()
                .is_some_and(|it| !it.is_empty())
        );
        let _ = dialect.retry_after(bytes);
    }
}

/// Anthropic's reply or error: refused, or JSON.
pub fn reply_anthropic(bytes: &[u8]) {
    reply(&Anthropic::new(), bytes);
}

/// Gemini's reply or error: refused, or JSON.
pub fn reply_gemini(bytes: &[u8]) {
    reply(&Gemini, bytes);
}

fn stream(dialect: &dyn Dialect, bytes: &[u8]) {
    let (bytes, size) = pieces(bytes);
    let relay = |chunks: Vec<&[u8]>| {
        let mut relay = Relay::new(
            dialect.stream(1 << 20),
            Box::new(ChunkWriter::new("asked", STAMP, true)),
            usize::MAX,
        );
        let (most, out) = allocator::most_of(|| {
            let mut out = Vec::new();
            for chunk in chunks {
                relay.push(chunk, &mut out);
            }
            relay.finish(&mut out);
            out
        });
        assert_bounded(most, bytes, out.len());
        assert!(relay.is_finished());
        String::from_utf8(out).expect("text")
    };
    let out = relay(vec![bytes]);
    assert_eq!(out, relay(chunks(bytes, size)));
    // An event is at least `data:{…}`, and a chunk has at most the head of a thousand bytes.
    assert!(
        out.len() <= 4096 + 200 * bytes.len(),
        "{} of {}",
        out.len(),
        bytes.len()
    );
    let is_done = out.ends_with("data: [DONE]\n\n");
    let last = out
        .trim_end()
        .rsplit("\n\n")
        .find_map(|it| it.strip_prefix("data: "));
    let is_error = last
        .and_then(|it| serde_json::from_str::<Value>(it).ok())
        .is_some_and(|it| it["error"].is_object());
    assert!(is_done != is_error, "{out}");
}

/// Anthropic's stream: the same chunks for every way to cut it, and one end.
pub fn stream_anthropic(bytes: &[u8]) {
    stream(&Anthropic::new(), bytes);
}

/// Gemini's stream: the same chunks for every way to cut it, and one end.
pub fn stream_gemini(bytes: &[u8]) {
    stream(&Gemini, bytes);
}

/// A configuration: valid, or errors that name a place.
pub fn config(bytes: &[u8]) {
    let environment = |name: &str| (name != "ABSENT").then(|| "value".to_owned());
    if let Err(errors) = Gateway::parse_plugin(bytes, &environment) {
        assert!(errors.iter().all(|error| !error.to_string().is_empty()));
    }
}

/// A configuration of this gateway or another: what is imported is valid, and every report has a place
/// in the text.
pub fn import(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let nothing = |_: &str| None;
    let parsed = Text::new(&text);
    let excerpts = check::Excerpts::of(&parsed);
    for diagnostic in check::check(&parsed, &nothing, Keys::MayBeUnset).diagnostics {
        assert!(!diagnostic.message.is_empty());
        if let Some(position) = diagnostic.position {
            // A carriage return alone ends a line of YAML; the end of the text is behind its last line.
            let ends = text.chars().filter(|c| matches!(c, '\n' | '\r')).count();
            assert!(position.line <= ends + 2, "{position:?}");
        }
        let _ = excerpts.of_diagnostic(&diagnostic);
    }
    let input = import::Input {
        name: "fuzz".to_owned(),
        text,
    };
    let imported = import::import(&[input], import::Options::default());
    for note in &imported.notes {
        assert!(!note.message.is_empty() && !note.message.contains('\n'));
    }
    if let (Some(text), false) = (&imported.text, imported.has_errors()) {
        let checked = check::check(&Text::new(text), &nothing, Keys::MayBeUnset);
        assert!(
            checked.source.is_some(),
            "{text}: {:?}",
            checked.diagnostics
        );
    }
}
