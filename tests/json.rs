//! The scanner's vector instructions against its states, natively and as wasm.
//!
//! Whole chunks are read in blocks, single bytes one by one: two programs that must agree on every
//! text. In wasm the blocks are other instructions than natively.
#![allow(
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "support/random.rs"]
mod random;

use llm_proxy::json::{Event, InvalidJson, Scanner, Watched};

use self::random::Random;

#[cfg_attr(not(target_family = "wasm"), test)]
#[cfg_attr(target_family = "wasm", wasm_bindgen_test::wasm_bindgen_test)]
fn blocks_agree_with_single_bytes() {
    // Few errors, or no text would get far.
    let rare = ["\"", "\\", "\\x", "\\u12", "\u{1f}", "\0"];
    let common = [
        "a",
        "n",
        "/",
        " ",
        "u0",
        "\u{7f}",
        "plain text",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\t",
        "\\b\\f\\r",
        "\\u00e9",
        "\\ud83d\\ude00",
        "é",
        "好",
        "😀",
        "\\\\\\\\\\n",
        "–\\n",
    ];
    for seed in 1..=4000_u64 {
        let mut random = Random::numbered(seed);
        let mut below = |limit: usize| random.below(limit);
        let mut text = br#"{"x":""#.to_vec();
        let length = below(500);
        while text.len() < length {
            let piece = match below(150) {
                0 => rare[below(rare.len())],
                1 => &"x".repeat(below(1200)),
                _ => common[below(common.len())],
            };
            text.extend_from_slice(piece.as_bytes());
        }
        if below(20) == 0 {
            let at = below(text.len());
            text[at] = below(256) as u8;
        }
        text.extend_from_slice(br#"","model":1}"#);

        let shown = String::from_utf8_lossy(&text);
        let bytes = scan(text.chunks(1));
        assert_eq!(scan([&text[..]]), bytes, "seed {seed}: {shown}");
        let halves = text.split_at(below(text.len()));
        assert_eq!(scan([halves.0, halves.1]), bytes, "seed {seed}: {shown}");
    }
}

/// All that a scanner says about a text.
fn scan<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Result<(), InvalidJson>) {
    let mut scanner = Scanner::new(Watched::new(["model"]));
    let mut events = Vec::new();
    for mut chunk in chunks {
        loop {
            match scanner.scan(&mut chunk) {
                Ok(Event::InputEmpty) => break,
                Ok(event) => events.push(event),
                Err(error) => return (events, Err(error)),
            }
        }
    }
    (events, scanner.finish())
}
