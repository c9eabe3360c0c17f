//! `cargo +nightly fuzz run --features libfuzzer --sanitizer none request_responses`
#![no_main]
#![allow(missing_docs, reason = "the macro makes what has none")]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| llm_proxy_fuzz::request_responses(bytes));
