//! One WebAssembly file that makes Envoy an LLM gateway.

pub mod json;
