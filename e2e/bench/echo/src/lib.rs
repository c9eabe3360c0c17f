//! The least that a filter must do which changes bodies: it reads every part of a body, and writes it
//! back as it is. What it costs is what Envoy's Wasm host costs, whoever is in it.

#[cfg(target_os = "wasi")]
mod filter;
