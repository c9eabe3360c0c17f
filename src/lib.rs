//! One WebAssembly file that makes Envoy an LLM gateway.
//!
//! Applications speak the OpenAI API to Envoy. The module built from this crate runs inside Envoy as a
//! proxy-wasm HTTP filter: it selects the backend of a request, writes its host, path, key and model,
//! translates the body where the provider has another API, and turns every error into the form of the
//! client's API.
//! The native command `llm-proxy`, from the same crate, checks a `gateway.yaml` and renders Envoy's
//! configuration from it.
//!
//! # What it does not do
//!
//! Envoy does TLS, DNS, HTTP, retries, load balancing, limits and logs. Nothing here opens a socket,
//! keeps a connection or makes an attempt: the result of each attempt only changes the selection of the
//! next one.
//!
//! # The map
//!
//! An arrow means "uses". None leads back: `tests/layers.rs` holds the sources to the groups of `mod`
//! lines below.
//!
//! ```text
//!  main ─► cli ─► render ─┬─► config ─┐
//!                         ├─► contract├─► gateway ─► route, pool, catalog, rewrite ─► backend ─► endpoint, token
//!  Envoy ◄─► filter ──────┴─► exchange┘      │
//!                                            ├─► api      the client's side ───┬─► chat, embed, failure, usage
//!                                            ├─► provider the provider's side ─┘
//!                                            ├─► refusal, firewall, model, operation
//!                                            └─► json, sse, form, headers, pairs, budget, …
//! ```
//!
//! `config` reads a `gateway.yaml`, or the plugin configuration, and builds a [`gateway::Gateway`]. `render`
//! writes the configuration of Envoy, Istio or Envoy Gateway from it. In Envoy, `filter` hands what
//! arrives to an [`exchange::Exchange`], and applies the [`exchange::Step`] that it gets back:
//!
//! ```text
//!  filter ─► exchange ─┬─► route, operation, rewrite   the destination
//!                      ├─► firewall                    the headers that pass
//!                      ├─► pool                        selection, fallback order
//!                      ├─► model                       the model that is sent
//!                      ├─► json, form                  read, splice, write
//!                      ├─► api, provider, relay        translation, and errors for clients
//!                      ├─► budget                      the memory of one VM
//!                      └─► refusal                     requests that are refused
//!
//!  ticks ─► filter ─┬─► token ─► shared       access tokens, for all workers
//!                   └─► patience              timers of requests and replies
//! ```
//!
//! [`contract`] has what the renderer and the module must not see differently: names of headers and
//! metadata, retriable statuses, types of errors, names of metrics.
//!
//! # Invariants
//!
//! * The core does no I/O and reads no clock: bytes in, a [`exchange::Step`] out. Only `filter::host`
//!   names host calls, and only it has `unsafe`.
//! * Nothing panics: invalid bytes from a client, a provider or a file are an error. `unwrap`, `expect`,
//!   `panic!` and unchecked indexing are denied outside tests.
//! * A configuration is checked once, when it is read: code that has a [`gateway::Gateway`]
//!   checks nothing again.
//! * Every byte of a body that no rule changes stays as it was.
//! * What is held for all requests and replies of a VM has one bound, [`budget`].
//! * Secrets are [`secret::Secret`]s, which no `Debug`, error or rendered file shows.

// Leaves: they use only each other.
pub mod base64;
pub mod budget;
pub mod data_uri;
pub mod failure;
pub mod form;
pub mod headers;
pub mod host;
pub mod json;
pub mod moment;
pub mod name;
pub mod pairs;
pub mod patience;
pub mod percent;
pub mod protobuf;
pub mod secret;
pub mod shared;
pub mod sorted;
pub mod sse;

// Meaning: requests, replies, clients and providers.
pub mod api;
pub mod chat;
pub mod contract;
pub mod embed;
pub mod firewall;
pub mod model;
pub mod operation;
pub mod price;
pub mod provider;
pub mod refusal;
pub mod relay;
pub mod usage;

// A gateway and its parts, valid by construction.
pub mod backend;
pub mod catalog;
pub mod endpoint;
pub mod gateway;
pub mod pool;
pub mod rewrite;
pub mod route;
pub mod telemetry;
pub mod token;

// From a configuration to a gateway; and what the gateway does with each request.
pub mod config;
pub mod exchange;

// Entry points: a command natively, a filter in Envoy.
#[cfg(not(target_family = "wasm"))]
pub mod check;
#[cfg(not(target_family = "wasm"))]
pub mod cli;
#[cfg(target_os = "wasi")]
mod filter;
#[cfg(not(target_family = "wasm"))]
pub mod import;
#[cfg(not(target_family = "wasm"))]
pub mod render;

#[cfg(test)]
#[path = "../tests/support/random.rs"]
mod random;
