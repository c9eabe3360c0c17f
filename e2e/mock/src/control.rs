//! The control API, through which tests read what arrived and prescribe what is answered.
//!
//! | call | effect |
//! | --- | --- |
//! | `GET /requests` | the requests, oldest first; `?at_least=N` waits until there are so many; `?bodies=false` leaves `body_base64` out |
//! | `GET /requests/ID` | one request; `?until=body`, `reply` or `end` waits until its body is complete, its reply has begun, or nothing more will happen |
//! | `DELETE /requests` | forgets them |
//! | `GET /connections` | how many connections there were, and each one |
//! | `POST /replies` | appends a list of scripted replies |
//! | `GET /replies` | how many are left |
//! | `DELETE /replies` | forgets them |
//! | `POST /says` | appends a list of answers that every dialect writes in its own form |
//! | `GET /says` | how many are left |
//! | `DELETE /says` | forgets them |
//! | `POST /gates/NAME` | opens a gate |
//! | `POST /profiles` | changes or adds providers (a list) |
//! | `POST /accounts` | adds service accounts that can buy access tokens, or changes them (a list) |
//! | `DELETE /accounts` | forgets them, and the tokens that were given |
//! | `POST /reset` | forgets everything but accounts and tokens, and closes all gates after letting through who waits |
//! | `GET /ca` | the certificate to trust, PEM |

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::exchange::{State, header_map};
use crate::profile::Change;
use crate::record;
use crate::says::Saying;
use crate::script::Reply;
use crate::tokens::Account;

/// Serves one call of the control API.
///
/// # Errors
///
/// Never; the type is what hyper asks for.
pub async fn serve(
    state: Arc<State>,
    ca_pem: Arc<str>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if (&parts.method, path.as_str()) == (&Method::GET, "/ca") {
        return Ok(text(
            StatusCode::OK,
            "application/x-pem-file",
            ca_pem.to_string(),
        ));
    }
    let result = match body.collect().await {
        Ok(body) => {
            let query = Query(parts.uri.query().unwrap_or_default());
            call(&state, &parts.method, &path, &query, &body.to_bytes()).await
        }
        Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string())),
    };
    let (status, value) = match result {
        Ok(value) => (StatusCode::OK, value),
        Err((status, message)) => (status, json!({"error": message})),
    };
    Ok(text(status, "application/json", value.to_string()))
}

type Failure = (StatusCode, String);

async fn call(
    state: &State,
    method: &Method,
    path: &str,
    query: &Query<'_>,
    body: &[u8],
) -> Result<Value, Failure> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["requests"]) => {
            let at_least = query.number("at_least")?;
            let with_bodies = query.get("bodies") != Some("false");
            Ok(state.recorder.requests(at_least, with_bodies).await)
        }
        ("GET", ["requests", id]) => request(state, id, query.get("until")).await,
        ("DELETE", ["requests"]) => {
            state.recorder.clear();
            Ok(json!({}))
        }
        ("GET", ["connections"]) => Ok(state.recorder.connections()),
        ("POST", ["replies"]) => {
            let replies: Vec<Reply> = parse(body)?;
            for reply in &replies {
                check(reply).map_err(|message| (StatusCode::BAD_REQUEST, message))?;
            }
            state.script.append(replies);
            Ok(json!({"remaining": state.script.remaining()}))
        }
        ("GET", ["replies"]) => Ok(json!({"remaining": state.script.remaining()})),
        ("DELETE", ["replies"]) => {
            state.script.clear();
            Ok(json!({}))
        }
        ("POST", ["says"]) => {
            let sayings: Vec<Saying> = parse(body)?;
            state.says.append(sayings);
            Ok(json!({"remaining": state.says.remaining()}))
        }
        ("GET", ["says"]) => Ok(json!({"remaining": state.says.remaining()})),
        ("DELETE", ["says"]) => {
            state.says.clear();
            Ok(json!({}))
        }
        ("POST", ["gates", gate]) => {
            state.script.open(gate);
            Ok(json!({}))
        }
        ("POST", ["profiles"]) => {
            let changes: Vec<Change> = parse(body)?;
            changes
                .into_iter()
                .for_each(|change| state.profiles.change(change));
            Ok(json!({}))
        }
        ("POST", ["accounts"]) => {
            let accounts: Vec<Account> = parse(body)?;
            state.tokens.change(accounts);
            Ok(json!({}))
        }
        ("DELETE", ["accounts"]) => {
            state.tokens.clear();
            Ok(json!({}))
        }
        ("POST", ["reset"]) => {
            state.script.reset();
            state.says.clear();
            state.recorder.clear();
            state.profiles.reset();
            state.files.clear();
            Ok(json!({}))
        }
        _ => Err((
            StatusCode::NOT_FOUND,
            format!("no such call: {method} {path}"),
        )),
    }
}

async fn request(state: &State, id: &str, until: Option<&str>) -> Result<Value, Failure> {
    let until: fn(&record::Request) -> bool = match until {
        None => |_| true,
        Some("body") => |request| request.body_complete || request.ended,
        Some("reply") => |request| request.status.is_some() || request.ended,
        Some("end") => |request| request.ended,
        Some(other) => {
            let message = format!("until={other} is not one of body, reply, end");
            return Err((StatusCode::BAD_REQUEST, message));
        }
    };
    let found = match id.parse() {
        Ok(id) => state.recorder.request(id, until).await,
        Err(_not_a_number) => None,
    };
    found.ok_or_else(|| (StatusCode::NOT_FOUND, format!("no request {id}")))
}

/// What a reply must be for hyper to send it.
fn check(reply: &Reply) -> Result<(), String> {
    header_map(&reply.headers).map_err(|error| format!("headers: {error}"))?;
    if !(200..=599).contains(&reply.status) {
        return Err(format!(
            "status {} is not in the range 200..=599",
            reply.status
        ));
    }
    let bodies = [
        reply.body.is_some(),
        reply.body_base64.is_some(),
        reply.chunks.is_some(),
    ];
    if bodies.into_iter().filter(|given| *given).count() > 1 {
        return Err("more than one of body, body_base64 and chunks".to_owned());
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, Failure> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A query of plain words, without escapes.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|pair| pair.0 == name))
            .map(|pair| pair.1)
    }

    fn number(&self, name: &str) -> Result<usize, Failure> {
        self.get(name)
            .map_or(Ok(0), str::parse)
            .map_err(|error| (StatusCode::BAD_REQUEST, format!("{name}: {error}")))
    }
}
