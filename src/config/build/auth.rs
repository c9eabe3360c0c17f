//! How a backend authenticates: keys, and the credentials of Vertex AI.

use std::rc::Rc;

use super::super::error::KeyPath;
use super::super::value::{SecretSource, Template};
use super::super::{defaults, file};
use super::{Build, UNPRINTABLE, is_header_value};
use crate::backend::{Auth, KeyHeader};
use crate::endpoint::Endpoint;
use crate::provider::{KeyPlace, ProviderType};
use crate::secret::Secret;
use crate::token::{self, Credential, ServiceAccount};

impl Build<'_> {
    pub(super) fn auth(
        &mut self,
        config: &file::BackendConfig,
        provider: ProviderType,
        headers: &[(Rc<str>, Secret)],
        at: &KeyPath,
    ) -> Option<Auth> {
        let place = self.key_place(config, provider);
        let header = self.key_header(config, place, at);
        let is_elsewhere = config.auth.is_some() || headers.iter().any(|it| it.0 == header.name);
        match &config.api_key {
            Some(source) => self.api_key(source, header, headers, at),
            None if is_elsewhere => Some(Auth::Configured),
            None if config.auth_header.is_none() && provider.preset().key == KeyPlace::Nowhere => {
                Some(Auth::None)
            }
            None => Some(Auth::Client(header)),
        }
    }

    /// Vertex AI takes access tokens: one that is given, or one that we get for a credential.
    pub(super) fn vertex_auth(
        &mut self,
        backend: &str,
        config: &file::BackendConfig,
        headers: &[(Rc<str>, Secret)],
        at: &KeyPath,
    ) -> Option<Auth> {
        let header = self.key_header(config, KeyPlace::Bearer, at);
        let credentials = [
            ("apiKey", config.api_key.is_some()),
            ("serviceAccount", config.service_account.is_some()),
            ("serviceAccountFile", config.service_account_file.is_some()),
        ];
        let mut given = credentials.iter().filter(|(_, is_given)| *is_given);
        let first = given.next();
        for (key, _) in given {
            let first = first.map_or("", |(key, _)| key);
            self.errors
                .push(&at.key(key), format!("cannot be combined with {first}"));
        }
        if let Some(source) = &config.api_key {
            if config.token_endpoint.is_some() {
                let message = "cannot be combined with apiKey, which is an access token already";
                self.errors.push(&at.key("tokenEndpoint"), message);
            }
            return self.api_key(source, header, headers, at);
        }
        let is_set = headers.iter().any(|it| it.0 == header.name);
        if is_set && first.is_none() && config.token_endpoint.is_none() {
            return Some(Auth::Configured);
        }
        if is_set {
            let key = first.map_or("tokenEndpoint", |(key, _)| key);
            let message = format!("would be sent as {}, which is set twice", header.name);
            self.errors.push(&at.key(key), message);
        }
        let credential = match (&config.service_account, &config.service_account_file) {
            (Some(template), _) => self.service_account(template, &at.key("serviceAccount")),
            (None, Some(template)) => {
                self.service_account_file(template, &at.key("serviceAccountFile"))
            }
            (None, None) => Some(Credential::MetadataServer),
        };
        let source = credential.and_then(|credential| {
            let default = match &credential {
                Credential::MetadataServer => METADATA_SERVER,
                Credential::ServiceAccount(account) => account.token_uri(),
            };
            let endpoint_at = at.key("tokenEndpoint");
            let endpoint = match &config.token_endpoint {
                Some(template) => {
                    let path = Endpoint::parse(default, "")
                        .map_or_else(|_| String::new(), |it| it.base_path);
                    let text = self.text(Some(template), &endpoint_at)?;
                    self.noted(Endpoint::parse(&text, &path), &endpoint_at)?
                }
                None => {
                    // What is wrong with it must not be quoted: it stands in the key.
                    let wrong = "has a \"token_uri\" that is not a URL";
                    let endpoint = Endpoint::parse(default, "").map_err(|_| wrong);
                    self.noted(endpoint, &at.key("serviceAccount"))?
                }
            };
            Some(Rc::new(token::Source::new(backend, credential, endpoint)))
        });
        Some(Auth::Token(header, source?))
    }

    fn service_account(&mut self, template: &Template, at: &KeyPath) -> Option<Credential> {
        if !self.environment.has_secrets() && template.variables().next().is_some() {
            return Some(Credential::ServiceAccount(ServiceAccount::absent()));
        }
        let text = self.secret(template, at)?;
        let account = self.noted(ServiceAccount::parse(&text), at)?;
        Some(Credential::ServiceAccount(account))
    }

    fn service_account_file(&mut self, template: &Template, at: &KeyPath) -> Option<Credential> {
        let path = self.text(Some(template), at)?;
        if !self.environment.has_secrets() {
            return Some(Credential::ServiceAccount(ServiceAccount::absent()));
        }
        let text = self.environment.file(&path);
        let text = text.map_err(|why| format!("{path}: {why}"));
        let text = self.noted(text, at)?;
        let account = ServiceAccount::parse(&text).map_err(|why| format!("{path}: {why}"));
        Some(Credential::ServiceAccount(self.noted(account, at)?))
    }

    /// The header that carries the key, as it is configured, or as the provider expects it.
    pub(super) fn key_header(
        &mut self,
        config: &file::BackendConfig,
        place: KeyPlace,
        at: &KeyPath,
    ) -> KeyHeader {
        match &config.auth_header {
            Some(written) => {
                let at = at.key("authHeader");
                let name = self.header_name(&written.name, &at.key("name"));
                let prefix = written.prefix.as_deref().unwrap_or(defaults::PREFIX);
                if !is_header_value(prefix) {
                    self.errors.push(&at.key("prefix"), UNPRINTABLE);
                }
                KeyHeader {
                    name: name.unwrap_or_default(),
                    prefix: prefix.into(),
                }
            }
            None => {
                let (name, prefix) = place.header().unwrap_or(BEARER);
                KeyHeader {
                    name: name.into(),
                    prefix: prefix.into(),
                }
            }
        }
    }

    /// Where the provider expects the key that is configured.
    pub(super) fn key_place(
        &self,
        config: &file::BackendConfig,
        provider: ProviderType,
    ) -> KeyPlace {
        let environment = self.environment;
        let key = match &config.api_key {
            Some(SecretSource::Text(key)) => key.expand(|name| environment.secret(name)).ok(),
            Some(SecretSource::File(_) | SecretSource::Header(_)) | None => None,
        };
        match key {
            Some(key) => provider.place_of(&key),
            None => provider.preset().key,
        }
    }

    fn api_key(
        &mut self,
        source: &SecretSource,
        header: KeyHeader,
        headers: &[(Rc<str>, Secret)],
        at: &KeyPath,
    ) -> Option<Auth> {
        let at = at.key("apiKey");
        let key = match source {
            SecretSource::Text(template) => self.header_value(template, &at),
            // Its value arrives with each attempt.
            SecretSource::File(_) | SecretSource::Header(_) => Some(Secret::new("")),
        };
        if headers.iter().any(|it| it.0 == header.name) {
            let message = format!("would be sent as {}, which is set twice", header.name);
            self.errors.push(&at, message);
        }
        let value = [&*header.prefix, &*key?.expose()].concat();
        Some(Auth::Key(header.name, Secret::new(value)))
    }
}

/// Where most providers expect a key.
const BEARER: (&str, &str) = ("authorization", "Bearer ");

/// Where a machine of Google Cloud gets a token of its own service account.
///
/// Source: <https://docs.cloud.google.com/compute/docs/access/authenticate-workloads>, read
/// 2026-11-21.
const METADATA_SERVER: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
