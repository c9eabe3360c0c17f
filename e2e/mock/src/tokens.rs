//! Servers of access tokens: Google's token endpoint, and the metadata server of a machine.
//!
//! The endpoint gives a token for an assertion that a known service account has signed, RS256, with
//! claims that fit; the metadata server to whoever asks as it wants to be asked. Vertex AI takes the
//! tokens that were given, until they end. One that nobody gave it takes as well, where no account is
//! known: then a test brings its own.
//!
//! Sources, read 2026-11-21: <https://developers.google.com/identity/protocols/oauth2/service-account>,
//! <https://docs.cloud.google.com/compute/docs/metadata/querying-metadata>.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Body};
use crate::profile::{Head, Profile, Refusal};

/// Which server of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// `POST /token`.
    Endpoint,
    /// `GET /computeMetadata/v1/instance/service-accounts/default/token`.
    Metadata,
}

/// A service account, as posted to `/accounts`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Who: the claim `iss`. `default`: the account of the machine, which needs no key.
    email: String,
    /// Which key: the header's `kid`.
    #[serde(default)]
    key_id: Option<String>,
    /// DER of an `RSAPublicKey` (PKCS #1), base64.
    #[serde(default)]
    public_key: String,
    /// How long its tokens last. Unit: seconds.
    #[serde(default = "an_hour")]
    expires_in: u64,
}

/// Who gets a token.
#[derive(Clone, Debug)]
pub enum Holder {
    /// A service account.
    Account(Account),
    /// The machine.
    Machine,
}

/// Why there is no token, in the words of RFC 6749.
#[derive(Clone, Debug)]
pub struct Unpaid {
    /// HTTP status.
    pub status: u16,
    error: &'static str,
    /// A sentence.
    pub description: String,
}

/// Accounts and tokens.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    accounts: Vec<Account>,
    given: Vec<(String, Instant)>,
    count: u64,
}

impl Tokens {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds accounts, or changes those with the same email and key.
    pub fn change(&self, accounts: Vec<Account>) {
        let mut known = self.known();
        for account in accounts {
            let same = |it: &Account| it.email == account.email && it.key_id == account.key_id;
            known.accounts.retain(|it| !same(it));
            known.accounts.push(account);
        }
    }

    /// Forgets all.
    pub fn clear(&self) {
        let mut known = self.known();
        known.accounts.clear();
        known.given.clear();
    }

    /// What a provider has against the token of a request, if that is what its keys are.
    ///
    /// # Errors
    ///
    /// 401.
    pub fn refuse(&self, profile: &Profile, head: &Head<'_>) -> Result<(), Refusal> {
        let known = self.known();
        if !profile.takes_tokens || known.accounts.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let bearer = head.values("authorization").next().unwrap_or_default();
        let token = bearer.strip_prefix("Bearer ").unwrap_or_default();
        match known
            .given
            .iter()
            .any(|(it, ends)| it == token && now < *ends)
        {
            true => Ok(()),
            false => Err(Refusal::authentication(
                "Request had invalid authentication credentials. Expected OAuth 2 access token",
            )),
        }
    }

    /// Looks at who asks for a token, and how.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn look(&self, server: Server, head: &Head<'_>, body: &[u8]) -> Result<Holder, Unpaid> {
        match server {
            Server::Endpoint => self.verify(head, body).map(Holder::Account),
            Server::Metadata => {
                let refused = |status, description: &str| {
                    let (error, description) = ("invalid_request", description.to_owned());
                    Unpaid {
                        status,
                        error,
                        description,
                    }
                };
                let path = "/computeMetadata/v1/instance/service-accounts/default/token";
                if (head.method, head.path) != ("GET", path) {
                    return Err(refused(404, "no such path"));
                }
                // > The server refuses requests that have a X-Forwarded-For header.
                if head.values("x-forwarded-for").next().is_some() {
                    return Err(refused(403, "X-Forwarded-For is not allowed"));
                }
                match head.values("metadata-flavor").next() {
                    Some("Google") => Ok(Holder::Machine),
                    _ => Err(refused(403, "Missing Metadata-Flavor:Google header")),
                }
            }
        }
    }

    fn verify(&self, head: &Head<'_>, body: &[u8]) -> Result<Account, Unpaid> {
        let refused = |error, description: &str| Unpaid {
            status: 400,
            error,
            description: description.to_owned(),
        };
        let request = |description| refused("invalid_request", description);
        let grant = |description| refused("invalid_grant", description);
        if (head.method, head.path, head.query) != ("POST", "/token", None) {
            return Err(request("no such path"));
        }
        let form = "application/x-www-form-urlencoded";
        if head.values("content-type").next() != Some(form) {
            return Err(request("the body must be a form"));
        }
        let text = std::str::from_utf8(body).map_err(|_| request("not UTF-8"))?;
        let member = |name: &str| {
            let pair = |pair: &'_ str| {
                pair.split_once('=')
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
            };
            let mut pairs = text.split('&').filter_map(pair);
            pairs.find(|(key, _)| key == name).map(|(_, value)| value)
        };
        let jwt_bearer = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        if member("grant_type").as_deref() != Some(jwt_bearer) {
            return Err(refused("unsupported_grant_type", "Invalid grant_type"));
        }
        let assertion = member("assertion").ok_or_else(|| request("no assertion"))?;
        let (signed, signature) = assertion.rsplit_once('.').ok_or_else(|| grant("no JWT"))?;
        let (header, claims) = signed.split_once('.').ok_or_else(|| grant("no JWT"))?;
        let json = |part: &str| {
            let bytes = URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| grant("not base64url"))?;
            serde_json::from_slice::<Value>(&bytes).map_err(|_| grant("not JSON"))
        };
        let (header, claims) = (json(header)?, json(claims)?);
        if header.get("alg").and_then(Value::as_str) != Some("RS256") {
            return Err(grant("alg must be RS256"));
        }
        let claim = |name: &str| claims.get(name).and_then(Value::as_str);
        let time = |name: &str| claims.get(name).and_then(Value::as_u64);
        let known = self.known();
        let accounts = known
            .accounts
            .iter()
            .filter(|it| claim("iss") == Some(&it.email));
        let account = accounts
            .filter(|it| header.get("kid").and_then(Value::as_str) == it.key_id.as_deref())
            .find(|it| is_signed(it, signed.as_bytes(), signature))
            .ok_or_else(|| grant("Invalid JWT Signature."))?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |it| it.as_secs());
        let (iat, exp) = (time("iat"), time("exp"));
        let is_in_time = iat.zip(exp).is_some_and(|(iat, exp)| {
            iat.abs_diff(now) < 300 && exp > now && exp.saturating_sub(iat) <= 3_600
        });
        if !is_in_time {
            return Err(grant(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
            ));
        }
        if claim("aud") != Some("https://oauth2.googleapis.com/token") {
            return Err(grant("Invalid JWT: Failed audience check."));
        }
        if claim("scope") != Some("https://www.googleapis.com/auth/cloud-platform") {
            return Err(refused(
                "invalid_scope",
                "Invalid OAuth scope or ID token audience provided.",
            ));
        }
        Ok(account.clone())
    }

    /// Gives a token, or says why not.
    pub fn answer(&self, bought: Result<Holder, Unpaid>) -> Answer {
        let holder = match bought {
            Ok(holder) => holder,
            Err(why) => {
                let body = json!({"error": why.error, "error_description": why.description});
                return Answer {
                    status: why.status,
                    content_type: Some("application/json"),
                    body: Body::Whole(Bytes::from(body.to_string())),
                };
            }
        };
        let mut known = self.known();
        let (name, seconds) = match &holder {
            Holder::Account(account) => (account.key_id.as_deref(), account.expires_in),
            Holder::Machine => {
                let machine = known.accounts.iter().find(|it| it.email == "default");
                (
                    Some("machine"),
                    machine.map_or_else(an_hour, |it| it.expires_in),
                )
            }
        };
        let name = name.unwrap_or("unnamed").to_owned();
        known.count += 1;
        // As long as a real one, and with a word in it by which tests find it where it must not be.
        let token = format!("ya29.mock-token-{name}-{}-{}", known.count, "x".repeat(160));
        let ends = Instant::now() + Duration::from_secs(seconds);
        known.given.push((token.clone(), ends));
        Answer::json(&json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer"}))
    }
}

fn is_signed(account: &Account, signed: &[u8], signature: &str) -> bool {
    let (Ok(key), Ok(signature)) = (
        STANDARD.decode(&account.public_key),
        URL_SAFE_NO_PAD.decode(signature),
    ) else {
        return false;
    };
    let algorithm = &ring::signature::RSA_PKCS1_2048_8192_SHA256;
    let key = ring::signature::UnparsedPublicKey::new(algorithm, key);
    key.verify(signed, &signature).is_ok()
}

/// What Google's tokens last. Unit: seconds.
fn an_hour() -> u64 {
    3_599
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and the word with which a request for a token is refused.
    fn refused(
        server: Server,
        head: (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<(u16, &'static str)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Vec<(String, String)> = headers.iter().map(owned).collect();
        let head = Head {
            method: head.0,
            authority: "a",
            path: head.1,
            query: None,
            headers: &headers,
        };
        let looked = Tokens::default().look(server, &head, body.as_bytes());
        looked.err().map(|why| (why.status, why.error))
    }

    #[test]
    fn the_metadata_server_wants_to_be_asked_rightly() {
        let path = "/computeMetadata/v1/instance/service-accounts/default/token";
        let flavor = ("metadata-flavor", "Google");
        let look = |method, path, headers: &[(&str, &str)]| {
            refused(Server::Metadata, (method, path), headers, "").map(|it| it.0)
        };
        assert_eq!(look("GET", path, &[flavor]), None);
        assert_eq!(look("GET", path, &[]), Some(403));
        assert_eq!(
            look("GET", path, &[flavor, ("x-forwarded-for", "1.2.3.4")]),
            Some(403)
        );
        assert_eq!(look("POST", path, &[flavor]), Some(404));
        assert_eq!(look("GET", "/", &[flavor]), Some(404));
    }

    #[test]
    fn the_endpoint_takes_only_what_an_account_has_signed() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
        let look = |headers: &[(&str, &str)], body: &str| {
            refused(Server::Endpoint, ("POST", "/token"), headers, body).map(|it| it.1)
        };
        assert_eq!(look(&[], ""), Some("invalid_request"));
        assert_eq!(
            look(&[form], "grant_type=x"),
            Some("unsupported_grant_type")
        );
        // {"alg":"none"}, {"alg":"RS256"} and {"iss":"a"}
        for assertion in [
            "",
            "a.b.c",
            "eyJhbGciOiJub25lIn0.e30.",
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.x",
        ] {
            let body = format!("{grant}{assertion}");
            assert_eq!(look(&[form], &body), Some("invalid_grant"), "{assertion}");
        }
    }
}
