//! The id of a request, by which a client, the log and an operator mean the same one.
//!
//! A client's own `x-request-id` is kept where it is usable, else there is one of ours. Every reply has it
//! in [`REQUEST_ID_HEADER`], and where its provider has sent none also in the header that the client's SDK
//! reads. It does not reach a provider. Of several attempts without an id of the client's, each has one of its
//! own, and the client gets that of the last.

use std::rc::Rc;

use super::Surroundings;
use crate::api::ClientApi;
use crate::contract::telemetry::{REQUEST_ID_HEADER, is_usable_request_id};
use crate::headers::{HeaderEdit, Headers};
use crate::refusal::{LocalReply, Refusal};

/// The id of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// The client's, or one that Envoy has made.
    Given(Rc<str>),
    /// Ours.
    Made(u128),
}

impl Default for RequestId {
    fn default() -> Self {
        Self::Made(0)
    }
}

impl RequestId {
    /// The id of a request with these headers.
    pub fn of(headers: &Headers<'_>, surroundings: &dyn Surroundings) -> Self {
        let given = headers.text(GIVEN_HEADER);
        match given.filter(|id| is_usable_request_id(id.as_bytes())) {
            Some(id) => Self::Given(Rc::from(id)),
            None => Self::Made(surroundings.unique()),
        }
    }

    /// As text.
    pub fn to_text(&self) -> String {
        match self {
            Self::Given(id) => id.to_string(),
            Self::Made(number) => format!("{number:032x}"),
        }
    }

    /// Adds it to the headers of a provider's reply.
    pub fn add_to_headers(
        &self,
        headers: &Headers<'_>,
        api: &dyn ClientApi,
        edits: &mut Vec<HeaderEdit>,
    ) {
        let id = self.to_text();
        let of_sdk = api.request_id_header();
        if headers.get(of_sdk).is_none() {
            edits.push(HeaderEdit::set(of_sdk, id.clone()));
        }
        edits.push(HeaderEdit::set(REQUEST_ID_HEADER, id));
    }

    /// Adds it to a reply of ours.
    pub fn add_to(&self, reply: &mut LocalReply, api: &dyn ClientApi) {
        let has = |reply: &LocalReply, name: &str| reply.headers.iter().any(|(it, _)| it == name);
        for name in [api.request_id_header(), REQUEST_ID_HEADER] {
            if !has(reply, name) {
                reply.headers.push((name.to_owned(), self.to_text()));
            }
        }
    }
}

/// What is known of the client of a stream that is ended from outside.
#[derive(Clone)]
pub struct Caller {
    api: &'static dyn ClientApi,
    id: RequestId,
}

impl Caller {
    pub(super) fn new(api: &'static dyn ClientApi, id: RequestId) -> Self {
        Self { api, id }
    }

    /// What the client gets.
    pub fn reply(&self, refusal: &Refusal) -> LocalReply {
        let mut reply = refusal.reply(self.api);
        self.id.add_to(&mut reply, self.api);
        reply
    }
}

const GIVEN_HEADER: &str = "x-request-id";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::messages::Messages;
    use crate::api::openai::OpenAi;

    #[test]
    fn a_reply_has_the_id_once_and_keeps_the_providers() {
        let id = RequestId::Made(0xab);
        let made = "000000000000000000000000000000ab";
        type Case<'a> = (
            &'a [(&'a [u8], &'a [u8])],
            &'a dyn ClientApi,
            &'a [(&'static str, &'a str)],
        );
        let cases: [Case<'_>; 3] = [
            (
                &[],
                &OpenAi,
                &[("x-request-id", made), (REQUEST_ID_HEADER, made)],
            ),
            (
                &[(b"x-request-id", b"req_1")],
                &OpenAi,
                &[(REQUEST_ID_HEADER, made)],
            ),
            (
                &[(b"x-request-id", b"req_1")],
                &Messages,
                &[("request-id", made), (REQUEST_ID_HEADER, made)],
            ),
        ];
        for (headers, api, expected) in cases {
            let headers = Headers::new(headers.to_vec());
            let mut edits = Vec::new();
            id.add_to_headers(&headers, api, &mut edits);
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, value)| HeaderEdit::set(*name, (*value).to_owned()))
                .collect();
            assert_eq!(edits, expected);
            let mut reply = LocalReply::empty(400).with_headers_of(&headers);
            let count = reply.headers.len();
            id.add_to(&mut reply, api);
            id.add_to(&mut reply, api);
            assert_eq!(reply.headers.len(), count + expected.len());
        }
    }
}
