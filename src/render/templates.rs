//! What becomes of text with variables: what authenticates stays a variable, other text is expanded.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::value::{BackendType, SecretSource, Template};
use crate::config::{Environment, KeyPath, file};
use crate::contract::secret_header;
use crate::host::with_ascii_host;
use crate::provider::ProviderType;
use crate::secret::Secret;

/// An environment variable that stands for a literal key.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name: `LLM_PROXY_<BACKEND>_API_KEY` and the like.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// Where the literal stands, or the file's path.
    pub at: KeyPath,
    /// The file for which it stands, where it does.
    pub file: Option<String>,
}

/// Replaces every literal and every file that authenticates by a variable, and gives these
/// variables.
///
/// Text beside a `${NAME}`, as in `Token ${NAME}`, is no literal: it stays.
pub fn take_literals(gateway: &mut file::Gateway, environment: &dyn Environment) -> Vec<Variable> {
    let mut taken: BTreeSet<String> = gateway
        .backends
        .iter()
        .flat_map(|(_, backend)| names(backend))
        .collect();
    let headers = gateway.telemetry.iter_mut().flat_map(|it| &mut it.headers);
    let mut headers: Vec<_> = headers.flatten().collect();
    taken.extend(
        headers
            .iter()
            .flat_map(|(_, it)| it.variables().map(str::to_owned)),
    );
    let mut numbers = BTreeMap::new();
    let mut variables = Vec::new();
    headers.retain(|(_, template)| template.variables().next().is_none());
    for (header, template) in headers {
        let Ok(value) = template.expand(|_| None) else {
            continue;
        };
        let words = ["telemetry", "headers", header.as_str()];
        let name = variable_name(words.into_iter());
        let name = unused(name, &taken, &mut numbers);
        taken.insert(name.clone());
        *template = Template::variable(&name);
        let at = KeyPath::root().key("telemetry").key("headers").key(header);
        variables.push(Variable {
            name,
            value: Secret::new(value),
            at,
            file: None,
        });
    }
    let at = KeyPath::root().key("backends");
    for (index, backend) in gateway.backends.iter_mut().enumerate() {
        let at = at.index(index).key("config");
        let backend_name = backend.name.clone();
        let mut new_name = |keys: &[String], taken: &mut BTreeSet<String>| {
            let words = [&backend_name].into_iter().chain(keys);
            let name = variable_name(words.map(String::as_str));
            let name = unused(name, taken, &mut numbers);
            taken.insert(name.clone());
            name
        };
        for (keys, template) in Templates::of(backend).secrets {
            if template.variables().next().is_some() {
                continue;
            }
            // A template without variables expands, whatever the lookup.
            let Ok(value) = template.expand(|name| environment.secret(name)) else {
                continue;
            };
            let name = new_name(&keys, &mut taken);
            *template = Template::variable(&name);
            variables.push(Variable {
                name,
                value: Secret::new(value),
                at: keys.iter().fold(at.clone(), |at, key| at.key(key)),
                file: None,
            });
        }
        let Some(config) = &mut backend.config else {
            continue;
        };
        if let Some(path) = config.service_account_file.take() {
            let name = new_name(&["serviceAccount".to_owned()], &mut taken);
            config.service_account = Some(Template::variable(&name));
            let path = path.expand(|name| environment.variable(name)).ok();
            // One that cannot be read was refused before, or is not needed.
            let text = path.as_ref().and_then(|path| environment.file(path).ok());
            variables.push(Variable {
                name,
                value: Secret::new(text.unwrap_or_default()),
                at: at.key("serviceAccountFile"),
                file: path,
            });
        }
    }
    variables
}

/// Replaces every file with a secret by the header in which its content arrives, and gives these.
///
/// `serviceAccountFile` is none of them: the module needs its content beside requests.
pub fn take_files(
    gateway: &mut file::Gateway,
    environment: &dyn Environment,
) -> Vec<InjectedSecret> {
    let mut taken = Vec::new();
    let at = KeyPath::root().key("backends");
    for (index, backend) in gateway.backends.iter_mut().enumerate() {
        let at = at.index(index).key("config");
        let name = backend.name.clone();
        for (keys, source) in sources(backend) {
            let SecretSource::File(path) = &*source else {
                continue;
            };
            // The gateway was built from the same text: every variable has a value.
            let path = path.expand(|name| environment.variable(name));
            let header = secret_header(&name, &keys);
            *source = SecretSource::Header(header.clone());
            taken.push(InjectedSecret {
                backend: name.clone(),
                header,
                at: keys.iter().fold(at.clone(), |at, key| at.key(key)),
                origin: Origin::File(path.unwrap_or_default()),
            });
        }
    }
    taken
}

/// Replaces every text that authenticates and has a variable which is not `known` by the header in which
/// its value, which `lookup` helps to find, arrives; and gives these.
pub fn take_texts(
    gateway: &mut file::Gateway,
    known: &dyn Fn(&str) -> bool,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Vec<InjectedSecret> {
    let mut taken = Vec::new();
    let at = KeyPath::root().key("backends");
    for (index, backend) in gateway.backends.iter_mut().enumerate() {
        let at = at.index(index).key("config");
        let name = backend.name.clone();
        for (keys, source) in sources(backend) {
            let SecretSource::Text(template) = &*source else {
                continue;
            };
            if template.variables().all(known) {
                continue;
            }
            let Ok(value) = template.expand(lookup) else {
                continue;
            };
            let header = secret_header(&name, &keys);
            *source = SecretSource::Header(header.clone());
            taken.push(InjectedSecret {
                backend: name.clone(),
                header,
                at: keys.iter().fold(at.clone(), |at, key| at.key(key)),
                origin: Origin::Value(Secret::new(value)),
            });
        }
    }
    taken
}

/// What can come from a file, with its keys below `config`.
fn sources(backend: &mut file::Backend) -> Vec<(Vec<String>, &mut SecretSource)> {
    let Some(config) = &mut backend.config else {
        return Vec::new();
    };
    let mut found: Vec<(Vec<String>, &mut SecretSource)> = Vec::new();
    if let Some(source) = &mut config.api_key {
        found.push((vec!["apiKey".to_owned()], source));
    }
    let auth = config.auth.as_mut();
    let auth = auth.map(|file::Auth { header, query }| [header, query]);
    let [header, query] = auth.map_or([None, None], |auth| auth.map(Some));
    for (keys, map) in [
        (&["headers"][..], Some(&mut config.headers)),
        (&["auth", "header"], header),
        (&["auth", "query"], query),
    ] {
        for (name, source) in map.into_iter().flatten().flatten() {
            let keys = keys.iter().copied().chain([name.as_str()]);
            found.push((keys.map(str::to_owned).collect(), source));
        }
    }
    found
}

/// A secret that a filter before the module writes into a header of each attempt.
#[derive(Clone, Debug)]
pub struct InjectedSecret {
    /// The name of its backend.
    pub backend: String,
    /// The header.
    pub header: String,
    /// Where it is written.
    pub at: KeyPath,
    /// Where its value comes from.
    pub origin: Origin,
}

/// Where the value of an injected secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From this file, as it is now.
    File(String),
    /// It is known.
    Value(Secret),
}

/// Replaces the variables in what does not authenticate by their values: the proxy's environment
/// need not have them.
pub fn expand_texts(gateway: &mut file::Gateway, environment: &dyn Environment) {
    for backend in gateway.backends.iter_mut() {
        for template in Templates::of(backend).texts {
            // The gateway was built from the same text: every variable has a value.
            if let Ok(text) = template.expand(|name| environment.variable(name)) {
                *template = Template::literal(&text);
            }
        }
    }
}

/// Writes host names with letters outside ASCII as punycode: the module does not convert them.
pub fn write_ascii_hosts(gateway: &mut file::Gateway) {
    let hosts = |config: &mut file::BackendConfig| {
        let server_name = config.tls.as_mut().and_then(|tls| tls.server_name.as_mut());
        let keys = [
            &mut config.endpoint,
            &mut config.address,
            &mut config.token_endpoint,
        ];
        let keys = keys.into_iter().flatten().chain(server_name);
        for template in keys.filter(|it| it.variables().next().is_none()) {
            if let Ok(text) = template.expand(|_| None) {
                *template = Template::literal(&with_ascii_host(&text));
            }
        }
    };
    let configs = gateway
        .backends
        .iter_mut()
        .filter_map(|it| it.config.as_mut());
    configs.for_each(hosts);
    let routes = gateway.routes.iter_mut().flat_map(file::List::iter_mut);
    for host in routes.filter_map(|route| route.hosts.as_mut()).flatten() {
        *host = with_ascii_host(host).into_owned();
    }
}

/// The variables in what authenticates at a backend.
pub fn names(backend: &file::Backend) -> Vec<String> {
    // The one list of what authenticates wants to change it.
    let mut backend = backend.clone();
    let templates = Templates::of(&mut backend);
    templates
        .secrets
        .iter()
        .flat_map(|(_, template)| template.variables())
        .map(str::to_owned)
        .collect()
}

/// The text of a backend's configuration.
#[derive(Default)]
struct Templates<'a> {
    /// What authenticates, with its keys below `config`.
    secrets: Vec<(Vec<String>, &'a mut Template)>,
    /// The rest.
    texts: Vec<&'a mut Template>,
}

impl<'a> Templates<'a> {
    fn of(backend: &'a mut file::Backend) -> Self {
        // A pool has no text.
        let BackendType::Provider(provider) = backend.r#type else {
            return Self::default();
        };
        // All keys are named, so that a new one does not compile until it is on one of the sides.
        let Some(file::BackendConfig {
            api_key,
            service_account,
            service_account_file,
            token_endpoint,
            org_id,
            project_id,
            location,
            deployment_name,
            api_version,
            endpoint,
            address,
            path,
            model,
            default_model,
            model_aliases,
            models: _,
            operations: _,
            auth_header: _,
            auth,
            headers,
            defaults: _,
            overrides: _,
            max_tokens: _,
            unsupported: _,
            usage: _,
            messages: _,
            betas: _,
            responses: _,
            web_search: _,
            timeout: _,
            first_byte_timeout: _,
            stream_idle_timeout: _,
            max_retries: _,
            remove_headers: _,
            trace_headers: _,
            prices: _,
            tls,
        }) = &mut backend.config
        else {
            return Self::default();
        };
        let mut templates = Self::default();
        // OpenAI's goes into a header that clients may not choose, Google's into the path.
        let (secret_project, project) = match provider {
            ProviderType::Google => (None, project_id.as_mut()),
            _ => (project_id.as_mut(), None),
        };
        templates.texts.extend(project);
        let text = |source: Option<&'a mut SecretSource>| match source {
            Some(SecretSource::Text(template)) => Some(template),
            Some(SecretSource::File(_) | SecretSource::Header(_)) | None => None,
        };
        for (key, template) in [
            ("apiKey", text(api_key.as_mut())),
            ("serviceAccount", service_account.as_mut()),
            ("orgId", org_id.as_mut()),
            ("projectId", secret_project),
        ] {
            let template = template.map(|it| (vec![key.to_owned()], it));
            templates.secrets.extend(template);
        }
        let auth = auth
            .as_mut()
            .map(|file::Auth { header, query }| [header, query]);
        let [auth_header, auth_query] = auth.map_or([None, None], |auth| auth.map(Some));
        for (keys, map) in [
            (&["headers"][..], Some(headers)),
            (&["auth", "header"], auth_header),
            (&["auth", "query"], auth_query),
        ] {
            for (name, source) in map.into_iter().flatten().flatten() {
                let keys = keys.iter().copied().chain([name.as_str()]);
                let keys = keys.map(str::to_owned).collect();
                let template = text(Some(source));
                templates.secrets.extend(template.map(|it| (keys, it)));
            }
        }
        for template in [
            service_account_file,
            token_endpoint,
            location,
            deployment_name,
            api_version,
            endpoint,
            address,
            path,
            model,
            default_model,
        ] {
            templates.texts.extend(template);
        }
        templates
            .texts
            .extend(model_aliases.iter_mut().flat_map(|it| it.values_mut()));
        if let Some(file::Tls {
            ca_file,
            server_name,
            insecure: _,
        }) = tls
        {
            templates.texts.extend(ca_file);
            templates.texts.extend(server_name);
        }
        templates
    }
}

/// `["grok", "apiKey"]` is `LLM_PROXY_GROK_API_KEY`.
fn variable_name<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut name = "LLM_PROXY".to_owned();
    for word in words {
        name.push('_');
        let mut was_lower = false;
        for c in word.chars() {
            if was_lower && c.is_ascii_uppercase() {
                name.push('_');
            }
            was_lower = c.is_ascii_lowercase();
            name.push(if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            });
        }
    }
    name
}

/// The name itself, or the first of `NAME_2`, `NAME_3`, … that is not taken. `numbers` has the number
/// that was given last, by name.
fn unused(name: String, taken: &BTreeSet<String>, numbers: &mut BTreeMap<String, usize>) -> String {
    if !taken.contains(&name) {
        return name;
    }
    let number = numbers.entry(name.clone()).or_insert(1);
    loop {
        *number += 1;
        let numbered = format!("{name}_{number}");
        if !taken.contains(&numbered) {
            return numbered;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Text;

    const NO_VARIABLES: fn(&str) -> Option<String> = |_| None;

    #[test]
    fn every_literal_that_authenticates_becomes_a_variable() {
        let text = "
            backends:
            - name: a-b
              type: openai
              config:
                apiKey: sk-$$1
                orgId: ${ORG}
                projectId: p
                headers: {X-Token: t, X-Mixed: 'Token ${T}'}
                auth: {header: {x-key: k}, query: {api.key: q}}
            - {name: a_b, type: openai, config: {apiKey: other, headers: {x: $LLM_PROXY_A_B_HEADERS_X}}}
        ";
        let mut gateway = Text::new(text).file().unwrap().clone();
        let variables = take_literals(&mut gateway, &NO_VARIABLES);
        let found: Vec<String> = variables
            .iter()
            .map(|it| format!("{} {} {}", it.name, it.value.expose(), it.at))
            .collect();
        assert_eq!(
            found,
            [
                "LLM_PROXY_A_B_API_KEY sk-$1 backends[0].config.apiKey",
                "LLM_PROXY_A_B_PROJECT_ID p backends[0].config.projectId",
                "LLM_PROXY_A_B_HEADERS_X_TOKEN t backends[0].config.headers.X-Token",
                "LLM_PROXY_A_B_AUTH_HEADER_X_KEY k backends[0].config.auth.header.x-key",
                "LLM_PROXY_A_B_AUTH_QUERY_API_KEY q backends[0].config.auth.query[\"api.key\"]",
                "LLM_PROXY_A_B_API_KEY_2 other backends[1].config.apiKey",
            ]
        );
        let mut again = gateway.clone();
        assert!(
            take_literals(&mut again, &NO_VARIABLES).is_empty(),
            "nothing is literal any more"
        );
        let names: Vec<String> = gateway
            .backends
            .iter()
            .flat_map(|(_, it)| names(it))
            .collect();
        for name in [
            "ORG",
            "T",
            "LLM_PROXY_A_B_API_KEY_2",
            "LLM_PROXY_A_B_HEADERS_X",
        ] {
            assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
        }
    }
}
