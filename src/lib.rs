//! One WebAssembly file that makes Envoy an LLM gateway.

#[cfg(not(target_family = "wasm"))]
pub mod cli;
pub mod config;
pub mod json;
pub mod model;
pub mod name;
pub mod operation;
pub mod provider;
#[cfg(not(target_family = "wasm"))]
pub mod render;
pub mod route;
pub mod secret;
