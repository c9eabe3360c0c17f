//! The targets with mutations of what lies in `tests/`, a bounded number of times.
//!
//! `FUZZ_ROUNDS=100000 FUZZ_SEED=7 cargo test -p llm-proxy-fuzz` does more of it, differently. A
//! failure prints the seed, the round and the bytes.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "../../tests/support/random.rs"]
mod random;

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::{env, fs};

use self::random::Random;

#[global_allocator]
static ALLOCATOR: llm_proxy_fuzz::allocator::Counting = llm_proxy_fuzz::allocator::Counting;

/// The files of `tests/` whose names end in this, each with a first byte that says how to cut it.
fn seeds(ending: &str, is_cut: bool) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    find(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests")),
        ending,
        &mut files,
    );
    assert!(
        !files.is_empty(),
        "tests/ has nothing that ends in {ending}"
    );
    files.sort();
    let read = |path: &PathBuf| {
        let mut bytes = if is_cut { vec![3] } else { Vec::new() };
        bytes.extend(fs::read(path).unwrap());
        bytes
    };
    files.iter().map(read).collect()
}

fn find(directory: &Path, ending: &str, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, ending, files);
        } else if path.to_str().is_some_and(|path| path.ends_with(ending)) {
            files.push(path);
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect(name))
}

fn run(target: fn(&[u8]), seeds: &[Vec<u8>]) {
    let rounds = number("FUZZ_ROUNDS", 2_000);
    let seed = number("FUZZ_SEED", 0x5eed_0007);
    let mut random = Random::new(seed);
    for round in 0..rounds {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        let other = &seeds[random.below(seeds.len())];
        // The first rounds are the seeds themselves.
        match usize::try_from(round)
            .ok()
            .and_then(|round| seeds.get(round))
        {
            Some(seed) => bytes.clone_from(seed),
            None => random.mutate(&mut bytes, other),
        }
        if round % 64 == 63 {
            random.multiply(&mut bytes);
        }
        let done = panic::catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        assert!(
            done.is_ok(),
            "FUZZ_SEED={seed}, round {round}, bytes {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

impl Random {
    /// A piece many times: what a translation takes is in proportion to the text, and shows where that
    /// is long.
    fn multiply(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        // From one token to another the text stays valid more often.
        let is_end = |it: &u8| b",}]\n\"".contains(it);
        let ends: Vec<usize> = (at..bytes.len())
            .filter(|it| is_end(&bytes[*it]))
            .take(20)
            .collect();
        let start = ends.first().map_or(at, |it| it + 1);
        let end = match ends.len() {
            0 => bytes.len(),
            count => ends[self.below(count)] + 1,
        };
        let piece = bytes[start.min(end)..end].to_vec();
        let count = self.below(MULTIPLIED_BYTES) / piece.len().max(1);
        bytes.splice(end..end, piece.repeat(count));
    }

    /// One to four changes: a byte, a token, a piece gone, doubled, or of another seed.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(40)).min(bytes.len());
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                1 => bytes.truncate(at),
                2 | 3 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    bytes.splice(at..at, token.iter().copied());
                }
                4 => drop(bytes.drain(at..end)),
                5 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let from = self.below(other.len());
                    let until = (from + self.below(200)).min(other.len());
                    bytes.splice(at..end, other[from..until].iter().copied());
                }
            }
        }
    }
}

/// How much longer a text becomes at most. Unit: bytes.
const MULTIPLIED_BYTES: usize = 128 << 10;

const TOKENS: [&[u8]; 24] = [
    b"null",
    b"{}",
    b"[]",
    b"\"",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"\n\n",
    b"\r",
    b"\r\n\r\n",
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b"\xc3",
    b"\"type\"",
    b"data: ",
    b"data:",
    b"event: ping\n",
    b": comment\n\n",
    b"{\"a\":",
    b"[[[[",
    b"\"$ref\":\"#\",",
    b",",
    b"}",
];

macro_rules! targets {
    ($($name:ident: $($ending:literal)*, $is_cut:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let mut all = Vec::new();
                $(all.extend(seeds($ending, $is_cut));)*
                run(llm_proxy_fuzz::$name, &all);
            }
        )*
    };
}

targets! {
    sse: ".sse", true;
    json: "request.openai.json", true;
    request_anthropic: "request.openai.json", false;
    request_gemini: "request.openai.json", false;
    reply_anthropic: "reply.anthropic.json", false;
    reply_gemini: "reply.gemini.json", false;
    stream_anthropic: "stream.anthropic.sse", true;
    stream_gemini: "stream.gemini.sse", true;
    config: "config/good-every-key.yaml" "config/good-json.yaml" "config/good-issue.yaml", false;
    import: "import/agentgateway-binds.yaml" "import/agentgateway-models.yaml" "import/agentgateway-resources.yaml" "import/apisix-declarative.yaml" "import/apisix-multi.json" "import/envoy-ai-gateway.yaml" "import/kgateway.yaml" "import/litellm.yaml" "import/own-policies.yaml" "import/own.yaml", false;
}

#[test]
fn schema() {
    run(
        llm_proxy_fuzz::schema,
        &SCHEMAS.map(|it| it.as_bytes().to_vec()),
    );
}

#[test]
fn embeddings() {
    run(
        llm_proxy_fuzz::embeddings,
        &EMBEDDINGS.map(|it| it.as_bytes().to_vec()),
    );
}

#[test]
fn request_responses() {
    run(
        llm_proxy_fuzz::request_responses,
        &RESPONSES.map(|it| it.as_bytes().to_vec()),
    );
}

/// The carrier has two items, `m` and `f`.
const RESPONSES: [&str; 3] = [
    r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,YQ==","detail":"low"}]},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"anthropic:S","content":null},{"type":"function_call","call_id":"c","name":"f","namespace":"n","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"r"},{"type":"web_search_call","id":"w"}],"stream":true}"#,
    r#"{"input":[{"type":"item_reference","id":"m"},{"type":"item_reference","id":"f"},{"type":"item_reference","id":"rs_carrier1_W3siaWQiOiJtIiwicm9sZSI6ImFzc2lzdGFudCIsImNvbnRlbnQiOiJhIn0seyJpZCI6ImYiLCJ0eXBlIjoiZnVuY3Rpb25fY2FsbCIsImNhbGxfaWQiOiJjIiwibmFtZSI6ImYiLCJhcmd1bWVudHMiOiIifV0"}]}"#,
    r#"{"input":"a","instructions":"b","tools":[{"type":"custom","name":"p","format":{"type":"grammar"}},{"type":"namespace","name":"n.x","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]},{"type":"file_search","vector_store_ids":[]}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]},"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"}},"verbosity":"low"},"store":true,"include":["message.output_text.logprobs"],"reasoning":{"effort":"high"}}"#,
];

const SCHEMAS: [&str; 3] = [
    r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/b"},"c":{"const":"d"},"e":{"type":["string","null"]}},"$defs":{"b":{"type":"array","items":{"type":"integer","exclusiveMinimum":0}}},"required":["a"]}"##,
    r##"{"type":"object","properties":{"t":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"object","properties":{"of":{"type":"array","items":{"$ref":"#/$defs/n"}}}}}}"##,
    r##"{"anyOf":[{"type":"string"},{"allOf":[{"type":"object","properties":{"x":{"oneOf":[{"enum":[1,"a",null]},true]}}},{"additionalProperties":{"type":"number"}}]}],"prefixItems":[{}]}"##,
];

const EMBEDDINGS: [&str; 4] = [
    "\u{1}{\"input\":\"a\",\"dimensions\":3,\"encoding_format\":\"base64\",\"user\":null}",
    "\u{2}{\"input\":[\"a\",\"b\"]}",
    "\u{1}{\"embedding\":{\"values\":[0.25,-1,1e-9]}}",
    "\u{2}{\"embeddings\":[{\"values\":[0.5]},{\"values\":[2]}],\"usageMetadata\":{\"promptTokenCount\":3}}",
];
