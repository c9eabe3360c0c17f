//! Several workers, one shared memory, a clock that is set by hand.

use std::cell::{Cell, RefCell};

use super::*;
use crate::shared::Memory;

/// A signer whose signature is the key and what it signs.
struct Sign(RefCell<Vec<String>>);

impl Signer for Sign {
    fn sign(&self, key: &str, text: &[u8]) -> Result<Vec<u8>, String> {
        if key.contains("bad") {
            return Err("no".to_owned());
        }
        self.0
            .borrow_mut()
            .push(String::from_utf8_lossy(text).into_owned());
        Ok(b"signature".to_vec())
    }
}

fn account(key: &str) -> Credential {
    let text = format!(
        r#"{{"client_email":"a@b","private_key_id":"k1","private_key":"-----BEGIN {key}"}}"#
    );
    Credential::ServiceAccount(ServiceAccount::parse(&text).unwrap())
}

fn source(credential: Credential) -> Rc<Source> {
    let endpoint = Endpoint::parse("https://token.example/token", "").unwrap();
    Rc::new(Source::new("vertex", credential, endpoint))
}

/// Workers of one process.
struct World {
    now: Cell<Moment>,
    shared: Memory,
    signer: Sign,
    source: Rc<Source>,
    workers: RefCell<Vec<Keeper>>,
}

impl World {
    fn new(credential: Credential) -> Self {
        let source = source(credential);
        let keeper = || Keeper::new(Rc::clone(&source));
        Self {
            now: Cell::new(Moment::from_nanos(1_700_000_000_000_000_000)),
            shared: Memory::default(),
            signer: Sign(RefCell::default()),
            workers: RefCell::new(vec![keeper(), keeper(), keeper()]),
            source,
        }
    }

    fn pass(&self, seconds: f64) {
        self.now
            .set(self.now.get().after(Duration::from_secs_f64(seconds)));
    }

    /// Ticks every worker, and gives those that are to call.
    fn tick(&self) -> Vec<(usize, Call)> {
        let mut calls = Vec::new();
        for (index, worker) in self.workers.borrow_mut().iter_mut().enumerate() {
            let call = worker.tick(self.now.get(), &self.shared, &self.signer);
            calls.extend(call.unwrap().map(|call| (index, call)));
        }
        calls
    }

    fn answer(&self, worker: usize, status: u16, body: &str) -> Outcome {
        let body = body.as_bytes();
        let answer = Answer::Reply { status, body };
        self.workers.borrow_mut()[worker].ended(&answer, self.now.get(), &self.shared)
    }

    fn current(&self) -> Result<String, String> {
        let token = self.source.current(&self.shared, self.now.get())?;
        Ok(token.expose().to_string())
    }

    fn has_token(&self) -> bool {
        has_token(&self.shared, "vertex", self.now.get())
    }
}

const HOUR: &str = r#"{"access_token":"first","expires_in":3600}"#;

#[test]
fn one_worker_fetches_and_all_have_the_token() {
    let world = World::new(account("key"));
    assert!(!world.has_token());
    assert!(world.current().unwrap_err().contains("being fetched"));
    let calls = world.tick();
    let [(0, call)] = calls.as_slice() else {
        panic!("{calls:?}");
    };
    assert_eq!(call.cluster, "llm-token/token.example:443");
    assert!(
        call.headers
            .contains(&(":authority", "token.example".to_owned()))
    );
    assert!(call.headers.contains(&(":path", "/token".to_owned())));
    assert!(!format!("{call:?}").contains("assertion"), "{call:?}");
    let body = call.body.expose();
    let assertion = body.strip_prefix(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=",
    );
    let signed = world.signer.0.borrow()[0].clone();
    let signature = base64_of("signature");
    assert_eq!(assertion, Some(&*format!("{signed}.{signature}")));
    let header = base64_of(r#"{"alg":"RS256","typ":"JWT","kid":"k1"}"#);
    let claims = base64_of(
        r#"{"iss":"a@b","scope":"https://www.googleapis.com/auth/cloud-platform","aud":"https://oauth2.googleapis.com/token","iat":1700000000,"exp":1700003600}"#,
    );
    assert_eq!(signed, format!("{header}.{claims}"));
    assert!(world.tick().is_empty(), "the others wait");
    assert_eq!(
        world.answer(0, 200, HOUR),
        Outcome::Fetched(Duration::from_secs(3600))
    );
    assert_eq!(world.current().as_deref(), Ok("first"));
    assert!(world.has_token());
    assert!(world.tick().is_empty());
}

fn base64_of(text: &str) -> String {
    crate::base64::encode_url(text.as_bytes())
}

#[test]
fn a_token_is_renewed_ahead_while_the_old_one_serves() {
    let world = World::new(Credential::MetadataServer);
    let (worker, call) = world.tick().pop().unwrap();
    assert!(
        call.headers
            .contains(&("metadata-flavor", "Google".to_owned()))
    );
    assert!(call.headers.contains(&(":method", "GET".to_owned())));
    assert_eq!(call.body, Secret::new(""));
    world.answer(worker, 200, HOUR);
    world.pass(2600.0);
    assert!(world.tick().is_empty(), "before 75 % of its life");
    world.pass(300.0);
    let calls = world.tick();
    assert_eq!(calls.len(), 1, "after 80 % of its life one worker fetches");
    assert_eq!(world.current().as_deref(), Ok("first"));
    world.answer(
        calls[0].0,
        200,
        r#"{"access_token":"second","expires_in":3600}"#,
    );
    assert_eq!(world.current().as_deref(), Ok("second"));
    assert!(world.tick().is_empty());
}

#[test]
fn failures_are_told_and_tried_again_ever_later() {
    let world = World::new(account("key"));
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let calls = world.tick();
        assert_eq!(calls.len(), 1);
        let failed = world.answer(calls[0].0, 400, r#"{"error":"invalid_grant"}"#);
        let Outcome::Failed(reason, pause) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!(reason, "token.example answered 400: invalid_grant");
        assert!(world.current().unwrap_err().ends_with(&reason));
        assert!(world.tick().is_empty(), "not at once");
        world.pass(pause.as_secs_f64() + 0.001);
        pauses.push(pause.as_secs_f64());
    }
    assert!(pauses[0] >= 0.8 && pauses[0] <= 1.0, "{pauses:?}");
    assert!(pauses[3] >= 6.0, "{pauses:?}");
    assert!(pauses.iter().all(|it| *it <= 60.0), "{pauses:?}");
    let worker = world.tick()[0].0;
    world.answer(worker, 200, HOUR);
    assert_eq!(world.current().as_deref(), Ok("first"));
}

#[test]
fn an_old_token_serves_until_it_ends_whatever_fails() {
    let world = World::new(account("key"));
    let worker = world.tick()[0].0;
    world.answer(worker, 200, HOUR);
    world.pass(2900.0);
    let worker = world.tick()[0].0;
    world.answer(worker, 503, "upstream connect error");
    assert_eq!(world.current().as_deref(), Ok("first"));
    assert!(world.has_token());
    world.pass(680.0);
    let reason = "token.example answered 503: upstream connect error";
    assert!(world.current().unwrap_err().ends_with(reason));
    assert!(!world.has_token());
}

#[test]
fn a_worker_that_is_gone_leaves_its_claim_to_the_others() {
    let world = World::new(account("key"));
    assert_eq!(world.tick().len(), 1);
    world.pass(14.0);
    assert!(world.tick().is_empty());
    world.pass(2.0);
    assert_eq!(world.tick().len(), 1);
    // A clock that is set back does not keep them waiting either.
    let an_hour_ago = world.now.get().as_nanos() - 3_600_000_000_000;
    world.now.set(Moment::from_nanos(an_hour_ago));
    assert_eq!(world.tick().len(), 1);
}

#[test]
fn a_key_that_cannot_sign_is_a_failure() {
    let world = World::new(account("bad"));
    let mut workers = world.workers.borrow_mut();
    let failed = workers[0].tick(world.now.get(), &world.shared, &world.signer);
    let Err(Outcome::Failed(reason, _)) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(reason, "the service account's private key cannot sign: no");
    let quiet = workers[1].tick(world.now.get(), &world.shared, &world.signer);
    assert_eq!(quiet, Ok(None));
}

#[test]
fn every_part_of_a_credential_has_a_token_of_its_own() {
    let other = |text: &str| {
        let account = ServiceAccount::parse(text).unwrap();
        source(Credential::ServiceAccount(account)).key.clone()
    };
    let mut keys = vec![
        source(Credential::MetadataServer).key.clone(),
        source(account("key")).key.clone(),
        source(account("other")).key.clone(),
        other(r#"{"client_email":"c@b","private_key_id":"k1","private_key":"-----BEGIN key"}"#),
        other(r#"{"client_email":"a@b","private_key_id":"k2","private_key":"-----BEGIN key"}"#),
        other(
            r#"{"client_email":"a@b","private_key_id":"k1","private_key":"-----BEGIN key","token_uri":"https://x/t"}"#,
        ),
    ];
    assert_eq!(source(account("key")).key, keys[1]);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 6);
}
