//! Access tokens: whoever has none yet gets one, and a new one in time.
//!
//! Some providers take no API key but a token that lasts an hour, which a credential buys from
//! another server. The module buys it in its root context, besides requests, and shares it with all
//! workers:
//!
//! ```text
//!               tick ──► Keeper ──claims──► shared data ◄──reads── Source::current ◄── request
//!                          │  ▲                  ▲
//!                     Call ▼  │ Answer           │ token, or why there is none
//!               token endpoint, metadata server ─┘
//! ```
//!
//! Nothing here makes a call or reads a clock: [`Keeper::tick`] says which [`Call`] to make.
//!
//! # Invariants
//!
//! * Of all workers one fetches at a time: it has claimed to, by comparing and setting. A claim
//!   ends by itself, so a worker that dies takes nothing with it.
//! * While a new token is fetched, and while that fails, requests go on with the old one until it
//!   ends.
//! * What is shared goes by a digest of the whole credential: another key never gets this one's
//!   token.
//! * Neither tokens nor keys are in an error, a log line or a `Debug` output.

mod answer;
mod record;
mod service_account;

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};

pub use self::answer::Answer;
use self::record::{Fresh, Record};
pub use self::service_account::{ServiceAccount, Signer};
use crate::endpoint::Endpoint;
use crate::moment::Moment;
use crate::secret::Secret;
use crate::shared::{Expected, Shared};

/// Where a backend's tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    backend: String,
    credential: Credential,
    endpoint: Endpoint,
    /// Where the token is shared: `token/DIGEST`.
    key: String,
}

/// What a token is got for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// That the proxy runs on a machine of Google Cloud, which has a metadata server.
    MetadataServer,
    /// The key of a service account.
    ServiceAccount(ServiceAccount),
}

/// A call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The name of the cluster that leads to the server.
    pub cluster: String,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Empty: there is none. What it has authenticates.
    pub body: Secret,
    /// How long to wait for the whole reply.
    pub timeout: Duration,
}

/// What came of an attempt, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a new token, for this long.
    Fetched(Duration),
    /// There is none, for this reason; the next attempt comes after this time.
    Failed(String, Duration),
}

impl Source {
    /// Tokens for `backend`. `endpoint` has as its base path the path of the call.
    pub fn new(backend: &str, credential: Credential, endpoint: Endpoint) -> Self {
        let mut digest = Sha256::new();
        let mut add = |part: &str| {
            // With its length, so that no two lists of parts look alike.
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        };
        match &credential {
            Credential::MetadataServer => add("metadata"),
            Credential::ServiceAccount(account) => account.parts().iter().for_each(|it| add(it)),
        }
        add(if endpoint.is_tls { "https" } else { "http" });
        add(&endpoint.authority);
        add(&endpoint.base_path);
        let mut key = "token/".to_owned();
        for byte in digest.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(key, "{byte:02x}");
        }
        Self {
            backend: backend.to_owned(),
            credential,
            endpoint,
            key,
        }
    }

    /// The server that is asked for tokens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The name of the cluster that leads to it: `llm-token/oauth2.googleapis.com:443`.
    pub fn cluster(&self) -> String {
        format!("llm-token/{}", self.endpoint.address)
    }

    /// The token for a request at this moment.
    ///
    /// # Errors
    ///
    /// Why there is none: lower case, no final period, without secrets.
    pub fn current(&self, shared: &dyn Shared, now: Moment) -> Result<Secret, String> {
        let record = Record::read(shared, &self.key).0;
        if let Some(fresh) = record.token.filter(|token| token.is_alive(now)) {
            return Ok(fresh.token);
        }
        let reason = match record.reason.is_empty() {
            true => "the first one is being fetched",
            false => &record.reason,
        };
        Err(format!("no access token for this backend yet: {reason}"))
    }
}

/// Whether a backend whose requests need a token has one.
///
/// This is for who chooses among backends; it can be asked without the backend's credential.
pub fn has_token(shared: &dyn Shared, backend: &str, now: Moment) -> bool {
    let ends = shared.get(&ends_key(backend));
    let ends = ends.and_then(|(ends, _)| Some(u64::from_le_bytes(*ends.first_chunk()?)));
    ends.is_some_and(|ends| Moment::from_nanos(ends).is_ahead_of(now, MAX_LIFE))
}

/// Where it is shared until when a backend has a token.
fn ends_key(backend: &str) -> String {
    format!("token/of/{backend}")
}

/// Keeps the token of a source fresh. Every worker has one for every source.
#[derive(Debug)]
pub struct Keeper {
    source: Rc<Source>,
    /// How long the next tick may take.
    period: Duration,
    /// What [`has_token`] has been told.
    told: Option<Moment>,
}

impl Keeper {
    /// A keeper that knows of no token.
    pub fn new(source: Rc<Source>) -> Self {
        Self {
            source,
            period: FIRST_PERIOD,
            told: None,
        }
    }

    /// How long the next [`Keeper::tick`] may take.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The call to make now, if it is time, and this worker's turn.
    ///
    /// # Errors
    ///
    /// Where it is time, but there is no call: the key cannot sign.
    pub fn tick(
        &mut self,
        now: Moment,
        shared: &dyn Shared,
        signer: &dyn Signer,
    ) -> Result<Option<Call>, Outcome> {
        let (record, version) = Record::read(shared, &self.source.key);
        self.tell(&record, shared);
        self.period = match &record.token {
            Some(token) if token.is_alive(now) => {
                token.renews.since(now).clamp(SHORT_PERIOD, LONG_PERIOD)
            }
            _ => SHORT_PERIOD,
        };
        let is_fresh = record.token.as_ref();
        let is_fresh = is_fresh.is_some_and(|it| it.is_alive(now) && now < it.renews);
        if is_fresh
            || record.next.is_ahead_of(now, MAX_PAUSE)
            || record.claim.is_ahead_of(now, CLAIM)
        {
            return Ok(None);
        }
        let claimed = Record {
            claim: now.after(CLAIM),
            ..record
        };
        let expected = version.map_or(Expected::Absent, Expected::Version);
        if !shared.set(&self.source.key, &claimed.encode(), expected) {
            // Another worker was faster.
            return Ok(None);
        }
        match self.source.call(now, signer) {
            Ok(call) => Ok(Some(call)),
            Err(reason) => Err(self.failed(reason, now, shared)),
        }
    }

    /// The call has ended.
    pub fn ended(&mut self, answer: &Answer<'_>, now: Moment, shared: &dyn Shared) -> Outcome {
        let host = &self.source.endpoint.authority;
        let (token, lasts) = match answer.read() {
            Ok(fresh) => fresh,
            Err(reason) => return self.failed(format!("{host} {reason}"), now, shared),
        };
        // Some earlier than told, since requests are on their way for a while. Ahead of that, so
        // that there is time to fetch another; with a spread, so that proxies that were started
        // together do not ask together.
        let lives = lasts - (lasts / 20).min(MARGIN);
        let renews = lasts.mul_f64(0.8 - 0.05 * spread(now));
        let record = Record {
            token: Some(Fresh {
                token,
                ends: now.after(lives),
                renews: now.after(renews),
            }),
            next: now.after(MIN_PAUSE),
            ..Record::default()
        };
        shared.set(&self.source.key, &record.encode(), Expected::Anything);
        self.tell(&record, shared);
        self.period = SHORT_PERIOD;
        Outcome::Fetched(lasts)
    }

    /// Notes a failure, unless another worker has had success meanwhile.
    fn failed(&mut self, reason: String, now: Moment, shared: &dyn Shared) -> Outcome {
        let mut pause = MIN_PAUSE;
        for _ in 0..MAX_RACES {
            let (record, version) = Record::read(shared, &self.source.key);
            let doubled = MIN_PAUSE.saturating_mul(1 << record.failures.min(10));
            pause = doubled.min(MAX_PAUSE).mul_f64(1.0 - 0.2 * spread(now));
            let noted = Record {
                claim: Moment::NEVER,
                failures: record.failures.saturating_add(1),
                next: now.after(pause),
                reason: reason.clone(),
                ..record
            };
            let expected = version.map_or(Expected::Absent, Expected::Version);
            if shared.set(&self.source.key, &noted.encode(), expected) {
                break;
            }
        }
        Outcome::Failed(reason, pause)
    }

    /// Tells [`has_token`], where it does not know.
    fn tell(&mut self, record: &Record, shared: &dyn Shared) {
        let ends = record
            .token
            .as_ref()
            .map_or(Moment::NEVER, |token| token.ends);
        if self.told != Some(ends) {
            self.told = Some(ends);
            let key = ends_key(&self.source.backend);
            shared.set(&key, &ends.as_nanos().to_le_bytes(), Expected::Anything);
        }
    }
}

impl Source {
    /// The call that gets a token.
    fn call(&self, now: Moment, signer: &dyn Signer) -> Result<Call, String> {
        let mut headers = vec![
            (":path", self.endpoint.base_path.clone()),
            (":authority", self.endpoint.authority.to_string()),
            ("accept", "application/json".to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
        ];
        let body = match &self.credential {
            Credential::MetadataServer => {
                headers.push((":method", "GET".to_owned()));
                // > you must provide the following header in all requests: Metadata-Flavor: Google
                // https://docs.cloud.google.com/compute/docs/metadata/querying-metadata, read 2026-11-21
                headers.push(("metadata-flavor", "Google".to_owned()));
                String::new()
            }
            Credential::ServiceAccount(account) => {
                headers.push((":method", "POST".to_owned()));
                let form = "application/x-www-form-urlencoded".to_owned();
                headers.push(("content-type", form));
                account.form(now, signer)?
            }
        };
        Ok(Call {
            cluster: self.cluster(),
            headers,
            body: Secret::new(body),
            timeout: CALL_TIMEOUT,
        })
    }
}

impl Fresh {
    /// Whether requests can go out with it.
    fn is_alive(&self, now: Moment) -> bool {
        self.ends.is_ahead_of(now, MAX_LIFE)
    }
}

/// A number from 0 to 1 that differs from one moment to the next.
fn spread(now: Moment) -> f64 {
    // The lowest digits of a clock in microseconds or nanoseconds.
    f64::from(u32::try_from(now.as_nanos() / 1_000 % 1_000).unwrap_or_default()) / 1_000.0
}

const USER_AGENT: &str = concat!("llm-proxy/", env!("CARGO_PKG_VERSION"));

/// After the configuration was taken.
const FIRST_PERIOD: Duration = Duration::from_millis(20);
/// While there is no token, or a new one is being fetched.
const SHORT_PERIOD: Duration = Duration::from_millis(250);
/// While there is one.
const LONG_PERIOD: Duration = Duration::from_secs(5);

/// The reply is small, and the server is fast or down.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a call: whoever has claimed is done by then, or gone.
const CLAIM: Duration = Duration::from_secs(15);
/// Between two attempts, at least.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// Between two attempts, at most, however many have failed.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// No token is used for longer, whatever its server says. One that seems to last longer was
/// written before somebody set the clock back.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How much earlier than told a token is taken to end, at most.
const MARGIN: Duration = Duration::from_secs(30);
/// How often a failure is written anew because another worker writes, too.
const MAX_RACES: u32 = 8;

#[cfg(test)]
mod tests;
