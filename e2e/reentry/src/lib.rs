//! A filter that makes the host call which the header `x-call` names, in a way that ends the stream: a
//! body grows over the limit of Envoy's buffer, the stream is reset, or a reply is sent where another
//! one is on its way. Envoy then calls the module again inside that host call, or right after it.
//!
//! `e2e/test_reentry.py` runs it; the product does not contain it.

#[cfg(target_os = "wasi")]
mod filter;
