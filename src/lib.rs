//! One WebAssembly file that makes Envoy an LLM gateway.

#[cfg(not(target_family = "wasm"))]
pub mod cli;
pub mod config;
pub mod exchange;
#[cfg(target_os = "wasi")]
mod filter;
pub mod headers;
pub mod json;
pub mod model;
pub mod name;
pub mod operation;
pub mod pairs;
pub mod provider;
pub mod refusal;
#[cfg(not(target_family = "wasm"))]
pub mod render;
pub mod route;
pub mod secret;
