//! One WebAssembly file that makes Envoy an LLM gateway.

pub mod config;
pub mod json;
pub mod model;
pub mod name;
pub mod operation;
pub mod provider;
pub mod route;
pub mod secret;
