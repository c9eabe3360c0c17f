//! Secrets that are read from files while requests run: filters before the module.
//!
//! Envoy's `credential_injector` writes a secret into a header of each attempt, and the module, behind it,
//! takes the value from there and removes the header. The secret is in a file of its own, a resource of
//! Envoy's secret discovery service, which names the file with the value or has it. Envoy follows both.
//!
//! Source: <https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/credential_injector_filter>;
//! tried on 1.37.0, too.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Value, json};

use super::super::{InjectedSecret, Source};
use super::{Machine, extension, typed};
use crate::backend::Backend;
use crate::contract::SECRET_HEADER_PREFIX;

/// The filters before the module for attempts at these backends; empty where none of them needs any.
pub fn filters<'s>(
    source: &'s Source,
    backends: impl Iterator<Item = &'s Rc<Backend>>,
    machine: &Machine,
) -> Vec<Value> {
    let injected = backends.flat_map(|it| source.injected_of(it));
    let injectors: Vec<Value> = injected.map(|it| injector(it, machine)).collect();
    if injectors.is_empty() {
        return injectors;
    }
    // A client's header must not stand in for a secret that is missing, nor must that of the attempt
    // before.
    let cleaner = extension(
        "envoy.filters.http.header_mutation",
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        json!({"mutations": {"request_mutations": [
            {"remove_on_match": {"key_matcher": {"prefix": SECRET_HEADER_PREFIX}}},
        ]}}),
    );
    [cleaner].into_iter().chain(injectors).collect()
}

fn injector(secret: &InjectedSecret, machine: &Machine) -> Value {
    let path = file(Path::new(&machine.secrets), &secret.header);
    let generic = extension(
        "envoy.http.injected_credentials.generic",
        "envoy.extensions.http.injected_credentials.generic.v3.Generic",
        json!({
            "header": secret.header,
            "credential": {
                "name": secret.header,
                "sds_config": {
                    "resource_api_version": "V3",
                    // A secret that is missing keeps nothing else from being served.
                    "initial_fetch_timeout": "0.5s",
                    "path_config_source": {"path": path.display().to_string()},
                },
            },
        }),
    );
    let config = json!({
        "overwrite": true,
        // The module refuses the request, and says which backend lacks its key.
        "allow_request_without_credential": true,
        "credential": generic,
    });
    let message = "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector";
    extension(&secret.header, message, config)
}

/// The file with a secret's resource, in the directory of all of them.
pub fn file(directory: &Path, header: &str) -> PathBuf {
    directory.join(format!("{header}.json"))
}

/// What a secret is.
#[derive(Clone, Copy)]
pub enum Content<'c> {
    /// What is in this file, which Envoy reads again when it is replaced.
    File(&'c str),
    /// This value.
    Value(&'c str),
}

/// The content of that file.
pub fn resource(header: &str, content: Content<'_>) -> Value {
    let source = match content {
        Content::File(path) => json!({"filename": path}),
        Content::Value(value) => json!({"inline_string": value}),
    };
    let resource = json!({"name": header, "generic_secret": {"secret": source}});
    json!({"resources": [typed("envoy.extensions.transport_sockets.tls.v3.Secret", resource)]})
}

/// The content of the file of a secret that there is not.
pub fn no_resource() -> Value {
    json!({"resources": []})
}
