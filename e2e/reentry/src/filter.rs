//! The filter.

use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::default()))
    }
}

/// A stream, with the call that its request names.
#[derive(Default)]
struct Stream {
    call: String,
    /// Whether a part of a body waits in Envoy's buffer.
    is_waiting: bool,
    done: bool,
}

impl Stream {
    /// Whether the first part of a body waits in Envoy's buffer for a second one.
    fn waits(&mut self, size: usize, ends: bool) -> bool {
        let waits = !ends && size > 0 && !self.is_waiting;
        self.is_waiting |= waits;
        waits
    }

    /// Whether the call named `call` is to be made now, which it is once.
    fn makes(&mut self, call: &str) -> bool {
        let makes = self.call == call && !self.done;
        self.done |= makes;
        makes
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.call = self.get_http_request_header("x-call").unwrap_or_default();
        if self.makes("reply-in-request-headers") {
            self.send_http_response(418, vec![], Some(b"ours"));
            return Action::Pause;
        }
        if self.makes("reset-in-request-headers") {
            self.reset_http_request();
            return Action::Pause;
        }
        if self.makes("call-in-request-headers") {
            // Envoy has no such cluster: the call fails at once.
            let headers = vec![(":method", "GET"), (":path", "/"), (":authority", "x")];
            let _failed = self.dispatch_http_call("no-such-cluster", headers, None, vec![], SECOND);
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        if self.call.contains("request-body") && self.waits(size, ends) {
            return Action::Pause;
        }
        if self.makes("replace-in-request-body") {
            self.set_http_request_body(0, usize::MAX, &vec![b'x'; HUGE]);
        }
        if self.makes("append-in-request-body") {
            self.set_http_request_body(usize::MAX, 0, &vec![b'x'; HUGE]);
        }
        if self.makes("prepend-in-request-body") {
            self.set_http_request_body(0, 0, &vec![b'x'; HUGE]);
        }
        if self.makes("reply-in-request-body") {
            self.send_http_response(418, vec![], Some(b"ours"));
            return Action::Pause;
        }
        if self.makes("reset-in-request-body") {
            self.reset_http_request();
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if self.makes("reply-in-response-headers") {
            self.send_http_response(418, vec![], Some(b"ours"));
            return Action::Pause;
        }
        if self.makes("reset-in-response-headers") {
            self.reset_http_response();
            return Action::Pause;
        }
        if self.call.contains("response-body") && !self.call.contains("started") {
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        if self.call.contains("response-body") && self.waits(size, ends) {
            return Action::Pause;
        }
        if self.makes("replace-in-response-body") || self.makes("replace-in-started-response-body")
        {
            self.set_http_response_body(0, usize::MAX, &vec![b'x'; HUGE]);
        }
        if self.makes("append-in-response-body") {
            self.set_http_response_body(usize::MAX, 0, &vec![b'x'; HUGE]);
        }
        if self.makes("prepend-in-response-body") {
            self.set_http_response_body(0, 0, &vec![b'x'; HUGE]);
        }
        if self.makes("reply-in-response-body") || self.makes("reply-in-started-response-body") {
            self.send_http_response(418, vec![], Some(b"ours"));
            return Action::Pause;
        }
        if self.makes("reset-in-response-body") {
            self.reset_http_response();
            return Action::Pause;
        }
        Action::Continue
    }
}

/// Above the limit that the test sets. Unit: bytes.
const HUGE: usize = 4 << 20;

const SECOND: Duration = Duration::from_secs(1);
