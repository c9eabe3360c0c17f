//! Probes of the module through an [`Exchange`], natively and as wasm.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[macro_use]
#[path = "support/both_ways.rs"]
mod both_ways;
#[path = "support/host.rs"]
mod host;

use std::rc::Rc;
use std::time::Duration;

use llm_proxy::config::Gateway;
use llm_proxy::exchange::{Exchange, Next};
use llm_proxy::headers::Headers;
use llm_proxy::shared::{Expected, Shared};

use self::host::Host;

/// One minute after the clock of a [`Host`] starts. Unit: nanoseconds since 1970.
const LATER: u64 = 1_700_000_060_000_000_000;

/// A plugin with two backends that get access tokens, and one that needs none.
fn gateway(pools: &str) -> Rc<Gateway> {
    let vertex = |name: &str| {
        format!(
            r#"{{"name":"{name}","type":"google","config":{{"projectId":"p","location":"eu"}}}}"#
        )
    };
    let [one, other] = ["one", "other"].map(vertex);
    let text = format!(
        r#"{{"placement":"upstream","holdHeaders":true,"role":"ready","backends":[{one},{other},
            {{"name":"key","type":"openai","config":{{"apiKey":"k"}}}}{pools}]}}"#
    );
    let environment = |_: &str| None;
    Rc::new(Gateway::parse_plugin(text.as_bytes(), &environment).unwrap())
}

fn give_token(host: &Host, backend: &str) {
    let key = format!("token/of/{backend}");
    assert!(host.set(&key, &LATER.to_le_bytes(), Expected::Anything));
}

/// The status of the reply to a probe, and its body.
fn probe(gateway: &Rc<Gateway>, host: &Host) -> (u16, String) {
    let headers = [(":method", "GET"), (":path", "/ready"), (":authority", "a")];
    let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let mut exchange = Exchange::new(Rc::clone(gateway));
    let step = exchange.request_headers(&Headers::new(headers.to_vec()), true, host);
    match step.next {
        Next::Reply(reply) => (reply.status, reply.body),
        other => panic!("{other:?}"),
    }
}

tests! {
    fn a_gateway_is_ready_when_every_backend_has_its_token() {
        let (gateway, host) = (gateway(""), Host::default());
        let (status, body) = probe(&gateway, &host);
        assert_eq!(status, 503);
        assert!(body.contains("no access token"), "{body}");
        assert!(!body.contains("one"), "a client reads no names of backends: {body}");
        give_token(&host, "one");
        assert_eq!(probe(&gateway, &host).0, 503);
        give_token(&host, "other");
        let ready = (200, r#"{"status":"ready"}"#.to_owned());
        assert_eq!(probe(&gateway, &host), ready);
        host.now.set(Duration::from_secs(120));
        assert_eq!(probe(&gateway, &host).0, 503, "the tokens have ended");
    }

    fn one_member_with_a_token_is_enough_for_a_pool() {
        let pool = r#",{"name":"p","type":"pool","backends":[{"name":"one"},{"name":"other"}]}"#;
        let (gateway, host) = (gateway(pool), Host::default());
        assert_eq!(probe(&gateway, &host).0, 503);
        give_token(&host, "other");
        assert_eq!(probe(&gateway, &host).0, 200);
    }
}
