//! Gets access tokens, besides requests, for the backends that need them.

use std::time::Duration;

use log::{info, warn};

use super::host::{self, Buffer, HeaderMap};
use super::{Errand, Host, telemetry};
use crate::backend::Auth;
use crate::contract::telemetry::{TAG_BACKEND, TAG_REASON, TOKEN_FETCHES};
use crate::exchange::report::tags;
use crate::gateway::Gateway;
use crate::headers::Headers;
use crate::protobuf::{self, Field, Message};
use crate::token::{Answer, Call, Keeper, Outcome, Signer};

/// The tokens of all backends of a gateway.
pub struct Tokens(Vec<Kept>);

/// The tokens of one backend.
struct Kept {
    /// For the log.
    backend: String,
    keeper: Keeper,
    /// The last call of this worker, until it has ended. One that never does is left behind when its
    /// claim ends.
    call: Option<u32>,
}

impl Tokens {
    /// Those of this gateway, if it needs any.
    pub fn of(gateway: &Gateway) -> Option<Self> {
        let kept = gateway.backends.iter().filter_map(|backend| {
            let Auth::Token(_, source) = &backend.auth else {
                return None;
            };
            Some(Kept {
                backend: backend.name.to_string(),
                keeper: Keeper::new(source.clone()),
                call: None,
            })
        });
        let kept: Vec<Kept> = kept.collect();
        (!kept.is_empty()).then_some(Self(kept))
    }
}

impl Errand for Tokens {
    fn period(&self) -> Option<Duration> {
        self.0.iter().map(|kept| kept.keeper.period()).min()
    }

    fn tick(&mut self) {
        for kept in &mut self.0 {
            kept.tick();
        }
    }

    fn call_ended(&mut self, call: u32) -> bool {
        let Some(kept) = self.0.iter_mut().find(|kept| kept.call == Some(call)) else {
            return false;
        };
        kept.call = None;
        let headers = host::header_list(HeaderMap::CallReply);
        let headers = Headers::of_list(&headers);
        let status = headers.text(":status").and_then(|it| it.parse().ok());
        let body = host::buffer(Buffer::CallReplyBody, 0, MAX_BODY_BYTES);
        let body = &body;
        kept.ended(&status.map_or(Answer::Silence, |status| Answer::Reply { status, body }));
        true
    }
}

impl Kept {
    fn tick(&mut self) {
        if self.call.is_some() {
            return;
        }
        let host = Host::default();
        match self.keeper.tick(host::now(), &host, &host) {
            Ok(None) => {}
            Ok(Some(call)) => {
                self.call = start(&call);
                if self.call.is_none() {
                    self.ended(&Answer::NotCalled);
                }
            }
            Err(outcome) => self.say(&outcome),
        }
    }

    fn ended(&mut self, answer: &Answer<'_>) {
        let outcome = self.keeper.ended(answer, host::now(), &Host::default());
        self.say(&outcome);
    }

    fn count(&self, reason: &str) {
        let tags = tags(&[(TAG_BACKEND, &self.backend), (TAG_REASON, reason)]);
        telemetry::count(&TOKEN_FETCHES, &tags);
    }

    fn say(&self, outcome: &Outcome) {
        let backend = &self.backend;
        match outcome {
            Outcome::Fetched(lasts) => {
                self.count("ok");
                let lasts = lasts.as_secs();
                info!("backend {backend}: got an access token for {lasts} s");
            }
            Outcome::Failed(reason, pause) => {
                self.count("error");
                let pause = pause.as_secs_f64();
                warn!("backend {backend}: no access token: {reason}; trying again in {pause:.1} s");
            }
        }
    }
}

fn start(call: &Call) -> Option<u32> {
    let headers = call.headers.iter().map(|(name, value)| (*name, &**value));
    let body = call.body.expose();
    host::call(
        &call.cluster,
        headers.collect(),
        body.as_bytes(),
        call.timeout,
    )
}

/// Envoy's foreign function `sign`, from 1.37 on.
///
/// Shape: a protobuf message of hash function, key as DER, text, key as PEM; the reply has whether
/// it was done, the signature, and why not.
impl Signer for Host {
    fn sign(&self, key: &str, text: &[u8]) -> Result<Vec<u8>, String> {
        let mut message = Vec::with_capacity(key.len() + text.len() + 32);
        for (number, bytes) in [(1, &b"sha256"[..]), (3, text), (4, key.as_bytes())] {
            protobuf::write_bytes(&mut message, number, bytes);
        }
        let reply = host::call_foreign_function("sign", &message);
        let reply = reply.ok_or_else(|| "this Envoy cannot sign, 1.37 and later can".to_owned())?;
        let signature = field(&reply, 2).unwrap_or_default();
        match signature.is_empty() {
            // What Envoy says against a key quotes nothing of it.
            true => Err(field(&reply, 3)
                .map(|why| {
                    String::from_utf8_lossy(why)
                        .trim_end_matches('.')
                        .to_owned()
                })
                .filter(|why| !why.is_empty())
                .unwrap_or_else(|| "Envoy does not say why".to_owned())),
            false => Ok(signature.to_vec()),
        }
    }
}

/// The first field of bytes with this number.
fn field(message: &[u8], wanted: u64) -> Option<&[u8]> {
    let mut message = Message(message);
    while let Some(field) = message.next()? {
        match field {
            (number, Field::Bytes(bytes)) if number == wanted => return Some(bytes),
            _ => {}
        }
    }
    None
}

/// A reply with a token has some kilobytes.
const MAX_BODY_BYTES: usize = 64 << 10;
