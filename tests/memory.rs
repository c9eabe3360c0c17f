//! How much memory a translation takes: at most four times the body, beside what comes out of it.
//!
//! Every shape of a body is measured that could take more, and random ones, natively and as wasm.
//! What is measured has the body in it, as the module reads it from Envoy, and what comes out.
//!
//! ```sh
//! cargo test --test memory -- --nocapture          # prints the factors; MEMORY_ROUNDS=2000 for more
//! ```
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "support/allocator.rs"]
mod allocator;
#[macro_use]
#[path = "support/both_ways.rs"]
mod both_ways;
#[allow(dead_code, reason = "no header is changed here")]
#[path = "support/header_map.rs"]
mod header_map;
#[path = "support/host.rs"]
mod host;
#[path = "support/random.rs"]
mod random;

use std::cell::OnceCell;
use std::rc::Rc;

use llm_proxy::config::Gateway;
use llm_proxy::exchange::{BodyChange, Exchange, Next, Step};

use self::header_map::Pairs;
use self::host::Host;
use self::random::Random;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// How much of the body a translation may take. Unit: lengths of the body.
const MOST: usize = 4;

/// What does not depend on the body. Unit: bytes.
const SLACK_BYTES: usize = 48 << 10;

/// How long a measured body is. Unit: bytes.
const LENGTH: usize = 128 << 10;

/// What a measurement came to. Unit: bytes.
#[derive(Clone, Copy, Debug)]
struct Measured {
    body: usize,
    most: usize,
    /// What came out.
    out: usize,
    status: u16,
}

impl Measured {
    /// How many bodies were there at once, beside `outs` times what came out.
    fn factor(self, outs: usize) -> f64 {
        self.most.saturating_sub(outs * self.out + SLACK_BYTES) as f64 / self.body as f64
    }
}

fn pairs(headers: &[(&str, &str)]) -> Pairs {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    headers.iter().map(owned).collect()
}

fn out(step: &Step) -> usize {
    match &step.body {
        BodyChange::Replace(bytes) => bytes.len(),
        BodyChange::Keep | BodyChange::Splice { .. } => 0,
    }
}

fn gateway(kind: &str, config: &str) -> Rc<Gateway> {
    let text = format!(
        "placement: upstream\nholdHeaders: true\nmaxRequestBytes: 64MiB\nbackends:\n\
         - {{name: b, type: {kind}, config: {{apiKey: k, {config}}}}}"
    );
    Rc::new(Gateway::parse(&text, &|_: &str| None::<String>).unwrap_or_else(|it| panic!("{it}")))
}

/// A request for this path: what translating its body takes.
fn request(gateway: &Rc<Gateway>, path: &str, body: &[u8]) -> (Measured, Exchange) {
    let headers = pairs(&[
        (":method", "POST"),
        (":path", path),
        (":authority", "gateway.example"),
        (":scheme", "http"),
        ("content-type", "application/json"),
    ]);
    let host = Host::default();
    let mut exchange = Exchange::new(Rc::clone(gateway));
    exchange.request_headers(&header_map::list(&headers), false, &host);
    let (most, (out, status)) = allocator::most_of(|| {
        let arrived = OnceCell::new();
        let read = |from: usize| &arrived.get_or_init(|| body.to_vec())[from..];
        let step = exchange.request_body(body.len(), true, read, &host);
        let status = match &step.next {
            Next::Reply(reply) => reply.status,
            _ => 200,
        };
        (out(&step), status)
    });
    let measured = Measured {
        body: body.len(),
        most,
        out,
        status,
    };
    (measured, exchange)
}

/// A reply with this status and type: what translating its body takes.
fn reply(exchange: &mut Exchange, status: &str, media_type: &str, body: &[u8]) -> Measured {
    let host = Host::default();
    let length = body.len().to_string();
    let headers = pairs(&[
        (":status", status),
        ("content-type", media_type),
        ("content-length", &length),
    ]);
    exchange.reply_headers(&header_map::list(&headers), false, &host);
    let (most, (out, status)) = allocator::most_of(|| {
        let step = exchange.reply_body(body.len(), true, || body.to_vec());
        let is_status =
            |edit: &llm_proxy::headers::HeaderEdit| format!("{edit:?}").contains(":status");
        let changed = step.headers.iter().any(is_status);
        (out(&step), if changed { 502 } else { 200 })
    });
    Measured {
        body: body.len(),
        most,
        out,
        status,
    }
}

/// `before`, as many of `item` as there is room for, and `after`. `%` in an item is its number.
fn many(before: &str, item: &str, after: &str, length: usize) -> Vec<u8> {
    let mut body = before.as_bytes().to_vec();
    let mut number = 0;
    while body.len() < length {
        if number > 0 {
            body.push(b',');
        }
        match item.contains('%') {
            true => body.extend(item.replace('%', &number.to_string()).into_bytes()),
            false => body.extend_from_slice(item.as_bytes()),
        }
        number += 1;
    }
    body.extend_from_slice(after.as_bytes());
    body
}

/// Where something may be in a chat completion: what may be there, what stands before it, and after it.
const PLACES: &[(char, &str, &str)] = &[
    ('m', r#"{"model":"m","messages":["#, "]}"),
    (
        'p',
        r#"{"model":"m","messages":[{"role":"user","content":["#,
        "]}]}",
    ),
    (
        'p',
        r#"{"model":"m","messages":[{"content":["#,
        r#"],"role":"user"}]}"#,
    ),
    (
        'p',
        r#"{"model":"m","messages":[{"role":"system","content":["#,
        "]}]}",
    ),
    (
        'p',
        r#"{"model":"m","messages":[{"role":"assistant","content":["#,
        "]}]}",
    ),
    (
        'p',
        r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f"}}]},{"role":"tool","tool_call_id":"a","content":["#,
        "]}]}",
    ),
    (
        'c',
        r#"{"model":"m","messages":[{"role":"assistant","tool_calls":["#,
        "]}]}",
    ),
    (
        't',
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":["#,
        "]}",
    ),
    (
        'v',
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stop":["#,
        "]}",
    ),
    (
        'v',
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"other":["#,
        "]}",
    ),
    (
        'x',
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"#,
        "}",
    ),
    (
        'x',
        r#"{"model":"m","messages":[{"role":"user","content":"x","#,
        "}]}",
    ),
    (
        's',
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"anyOf":["#,
        "]}}}}}]}",
    ),
    (
        'x',
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"#,
        "}}}}]}",
    ),
    (
        'v',
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","properties":{"a":{"enum":["#,
        "]}}}}}}",
    ),
    (
        'r',
        r#"{"model":"m","messages":[{"role":"assistant","content":"x","reasoning_content":"x","reasoning_signature":"anthropic:["#,
        "]\"}]}",
    ),
    (
        'a',
        r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"a\":["#,
        "]}\"}}]}]}",
    ),
    (
        'z',
        r#"{"model":"m","messages":[{"role":"user","content":""#,
        "\"}]}",
    ),
    (
        'z',
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,"#,
        "\"}}]}]}",
    ),
    (
        'z',
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,"#,
        "\"}}]}]}",
    ),
    (
        'z',
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"user":""#,
        "\"}",
    ),
    (
        'z',
        r#"{"model":""#,
        r#"","messages":[{"role":"user","content":"x"}]}"#,
    ),
    (
        'z',
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"reasoning_effort":""#,
        "\"}",
    ),
];

/// What a provider's reply may have many times: of which type the provider is, what stands before it,
/// the item, and what stands after it.
const REPLIES: &[(&str, &str, &str, &str)] = &[
    ("anthropic", ANTHROPIC, r#"{"type":"text","text":""}"#, "]}"),
    (
        "anthropic",
        ANTHROPIC,
        r#"{"type":"text","text":"a"}"#,
        "]}",
    ),
    (
        "anthropic",
        ANTHROPIC,
        r#"{"type":"text","text":"\n"}"#,
        "]}",
    ),
    ("anthropic", ANTHROPIC, r#"{"type":"thinking"}"#, "]}"),
    (
        "anthropic",
        ANTHROPIC,
        r#"{"type":"thinking","signature":"a"}"#,
        "]}",
    ),
    (
        "anthropic",
        ANTHROPIC,
        r#"{"type":"redacted_thinking"}"#,
        "]}",
    ),
    (
        "anthropic",
        ANTHROPIC,
        r#"{"type":"tool_use","name":""}"#,
        "]}",
    ),
    (
        "anthropic",
        ANTHROPIC,
        r#"{"type":"tool_use","name":"","input":{"a": [1]}}"#,
        "]}",
    ),
    ("anthropic", ANTHROPIC, r#"{"type":"x"}"#, "]}"),
    ("anthropic", ANTHROPIC, "{}", "]}"),
    (
        "anthropic",
        r#"{"type":"message","content":[],"stop_reason":"a"#,
        "a",
        "\"}",
    ),
    (
        "anthropic",
        r#"{"type":"message","content":[],"stop_reason":"a","id":"a"#,
        r"\n",
        "\"}",
    ),
    (
        "anthropic",
        r#"{"type":"error","error":{"message":"a"#,
        r"\n",
        "\"}}",
    ),
    ("google", r#"{"candidates":["#, "{}", "]}"),
    (
        "google",
        r#"{"candidates":["#,
        r#"{"finishReason":"STOP"}"#,
        "]}",
    ),
    ("google", GOOGLE, "{}", "]}}]}"),
    ("google", GOOGLE, r#"{"text":"a"}"#, "]}}]}"),
    ("google", GOOGLE, r#"{"text":"\n"}"#, "]}}]}"),
    (
        "google",
        GOOGLE,
        r#"{"text":"a","thought":true,"thoughtSignature":"a"}"#,
        "]}}]}",
    ),
    ("google", GOOGLE, r#"{"functionCall":{"name":""}}"#, "]}}]}"),
    (
        "google",
        GOOGLE,
        r#"{"functionCall":{"name":"","args":{"a": [1, 2]}}}"#,
        "]}}]}",
    ),
    (
        "google",
        GOOGLE,
        r#"{"inlineData":{"mimeType":"","data":""}}"#,
        "]}}]}",
    ),
    (
        "google",
        r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":""#,
        "YWFh",
        r#""}}]},"finishReason":"STOP"}]}"#,
    ),
    (
        "google",
        r#"{"candidates":[{"finishReason":"STOP","logprobsResult":{"chosenCandidates":["#,
        r#"{"token":"a"}"#,
        "]}}]}",
    ),
    (
        "google",
        r#"{"candidates":[{"finishReason":"STOP","logprobsResult":{"topCandidates":["#,
        "{}",
        r#"],"chosenCandidates":[{"token":"a"}]}}]}"#,
    ),
    (
        "google",
        r#"{"candidates":[{"finishReason":"STOP","logprobsResult":{"chosenCandidates":[{"token":"a"}],"topCandidates":[{"candidates":["#,
        r#"{"token":"a","logProbability":-1}"#,
        "]}]}}]}",
    ),
    (
        "google",
        r#"{"promptFeedback":{"blockReason":"a"#,
        "a",
        "\"}}",
    ),
    (
        "google",
        r#"{"error":{"code":500,"message":"a","details":["#,
        r#"{"reason":1}"#,
        "]}}",
    ),
    ("google", "[", "{}", "]"),
    ("google", "[", "[]", "]"),
];

const ANTHROPIC: &str = r#"{"type":"message","stop_reason":"end_turn","content":["#;
const GOOGLE: &str = r#"{"candidates":[{"finishReason":"STOP","content":{"parts":["#;

/// What may be in a place many times: in which places, and what.
const ITEMS: &[(&str, &str)] = &[
    ("mpctvs", "{}"),
    ("mpctvs", "1"),
    ("mvsa", "\"\""),
    ("v", "\"a\""),
    ("v", "\"%\""),
    ("va", "[]"),
    ("v", "null"),
    ("mpctvxsraz", " "),
    ("z", r"\n"),
    ("z", r"\u0061"),
    ("z", r"\/"),
    ("z", "YWFh"),
    ("r", "{}"),
    ("r", r#"{\"length\":0}"#),
    ("r", r#"{\"calls\":0}"#),
    ("r", r#"{\"redacted\":\"\"}"#),
    ("x", r#""":1"#),
    ("x", r#""%":1"#),
    ("x", r#""%":{}"#),
    ("x", r#""%":{"type":"string"}"#),
    ("x", r#""%":{"$ref":"a"}"#),
    ("m", r#"{"role":"user","content":""}"#),
    ("m", r#"{"role":"user","content":"a"}"#),
    (
        "m",
        r#"{"role":"user","content":"a"},{"role":"assistant","content":"a"}"#,
    ),
    ("m", r#"{"role":"user","content":"a","name":"b"}"#),
    ("m", r#"{"role":"user","content":"a","%":"b"}"#),
    ("m", r#"{"role":"user","content":"a","cache_control":{}}"#),
    ("m", r#"{"role":"system","content":"a"}"#),
    ("m", r#"{"role":"assistant","content":""}"#),
    (
        "m",
        r#"{"role":"assistant","tool_calls":[{"id":"%","function":{"name":""}}]}"#,
    ),
    (
        "m",
        r#"{"role":"assistant","tool_calls":[{"id":"%","function":{"name":""}}]},{"role":"tool","tool_call_id":"%","content":""}"#,
    ),
    (
        "m",
        r#"{"role":"assistant","content":"a","reasoning_content":"b","reasoning_signature":"anthropic:s"}"#,
    ),
    (
        "m",
        r#"{"role":"assistant","content":"a","reasoning_content":"b","reasoning_signature":"gemini:s"}"#,
    ),
    ("p", r#"{"type":"text","text":""}"#),
    ("p", r#"{"type":"text","text":"a"}"#),
    ("p", r#"{"type":"text","text":"\n"}"#),
    ("p", r#"{"type":"text","text":"a","%":0}"#),
    ("p", r#"{"type":"text","text":"a","cache_control":{}}"#),
    ("p", r#"{"type":"refusal","refusal":"a"}"#),
    (
        "p",
        r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,"}}"#,
    ),
    (
        "p",
        r#"{"type":"image_url","image_url":{"url":"http://a"}}"#,
    ),
    (
        "p",
        r#"{"type":"input_audio","input_audio":{"data":"","format":""}}"#,
    ),
    ("p", r#"{"type":"file","file":{"file_data":"JVBERi0"}}"#),
    ("p", r#"{"type":"x"}"#),
    ("c", r#"{"id":"%","function":{"name":""}}"#),
    (
        "c",
        r#"{"id":"\u0061%","function":{"name":"","arguments":"{}"}}"#,
    ),
    ("t", r#"{"type":"function","function":{"name":""}}"#),
    ("t", r#"{"type":"custom","custom":{"name":""}}"#),
    ("t", r#"{"type":"web_search"}"#),
    (
        "t",
        r#"{"type":"function","function":{"name":"","parameters":{}}}"#,
    ),
    (
        "t",
        r##"{"type":"function","function":{"name":"","parameters":{"$ref":"#"}}}"##,
    ),
    ("s", r#"{"type":"string"}"#),
    ("s", r#"{"enum":["a"]}"#),
    ("s", r#"{"type":"object","properties":{"a":{}}}"#),
];

/// Configurations: each reads a body in another way.
const CONFIGS: &[(&str, &str)] = &[
    ("anthropic", ""),
    ("anthropic", "unsupported: drop"),
    (
        "anthropic",
        "defaults: {temperature: 0.5}, overrides: {top_p: 0.5}",
    ),
    ("anthropic", "modelAliases: {m: claude-x}"),
    ("google", ""),
    ("google", "unsupported: drop"),
    ("google", "overrides: {stop: ['a']}"),
    (
        "openai",
        "defaults: {temperature: 0.5}, overrides: {seed: 1}, modelAliases: {m: n}",
    ),
];

const CHAT: &str = "/v1/chat/completions";

fn configs() -> Vec<(String, Rc<Gateway>)> {
    let mut all: Vec<_> = CONFIGS
        .iter()
        .map(|(kind, config)| (format!("{kind} {{{config}}}"), gateway(kind, config)))
        .collect();
    all.push((
        "vertex".to_owned(),
        Rc::new(
            Gateway::parse(
                "placement: upstream\nholdHeaders: true\nmaxRequestBytes: 64MiB\nbackends:\n\
                 - {name: b, type: google, config: {projectId: p, location: global, model: gemini-2.5-pro}}",
                &|_: &str| None::<String>,
            )
            .unwrap_or_else(|it| panic!("{it}")),
        ),
    ));
    all
}

/// Prints the worst that are beside `outs` times what came out, and fails where one is worse than it may be.
fn judge(what: &str, outs: usize, mut all: Vec<(String, Measured)>) {
    all.sort_by(|(_, a), (_, b)| b.factor(outs).total_cmp(&a.factor(outs)));
    println!("{what}: {} measured, the worst:", all.len());
    for (name, it) in all.iter().take(12) {
        println!(
            "  {:5.2} × {:7} + {:8} ({}) {name:.160}",
            it.factor(outs),
            it.body,
            it.out,
            it.status
        );
    }
    let (name, worst) = &all[0];
    assert!(
        worst.factor(outs) <= MOST as f64,
        "{name}: {:.2} × the body",
        worst.factor(outs)
    );
}

/// Some places, and what is in them: they follow each other in one conversation.
#[derive(Clone, Debug)]
struct Shape {
    /// Items of the list of messages, each with how often it comes.
    messages: Vec<(String, usize)>,
    /// Which other member there is, and how often its item comes.
    other: Option<(usize, usize)>,
}

const SEED: u64 = 0x5eed_0009;

/// Members of a body with a place for many items.
const MEMBERS: &[(&str, &str, &str)] = &[
    (r#""stop":["#, "\"a\"", "]"),
    (
        r#""tools":["#,
        r#"{"type":"function","function":{"name":"f"}}"#,
        "]",
    ),
    (r#""x":["#, "{}", "]"),
    (r#""metadata":{"#, r#""%":"a""#, "}"),
    (r#""user":""#, "a", "\""),
];

impl Shape {
    fn random(random: &mut Random) -> Self {
        let messages = (0..=random.below(3))
            .map(|_| Self::message(random))
            .collect();
        let other =
            (random.below(2) == 0).then(|| (random.below(MEMBERS.len()), random.below(4000)));
        Self { messages, other }
    }

    /// A message as often as there is room for, or one with as many parts or calls.
    fn message(random: &mut Random) -> (String, usize) {
        let of = |places: char| -> Vec<&str> {
            let fitting = ITEMS.iter().filter(|(it, _)| it.contains(places));
            fitting
                .map(|(_, item)| *item)
                .filter(|item| item.starts_with("{\""))
                .collect()
        };
        let (messages, parts, calls) = (of('m'), of('p'), of('c'));
        let count = 1 + random.below(40);
        let parts = vec![parts[random.below(parts.len())]; count].join(",");
        let calls = vec![calls[random.below(calls.len())]; count].join(",");
        let item = match random.below(4) {
            0 => messages[random.below(messages.len())].to_owned(),
            1 => format!(r#"{{"role":"user","content":[{parts}]}}"#),
            2 => format!(r#"{{"role":"assistant","content":"a","tool_calls":[{calls}]}}"#),
            _ => format!(r#"{{"content":[{parts}],"role":"user","cache_control":{{}}}}"#),
        };
        (item, 1 + random.below(3000))
    }

    fn changed(&self, random: &mut Random) -> Self {
        let mut changed = self.clone();
        let at = random.below(changed.messages.len());
        match random.below(4) {
            0 => changed.messages[at] = Self::message(random),
            1 => changed.messages[at].1 = 1 + random.below(3000),
            2 => changed.other = Self::random(random).other,
            _ => changed.messages.push(Self::message(random)),
        }
        changed.messages.truncate(6);
        changed
    }

    /// At least [`LENGTH`] bytes: what does not depend on the body is left out of account.
    fn body(&self) -> Vec<u8> {
        let mut items = Vec::new();
        let mut length = 0;
        while length < LENGTH {
            for (item, count) in &self.messages {
                for _ in 0..*count {
                    let item = item.replace('%', &items.len().to_string());
                    length += item.len();
                    items.push(item);
                    if length > 4 * LENGTH {
                        break;
                    }
                }
            }
        }
        let mut body = format!(r#"{{"model":"m","messages":[{}]"#, items.join(","));
        if let Some((member, count)) = self.other {
            let (before, item, after) = MEMBERS[member];
            let items = (0..count).map(|it| item.replace('%', &it.to_string()));
            let items: Vec<String> = items.collect();
            body.push_str(&format!(",{before}{}{after}", items.join(",")));
        }
        body.push('}');
        body.into_bytes()
    }
}

/// Makes a member of a body from a schema.
type ToMember<'f> = &'f dyn Fn(&str) -> String;

/// Schemas that are as large as they may be, each by another kind of value.
fn schemas() -> Vec<(&'static str, String)> {
    let repeat = |before: &str, item: &str, count: usize, after: &str| {
        let items = (0..count).map(|it| item.replace('%', &it.to_string()));
        format!("{before}{}{after}", items.collect::<Vec<_>>().join(","))
    };
    let object =
        |properties: String| format!(r#"{{"type":"object","properties":{{{properties}}}}}"#);
    let deep = |open: &str, close: &str, depth: usize, inside: &str| {
        open.repeat(depth) + inside + &close.repeat(depth)
    };
    let long = format!(r#"{{"type":"string","description":"{}"}}"#, "x".repeat(220));
    let alternatives = |items: &str, count| repeat(r#""a":{"anyOf":["#, items, count, "]}");
    let names = repeat(r#""required":["#, "\"p%\"", 3_000, "]");
    let properties = repeat(
        r#"{"type":"object","properties":{"#,
        r#""p%":{}"#,
        3_000,
        "}",
    );
    vec![
        ("required", format!("{properties},{names}}}")),
        ("properties", format!("{properties}}}")),
        ("no schemas", object(repeat("", r#""%":1"#, 12_000, ""))),
        ("one name", object(repeat("", r#""":{}"#, 12_000, ""))),
        ("escaped names", object(repeat("", r#""\u0061%":{}"#, 12_000, ""))),
        ("values", object(repeat(r#""a":{"enum":["#, "\"a\"", 13_000, "]}"))),
        ("numbers", object(repeat(r#""a":{"default":["#, "1", 13_000, "]}"))),
        ("nothing", object(alternatives("{}", 13_000))),
        ("types", object(alternatives(r#"{"type":["string","null","array"]}"#, 4_000))),
        ("notes", object(alternatives(r#"{"type":"string","pattern":"\"\\","x":[{"a":1}]}"#, 2_500))),
        ("tuples", object(repeat(r#""a":{"items":["#, "true", 13_000, "]}"))),
        ("merged", object(repeat(r#""a":{"allOf":["#, r#"{"properties":{"a%":{},"b":{}},"required":["b"]}"#, 400, "]}"))),
        ("one merged", object(alternatives(r#"{"allOf":[{"properties":{"a":{}}}],"x":1}"#, 2_500))),
        ("deep values", object(alternatives(&format!(r#"{{"default":{}}}"#, deep("[", "]", 90, &long)), 100))),
        ("deep schemas", object(alternatives(&deep(r#"{"items":"#, "}", 90, &long), 60))),
        ("deep notes", object(alternatives(&format!(r#"{{"not":{}}}"#, deep("{\"not\":", "}", 90, &long)), 100))),
        (
            "definitions",
            format!(
                r#"{{"type":"object","$defs":{},"properties":{}}}"#,
                repeat("{", r#""d%":{"type":"string"}"#, 3_000, "}"),
                repeat("{", r##""p%":{"$ref":"#/$defs/d%"}"##, 3_000, "}"),
            ),
        ),
        (
            "references",
            object(format!(
                r##""a":{},{}"##,
                repeat("{\"anyOf\":[", r#"{"type":"string"}"#, 100, "]}"),
                repeat("", r##""p%":{"$ref":"#/properties/a"}"##, 90, ""),
            )),
        ),
        (
            "merged references",
            format!(
                r##"{{"p":{{{}}},"allOf":[{{"$ref":"#/p/p0"}}]}}"##,
                (0..40).map(|it| format!(r##""p{it}":{{"properties":{{"x{it}":{{}},"y":{{"$ref":"#/p/p{0}"}}}},"allOf":[{{"$ref":"#/p/p{0}"}},{{"$ref":"#/p/p{1}"}}]}}"##, it + 1, it + 2)).collect::<Vec<_>>().join(","),
            ),
        ),
    ]
}

tests! {
    fn a_schema_takes_four_times_its_body_whatever_its_shape() {
        const OLD_MODEL: &str = "claude-3-5-sonnet-20241022";
        let answer = |schema: &str| {
            format!(r#""response_format":{{"type":"json_schema","json_schema":{{"name":"n","schema":{schema}}}}}"#)
        };
        let tool = |schema: &str| {
            format!(r#""tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]"#)
        };
        let strict = |schema: &str| tool(schema).replacen(r#""name""#, r#""strict":true,"name""#, 1);
        let combined = |schema: &str| tool(&schema.replacen('{', r#"{"anyOf":[{"properties":{"z":{}}}],"#, 1));
        let places: [(&str, &str, ToMember<'_>); 4] = [
            ("google", "m", &tool),
            ("anthropic", OLD_MODEL, &answer),
            ("anthropic", "m", &strict),
            ("anthropic", "m", &combined),
        ];
        let mut all = Vec::new();
        for (kind, model, member) in places {
            let gateway = gateway(kind, "unsupported: drop");
            for (name, schema) in schemas() {
                let member = member(&schema);
                let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}],{member}}}"#);
                let (measured, _) = request(&gateway, CHAT, body.as_bytes());
                let place = &member[..60];
                all.push((format!("{kind} {model} {name} {place}"), measured));
            }
        }
        judge("schemas", 1, all);
    }

    fn a_chat_takes_four_times_its_body_whatever_its_shape() {
        let mut all = Vec::new();
        for (config, gateway) in configs() {
            for (place, before, after) in PLACES {
                let fitting = ITEMS.iter().filter(|(places, _)| places.contains(*place));
                for (_, item) in fitting {
                    let body = many(before, item, after, LENGTH);
                    let (measured, _) = request(&gateway, CHAT, &body);
                    let place = &before[before.len().saturating_sub(60)..];
                    all.push((format!("{config} …{place}{item}"), measured));
                }
            }
        }
        judge("chats", 1, all);
    }

    fn a_reply_takes_four_times_its_body_whatever_its_shape() {
        let ask = br#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#;
        let mut all = Vec::new();
        for (kind, before, item, after) in REPLIES {
            let gateway = gateway(kind, "");
            let body = many(before, item, after, LENGTH);
            for status in ["200", "400", "429"] {
                let (_, mut exchange) = request(&gateway, CHAT, ask);
                let measured = reply(&mut exchange, status, "application/json", &body);
                all.push((format!("{kind} {status} {before}{item}"), measured));
            }
        }
        judge("replies", 1, all);
    }

    fn a_request_for_a_response_takes_four_times_its_body_whatever_its_shape() {
        let carried = |items: &str| {
            use llm_proxy::base64;
            format!("rs_carrier1_{}", base64::encode_url(items.as_bytes()))
        };
        let reference = format!(
            r#"{{"type":"item_reference","id":"m%"}},{{"type":"item_reference","id":"{}"}}"#,
            carried(r#"[{"id":"m","role":"assistant","content":"a"}]"#)
        );
        let references = |count: usize| {
            let items = (0..count).map(|it| format!(r#"{{"id":"m{it}","role":"user","content":""}}"#));
            let items: Vec<_> = items.collect();
            let all = (0..count).map(|it| format!(r#"{{"type":"item_reference","id":"m{it}"}}"#));
            let all: Vec<_> = all.collect();
            let carrier = carried(&format!("[{}]", items.join(",")));
            format!(
                r#"{{"model":"m","input":[{},{{"type":"item_reference","id":"{carrier}"}}]}}"#,
                all.join(",")
            )
        };
        let mut bodies: Vec<(String, Vec<u8>)> = vec![
            ("references".to_owned(), references(1000).into_bytes()),
            ("one reference".to_owned(), many(r#"{"model":"m","input":["#, &reference, "]}", LENGTH)),
        ];
        for (before, after, items) in [
            (r#"{"model":"m","input":["#, "]}", &[
                r#"{"role":"user","content":""}"#,
                r#"{"role":"user","content":""},{"role":"assistant","content":""}"#,
                r#"{"type":"reasoning"}"#,
                r#"{"type":"reasoning","summary":[{"text":"a"}],"encrypted_content":"a:"}"#,
                r#"{"type":"function_call","call_id":"%","name":""}"#,
                r#"{"type":"custom_tool_call","call_id":"%","name":"","input":"\n"}"#,
                r#"{"type":"function_call","call_id":"%","name":"a","namespace":"b"}"#,
                r#"{"type":"function_call_output","call_id":"%","output":""}"#,
                r#"{"type":"program","%":0}"#,
                "{}",
            ] as &[&str]),
            (r#"{"model":"m","input":[{"role":"user","content":["#, "]}]}", &[
                r#"{"type":"input_text","text":""}"#,
                r#"{"type":"input_image","image_url":"http://a"}"#,
                r#"{"type":"input_file","file_data":"JVBERi0"}"#,
            ]),
            (r#"{"model":"m","input":"a","tools":["#, "]}", &[
                r#"{"type":"function","name":""}"#,
                r#"{"type":"custom","name":""}"#,
                r#"{"type":"namespace","name":"n","tools":[{"type":"function","name":"f%"}]}"#,
                r#"{"type":"web_search"}"#,
            ]),
            (r#"{"model":"m","input":"a","x":["#, "]}", &["1", "{}"]),
            (
                r#"{"model":"m","input":"a","tools":[{"type":"custom","name":"p","description":"d","format":{"type":"grammar","definition":""#,
                r#""}}]}"#,
                &["a", r"\n"],
            ),
        ] {
            for item in items {
                let name = format!("{before}{item}");
                bodies.push((name, many(before, item, after, LENGTH)));
            }
        }
        let mut all = Vec::new();
        for (config, gateway) in configs().into_iter().filter(|(name, _)| !name.starts_with("openai")) {
            for (name, body) in &bodies {
                let (measured, _) = request(&gateway, "/v1/responses", body);
                all.push((format!("{config} {name}"), measured));
            }
        }
        judge("responses", 1, all);
    }

    fn a_response_takes_four_times_its_reply_whatever_its_shape() {
        let mut all = Vec::new();
        for stored in ["true", "false"] {
            let ask = format!(r#"{{"model":"m","input":"a","store":{stored}}}"#);
            for (kind, before, item, after) in REPLIES {
                let gateway = gateway(kind, "");
                let body = many(before, item, after, LENGTH);
                for status in ["200", "429"] {
                    let (_, mut exchange) = request(&gateway, "/v1/responses", ask.as_bytes());
                    let measured = reply(&mut exchange, status, "application/json", &body);
                    all.push((format!("{kind} {status} {stored} {before}{item}"), measured));
                }
            }
        }
        judge("responses written", 1, all);
    }

    fn a_reply_of_embeddings_takes_four_times_its_body_whatever_its_shape() {
        let mut all = Vec::new();
        for encoding in ["float", "base64"] {
            for (count, before, item, after) in [
                (1, r#"{"embedding":{"values":["#, "1", "]}}"),
                (1, r#"{"embedding":{"values":["#, "-0.012345678", "]}}"),
                (1, r#"{"embedding":{"values":["#, " ", "1]}}"),
                (2, r#"{"embeddings":["#, r#"{"values":[]}"#, "]}"),
                (2, r#"{"embeddings":["#, "{}", "]}"),
            ] {
                let input = vec!["\"a\""; count].join(",");
                let ask = format!(
                    r#"{{"model":"gemini-embedding-001","encoding_format":"{encoding}","input":[{input}]}}"#
                );
                let body = many(before, item, after, LENGTH);
                let (_, mut exchange) = request(&gateway("google", ""), "/v1/embeddings", ask.as_bytes());
                let measured = reply(&mut exchange, "200", "application/json", &body);
                all.push((format!("{encoding} {before}{item}"), measured));
            }
        }
        judge("replies of embeddings", 1, all);
    }

    /// The chunks are written to memory that grows, since no one knows how many there will be.
    fn an_event_takes_four_times_its_length_whatever_its_shape() {
        let ask = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"a"}]}"#;
        let mut all = Vec::new();
        for (kind, before, item, after) in REPLIES.iter().filter(|(kind, ..)| *kind == "google") {
            let event = many(before, item, after, LENGTH);
            let event = [b"data: ", &event[..], b"\n\n"].concat();
            let (_, mut exchange) = request(&gateway(kind, ""), CHAT, ask);
            let measured = reply(&mut exchange, "200", "text/event-stream", &event);
            all.push((format!("{kind} {before}{item}"), measured));
        }
        judge("events", 3, all);
    }

    /// The same of many small events that arrive together, and of a large one.
    fn deltas_take_four_times_their_length_whatever_their_shape() {
        let ask = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"a"}]}"#;
        let ask_response = br#"{"model":"m","stream":true,"input":"a"}"#;
        let start = concat!(
            r#"data: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":1}}}"#, "\n\n",
            r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#, "\n\n",
        );
        let mut all = Vec::new();
        for (before, item, after) in [
            ("", r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#, ""),
            ("", r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"a"}}"#, ""),
            ("", r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"1"}}"#, ""),
            ("", r#"{"type":"content_block_start","index":%,"content_block":{"type":"tool_use","id":"a","name":"b"}}"#, ""),
            ("", r#"{"type":"ping"}"#, ""),
            ("", "{}", ""),
            (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""#, "a", "\"}}"),
            (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""#, r"\n", "\"}}"),
            (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""#, r"\u0061", "\"}}"),
            (r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":""#, "a", "\"}}"),
            (r#"{"type":"content_block_delta","index":0,"x":["#, "{}", "]}"),
            (r#"{"type":"content_block_delta","index":0,"x":""#, "\n", "\"}"),
            (r#"{"type":"message_delta","delta":{"stop_reason":""#, "a", "\"}}"),
            (r#"{"type":"error","error":{"type":"a","message":""#, r"\n", "\"}}"),
        ] {
            let mut events = start.as_bytes().to_vec();
            let is_one = !after.is_empty();
            if is_one {
                events.extend(format!("data: {before}").bytes());
            }
            for number in 0.. {
                if events.len() >= LENGTH {
                    break;
                }
                let item = item.replace('%', &number.to_string());
                match is_one {
                    true if item == "{}" && number > 0 => events.extend(b",{}"),
                    true => events.extend(item.bytes()),
                    false => events.extend(format!("data: {item}\n\n").bytes()),
                }
            }
            events.extend(after.bytes());
            events.extend(b"\n\n");
            let (_, mut exchange) = request(&gateway("anthropic", ""), CHAT, ask);
            let measured = reply(&mut exchange, "200", "text/event-stream", &events);
            all.push((format!("{before}{item}"), measured));
            let (_, mut exchange) = request(&gateway("anthropic", ""), "/v1/responses", ask_response);
            let measured = reply(&mut exchange, "200", "text/event-stream", &events);
            all.push((format!("a response: {before}{item}"), measured));
        }
        judge("deltas", 3, all);
    }

    /// Bodies that are put together at random: the worst of them is searched by changing it.
    fn a_random_chat_takes_four_times_its_body() {
        let gateways = configs();
        let mut random = Random::new(SEED);
        let rounds = std::env::var("MEMORY_ROUNDS").map_or(24, |text| text.parse().expect("a number"));
        let mut worst: Option<(Shape, f64)> = None;
        let mut all = Vec::new();
        for _ in 0..rounds {
            let shape = match &worst {
                Some((shape, _)) if random.below(3) > 0 => shape.changed(&mut random),
                _ => Shape::random(&mut random),
            };
            let (config, gateway) = &gateways[random.below(gateways.len())];
            let (measured, _) = request(gateway, CHAT, &shape.body());
            let factor = measured.factor(1);
            if worst.as_ref().is_none_or(|(_, most)| factor > *most) {
                worst = Some((shape.clone(), factor));
            }
            all.push((format!("seed {SEED:#x} {config} {shape:?}"), measured));
        }
        judge("random chats", 1, all);
    }

    fn a_request_for_embeddings_takes_four_times_its_body_whatever_its_shape() {
        let mut all = Vec::new();
        for (config, gateway) in configs() {
            for (before, after) in [
                (r#"{"model":"m","input":["#, "]}"),
                (r#"{"model":"m","input":[["#, "]]}"),
                (r#"{"model":"m","input":""#, "\"}"),
                (r#"{"model":"m","input":"a","#, "}"),
                (r#"{"model":"m","input":"a","other":["#, "]}"),
            ] {
                for item in ["1", "\"a\"", "\"\"", "{}", "a", r"\n", "\"%\":1", "\"%\":null"] {
                    let body = many(before, item, after, LENGTH);
                    let (measured, _) = request(&gateway, "/v1/embeddings", &body);
                    all.push((format!("{config} {before}{item}"), measured));
                }
            }
        }
        judge("embeddings", 1, all);
    }
}
