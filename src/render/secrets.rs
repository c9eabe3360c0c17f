//! Keys that were written literally become variables, so that nothing rendered has them.

use std::collections::BTreeSet;

use crate::config::value::Template;
use crate::config::{Environment, KeyPath, file};
use crate::secret::Secret;

/// An environment variable that stands for a literal key.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name: `LLM_PROXY_<BACKEND>_API_KEY` and the like.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// Where the literal stands.
    pub at: KeyPath,
}

/// Replaces every literal that authenticates by a variable, and gives these variables.
///
/// Text beside a `${NAME}`, as in `Token ${NAME}`, is no literal: it stays.
pub fn take(gateway: &mut file::Gateway, environment: &dyn Environment) -> Vec<Variable> {
    let mut taken: BTreeSet<String> = gateway
        .backends
        .iter()
        .flat_map(|(_, backend)| names(backend))
        .collect();
    let mut variables = Vec::new();
    let at = KeyPath::root().key("backends");
    for (index, backend) in gateway.backends.iter_mut().enumerate() {
        let at = at.index(index).key("config");
        let backend_name = backend.name.clone();
        for (keys, template) in templates(backend) {
            if template.variables().next().is_some() {
                continue;
            }
            // A template without variables expands, whatever the lookup.
            let Ok(value) = template.expand(|name| environment.secret(name)) else {
                continue;
            };
            let words = [&backend_name].into_iter().chain(&keys).map(String::as_str);
            let name = unused(variable_name(words), &taken);
            *template = Template::variable(&name);
            taken.insert(name.clone());
            variables.push(Variable {
                name,
                value: Secret::new(value),
                at: keys.iter().fold(at.clone(), |at, key| at.key(key)),
            });
        }
    }
    variables
}

/// The variables in what authenticates at a backend.
pub fn names(backend: &file::Backend) -> Vec<String> {
    // The one list of what authenticates wants to change it.
    let mut backend = backend.clone();
    let templates = templates(&mut backend);
    templates
        .iter()
        .flat_map(|(_, template)| template.variables())
        .map(str::to_owned)
        .collect()
}

/// Everything that authenticates, with its keys below `config`.
fn templates(backend: &mut file::Backend) -> Vec<(Vec<String>, &mut Template)> {
    let Some(config) = &mut backend.config else {
        return Vec::new();
    };
    let (header, query) = match &mut config.auth {
        Some(auth) => (auth.header.as_mut(), auth.query.as_mut()),
        None => (None, None),
    };
    let single = [
        ("apiKey", config.api_key.as_mut()),
        ("orgId", config.org_id.as_mut()),
        ("projectId", config.project_id.as_mut()),
    ];
    let maps = [
        (&["headers"][..], config.headers.as_mut()),
        (&["auth", "header"], header),
        (&["auth", "query"], query),
    ];
    let mut templates = Vec::new();
    for (key, template) in single {
        templates.extend(template.map(|template| (vec![key.to_owned()], template)));
    }
    for (keys, map) in maps {
        for (name, template) in map.into_iter().flatten() {
            let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            keys.push(name.clone());
            templates.push((keys, template));
        }
    }
    templates
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

/// The name itself, or the first of `NAME_2`, `NAME_3`, … that is not taken.
fn unused(name: String, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    let mut candidates = std::iter::once(name.clone()).chain(numbered);
    candidates.find(|it| !taken.contains(it)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_file;

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
        let mut gateway = parse_file(text).unwrap();
        let variables = take(&mut gateway, &NO_VARIABLES);
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
            take(&mut again, &NO_VARIABLES).is_empty(),
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
