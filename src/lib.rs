//! One WebAssembly file that makes Envoy an LLM gateway.
//!
//! Applications speak the OpenAI API to Envoy. The module built from this crate runs inside Envoy
//! as a proxy-wasm HTTP filter: it finds the backend that a request goes to, rewrites host, path
//! and key for it, fills in the model in the JSON body, and makes every error look like OpenAI's.
//! The native command `llm-proxy`, from the same crate, checks a `gateway.yaml` and renders what
//! Envoy needs from it.
//!
//! # What it does not do
//!
//! Envoy does TLS, DNS, HTTP, retries, load balancing, limits and logs. Nothing here opens a socket,
//! keeps a connection or makes an attempt: what the module learns of an attempt, it tells who chooses
//! the next one.
//!
//! # The flow
//!
//! ```text
//!  gateway.yaml ──► config ──► Gateway ─┬──► render ──► Envoy, Istio, Envoy Gateway  (native: cli)
//!                                       │
//!  Envoy ◄──► filter::host ◄──► filter ─┴─► exchange ─┬─► route, operation        where to?
//!             all host calls    applies     decides   ├─► pool                    who first, who then?
//!                               a Step                ├─► model                   which model?
//!                                                     ├─► json                    what is read, spliced, written
//!                                                     ├─► provider ─► chat, sse   another dialect
//!                                                     └─► refusal                 what the client sees
//!
//!  Envoy's ticks ─► filter ─┬─► token ─► shared       access tokens, for all workers
//!                           └─► patience              what has waited too long
//! ```
//!
//! # Invariants
//!
//! * The core does no I/O and reads no clock: bytes in, a [`exchange::Step`] out. Only `filter::host`
//!   names host calls, and only it has `unsafe`.
//! * Nothing panics: bad bytes from a client, a provider or a file are an error. `unwrap`, `expect`,
//!   `panic!` and unchecked indexing are denied outside tests.
//! * A configuration is parsed once, at the door; whoever holds a [`config::Gateway`] checks nothing
//!   again.
//! * Every byte of a body that no rule changes stays what it was.
//! * Secrets are [`secret::Secret`]s, which no `Debug`, error or rendered file shows.

// Leaves: they know nothing of the rest.
pub mod base64;
pub mod budget;
pub mod data_uri;
pub mod form;
pub mod headers;
pub mod host;
pub mod json;
pub mod name;
pub mod pairs;
pub mod patience;
pub mod percent;
pub mod protobuf;
pub mod secret;
pub mod shared;
pub mod sse;

// Meaning.
pub mod chat;
pub mod firewall;
pub mod model;
pub mod operation;
pub mod provider;
pub mod refusal;
pub mod usage;

// Policy.
pub mod config;
pub mod exchange;
pub mod pool;
pub mod rewrite;
pub mod route;
pub mod token;

// Shells: natively a command, in Envoy a filter.
#[cfg(not(target_family = "wasm"))]
pub mod cli;
#[cfg(target_os = "wasi")]
mod filter;
#[cfg(not(target_family = "wasm"))]
pub mod render;
