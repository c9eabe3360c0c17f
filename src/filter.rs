//! The module as Envoy sees it: contexts that hand what arrives to an [`Exchange`] and apply what
//! it says. Nothing is decided here.

pub mod host;

use std::cell::OnceCell;
use std::rc::Rc;

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use self::host::{Buffer, HeaderMap};
use crate::config::Gateway;
use crate::exchange::{BodyChange, Exchange, Next, Step, Surroundings};
use crate::headers::{HeaderEdit, Headers};
use crate::json;
use crate::pairs;
use crate::refusal::{LocalReply, Refusal};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { gateway: None }));
}}

/// One plugin: a configuration, and the requests that it makes contexts for.
struct Root {
    gateway: Option<Rc<Gateway>>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let text = host::buffer(Buffer::PluginConfiguration, 0, usize::MAX);
        match Gateway::parse_plugin(&text, &host::environment_variable) {
            Ok(gateway) => {
                self.gateway = Some(Rc::new(gateway));
                true
            }
            Err(errors) => {
                for error in errors.iter() {
                    error!("configuration: {error}");
                }
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let exchange = self
            .gateway
            .as_ref()
            .map(|gateway| Exchange::new(Rc::clone(gateway)));
        Some(Box::new(Stream { exchange }))
    }
}

/// One request, or one attempt of it in the upstream placement.
struct Stream {
    /// `None` only where no configuration was taken, and then Envoy sends no requests.
    exchange: Option<Exchange>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, ends: bool) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        let list = host::header_list(HeaderMap::Request);
        let headers = Headers::new(pairs::decode(&list).unwrap_or_default());
        let step = exchange.request_headers(&headers, ends, &Host);
        apply_headers(HeaderMap::Request, &step.headers);
        go_on(step)
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        let arrived = OnceCell::new();
        let step = exchange.request_body(size, ends, |from| {
            let read = || {
                (
                    from,
                    host::buffer(Buffer::RequestBody, from, size - from.min(size)),
                )
            };
            let (_, bytes) = arrived.get_or_init(read);
            bytes.as_slice()
        });
        apply_headers(HeaderMap::Request, &step.headers);
        match &step.body {
            BodyChange::Keep => {}
            BodyChange::Replace(bytes) => host::replace(Buffer::RequestBody, bytes),
            BodyChange::Splice(splices) => {
                let all = match arrived.into_inner() {
                    Some((0, bytes)) => bytes,
                    _ => host::buffer(Buffer::RequestBody, 0, size),
                };
                let Ok(pieces) = json::pieces(&all, 0, splices) else {
                    error!("request body: the edits do not fit it; this is a defect");
                    let refusal = Refusal::Gateway("the body was not edited");
                    host::reply(&LocalReply::from(&refusal));
                    return Action::Pause;
                };
                host::replace_with_pieces(Buffer::RequestBody, &pieces);
            }
        }
        go_on(step)
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        match &mut self.exchange {
            Some(exchange) => go_on(exchange.request_trailers()),
            None => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _: usize, ends: bool) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        let list = host::header_list(HeaderMap::Response);
        let headers = Headers::new(pairs::decode(&list).unwrap_or_default());
        let step = exchange.reply_headers(&headers, ends, &Host);
        apply_headers(HeaderMap::Response, &step.headers);
        go_on(step)
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        let Some(exchange) = &mut self.exchange else {
            return Action::Continue;
        };
        let read = || host::buffer(Buffer::ResponseBody, 0, size);
        let step = exchange.reply_body(size, ends, read);
        apply_headers(HeaderMap::Response, &step.headers);
        if let BodyChange::Replace(bytes) = &step.body {
            host::replace(Buffer::ResponseBody, bytes);
        }
        go_on(step)
    }
}

fn apply_headers(map: HeaderMap, edits: &[HeaderEdit]) {
    for edit in edits {
        match edit {
            HeaderEdit::Remove(name) => host::remove_header(map, name.as_str()),
            HeaderEdit::Set(name, value) => host::set_header(map, name.as_str(), value.as_str()),
        }
    }
}

fn go_on(step: Step) -> Action {
    match step.next {
        Next::Continue => Action::Continue,
        Next::Hold => Action::Pause,
        Next::Reply(reply) => {
            host::reply(&reply);
            Action::Pause
        }
    }
}

/// What Envoy can be asked about the request at hand.
struct Host;

impl Surroundings for Host {
    fn route_metadata(&self) -> Option<Vec<u8>> {
        host::property(&[
            "xds",
            "route_metadata",
            "filter_metadata",
            METADATA_NAMESPACE,
        ])
    }

    fn backend_name(&self) -> Option<String> {
        let named = |source| {
            let path = [
                "xds",
                source,
                "filter_metadata",
                METADATA_NAMESPACE,
                "backend",
            ];
            host::property(&path).and_then(|bytes| String::from_utf8(bytes).ok())
        };
        named("upstream_host_metadata").or_else(|| named("cluster_metadata"))
    }

    fn attempt(&self) -> Option<u64> {
        let bytes = host::property(&["upstream", "request_attempt_count"])?;
        bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn now(&self) -> u64 {
        host::now()
    }

    fn kept(&self) -> Option<Vec<u8>> {
        host::property(&[KEPT])
    }

    fn keep(&self, bytes: &[u8]) {
        host::set_property(&[KEPT], bytes);
    }
}

/// The namespace of our metadata in Envoy's configuration.
const METADATA_NAMESPACE: &str = "llm-proxy";

/// The name of what an attempt keeps for the next one, in Envoy's filter state.
const KEPT: &str = "llm-proxy.original";
