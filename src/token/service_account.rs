//! The key of a service account, and what is signed with it.
//!
//! Sources, read 2026-11-21: <https://developers.google.com/identity/protocols/oauth2/service-account>,
//! RFC 7523, <https://www.rfc-editor.org/rfc/rfc7523>.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::base64;
use crate::moment::Moment;
use crate::secret::Secret;

/// Signs natively: there is no cryptography here.
pub trait Signer {
    /// The RS256 signature of `text` with a private key in PEM.
    ///
    /// # Errors
    ///
    /// When the key is none that can do that; why, without the key.
    fn sign(&self, key: &str, text: &[u8]) -> Result<Vec<u8>, String>;
}

/// The key of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    email: String,
    /// Google's name of the key, where it is told.
    key_id: Option<String>,
    /// PEM.
    private_key: Secret,
    token_uri: String,
}

impl ServiceAccount {
    /// Reads what Google Cloud gives when a key is made.
    ///
    /// Shape: a JSON object with `type: service_account`, `client_email`, `private_key` (PEM), and
    /// most often `private_key_id` and `token_uri`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without any of its text.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The error of the parser could quote a value.
        let value: Value = serde_json::from_str(text)
            .map_err(|_| "is not the JSON of a service account's key".to_owned())?;
        let member = |name: &str| {
            let text = value.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let required = |name: &str| {
            member(name).ok_or_else(|| format!("has no {name:?}; is it a service account's key?"))
        };
        if let Some(other) = member("type").filter(|it| *it != "service_account") {
            let known = OTHER_TYPES.iter().find(|it| **it == other);
            let other = known.map_or("another type".to_owned(), |it| format!("type {it:?}"));
            return Err(format!(
                "is a credential of {other}, not of a service account"
            ));
        }
        // Who puts JSON into a variable by hand often escapes it once more.
        let private_key = required("private_key")?.replace("\\n", "\n");
        if !private_key.contains(PEM_BEGIN) {
            return Err("has a \"private_key\" that is not PEM".to_owned());
        }
        Ok(Self {
            email: required("client_email")?.to_owned(),
            key_id: member("private_key_id").map(str::to_owned),
            private_key: Secret::new(private_key),
            token_uri: member("token_uri").unwrap_or(TOKEN_URI).to_owned(),
        })
    }

    /// One whose text is not at hand: who only renders can do without.
    pub fn absent() -> Self {
        Self {
            email: String::new(),
            key_id: None,
            private_key: Secret::new(""),
            token_uri: TOKEN_URI.to_owned(),
        }
    }

    /// Where it gets tokens, unless the configuration says otherwise: a URL.
    pub fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// All that makes it what it is.
    pub(super) fn parts(&self) -> [Rc<str>; 4] {
        [
            Rc::from(&*self.email),
            Rc::from(self.key_id.as_deref().unwrap_or_default()),
            self.private_key.expose(),
            Rc::from(&*self.token_uri),
        ]
    }

    /// The form that buys a token, with a signed promise that lasts an hour.
    ///
    /// # Errors
    ///
    /// When the key cannot sign.
    pub(super) fn form(&self, now: Moment, signer: &dyn Signer) -> Result<String, String> {
        let now = now.as_secs();
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let (Some(id), Value::Object(header)) = (&self.key_id, &mut header) {
            header.insert("kid".to_owned(), id.as_str().into());
        }
        let claims = json!({
            "iss": self.email,
            "scope": SCOPE,
            // The server that is meant, also where another one passes it on.
            "aud": self.token_uri,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        });
        let part = |value: Value| base64::encode_url(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = signer
            .sign(&self.private_key.expose(), signed.as_bytes())
            .map_err(|why| format!("the service account's private key cannot sign: {why}"))?;
        let assertion = format!("{signed}.{}", base64::encode_url(&signature));
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", GRANT_TYPE);
        form.append_pair("assertion", &assertion);
        Ok(form.finish())
    }
}

/// > The only scope that Vertex AI needs.
///
/// <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference>
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// > maximum of 1 hour after the issued time
const LIFETIME_SECONDS: u64 = 3_600;

const PEM_BEGIN: &str = "-----BEGIN ";

/// Other credentials that come as JSON files.
const OTHER_TYPES: [&str; 4] = [
    "authorized_user",
    "external_account",
    "gdch_service_account",
    "impersonated_service_account",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_says_why_and_shows_nothing() {
        for (text, reason) in [
            ("sentinel", "not the JSON"),
            (r#"{"private_key": sentinel}"#, "not the JSON"),
            (r#""sentinel""#, "has no \"private_key\""),
            (
                r#"{"type":"authorized_user","refresh_token":"sentinel"}"#,
                "type \"authorized_user\"",
            ),
            (r#"{"type":"sentinel"}"#, "another type"),
            (r#"{"client_email":"sentinel"}"#, "has no \"private_key\""),
            (r#"{"private_key":"sentinel"}"#, "not PEM"),
            (
                r#"{"private_key":"-----BEGIN sentinel"}"#,
                "has no \"client_email\"",
            ),
        ] {
            let error = ServiceAccount::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("sentinel"), "{error}");
        }
        let text = r#"{"private_key":"-----BEGIN sentinel\\n","client_email":"a@b"}"#;
        let account = ServiceAccount::parse(text).unwrap();
        assert!(!format!("{account:?}").contains("sentinel"));
        assert_eq!(&*account.private_key.expose(), "-----BEGIN sentinel\n");
    }
}
