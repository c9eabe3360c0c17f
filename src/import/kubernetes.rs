//! Resources of Kubernetes: which there are, and what refers to what.

use super::draft::Draft;
use super::source::Node;
use super::upstream::{Upstream, secret, text};
use crate::base64;

/// A resource.
#[derive(Clone, Debug)]
pub struct Resource<'a> {
    /// All of it.
    pub node: Node<'a>,
    group: String,
    kind: String,
    name: String,
}

impl Resource<'_> {
    /// The group of its API; empty for the core.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Every resource, those of lists among them.
pub fn resources<'a>(roots: &[Node<'a>]) -> Vec<Resource<'a>> {
    let mut found = Vec::new();
    for root in roots.iter().filter(|root| root.has("kind")) {
        if root.get("kind").value().is_some_and(|it| it == "List") {
            root.ignore_keys(&["apiVersion", "metadata"]);
            found.extend(root.get("items").items().iter().map(resource));
        } else {
            found.push(resource(root));
        }
    }
    found
}

fn resource<'a>(node: &Node<'a>) -> Resource<'a> {
    fn text<'a>(node: &Node<'a>) -> &'a str {
        let text = node.value().and_then(|it| it.as_str());
        text.unwrap_or_default()
    }
    let version = text(&node.get("apiVersion"));
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let name = text(&node.dig(&["metadata", "name"]));
    node.get("metadata").ignore();
    node.ignore_keys(&["status"]);
    Resource {
        node: node.clone(),
        group: group.to_owned(),
        kind: text(&node.get("kind")).to_owned(),
        name: name.to_owned(),
    }
}

/// Takes resources for read that only say how the other gateway itself is deployed.
pub fn ignore_deployment(resources: &[Resource<'_>]) {
    for resource in resources {
        let kind = resource.kind.as_str();
        if DEPLOYMENT.contains(&kind) {
            resource.node.ignore();
        }
    }
}

/// The policies of a kind that target a resource.
pub fn policies<'r, 'a>(
    resources: &'r [Resource<'a>],
    kind: &'r str,
    target: &'r str,
    name: &'r str,
) -> impl Iterator<Item = &'r Resource<'a>> {
    resources.iter().filter(move |policy| {
        if policy.kind != kind {
            return false;
        }
        let spec = policy.node.get("spec");
        let targets = spec.any_of(&["targetRefs", "targetRef"]).items();
        let is_target = |it: &Node<'_>| {
            it.ignore_keys(&["group", "namespace", "sectionName"]);
            it.get("name").text().as_deref() == Some(name)
                && it.get("kind").text().is_none_or(|it| it == target)
        };
        targets.iter().filter(|it| is_target(it)).count() > 0
    })
}

/// The key to which a reference to a Secret leads, as a variable.
pub fn secret_key(
    reference: &Node<'_>,
    resources: &[Resource<'_>],
    upstream: &mut Upstream,
    draft: &mut Draft,
) -> Option<String> {
    reference.ignore_keys(&["namespace", "group", "kind"]);
    let wanted = reference.get("key").text();
    let name = reference.get("name").text()?;
    let is_it = |it: &&Resource<'_>| it.kind == "Secret" && it.name == name;
    let Some(found) = resources.iter().find(is_it) else {
        let words = format!("{name}_API_KEY");
        let variable = draft.variable(reference, &[&words]);
        upstream.comments.push(format!(
            "the Secret {name} is not among the files: put its key into ${{{variable}}}"
        ));
        return Some(format!("${{{variable}}}"));
    };
    found.node.ignore_keys(&["type", "immutable"]);
    let (node, value) = secret_text(&found.node, wanted.as_deref())?;
    let value = match value.trim().split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.to_owned(),
        _ => value,
    };
    secret(&node, &value, &[&name, "API_KEY"], draft)
}

/// The value in a Secret: of the key that is named, else of the only one, or one of the usual names.
fn secret_text<'a>(secret: &Node<'a>, wanted: Option<&str>) -> Option<(Node<'a>, String)> {
    let mut all = Vec::new();
    for (key, node) in secret.get("stringData").entries() {
        all.extend(node.text().map(|text| (key, node, text)));
    }
    for (key, node) in secret.get("data").entries() {
        let bytes = node.text().and_then(|text| base64::decode(text.trim()));
        match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(text) => all.push((key, node, text)),
            None => node.error("is not base64 of a text"),
        }
    }
    let is_usual = |key: &str| USUAL_KEYS.iter().any(|it| it.eq_ignore_ascii_case(key));
    let found = all.iter().find(|(key, ..)| match wanted {
        Some(wanted) => *key == wanted,
        None => is_usual(key),
    });
    let found = found.or_else(|| all.first().filter(|_| wanted.is_none()));
    if found.is_none() {
        secret.error("has no key that can be used");
    }
    found.map(|(_, node, text)| (node.clone(), text.clone()))
}

/// The hostname and the certificates of a BackendTLSPolicy.
pub fn read_tls_policy(policy: &Resource<'_>, upstream: &mut Upstream) {
    upstream.is_tls = true;
    let validation = policy.node.dig(&["spec", "validation"]);
    upstream.server_name = text(&validation.get("hostname"));
    validation.ignore_keys(&["wellKnownCACertificates"]);
    if validation.has("caCertificateRefs") {
        let references = validation.get("caCertificateRefs");
        references.ignore();
        references.warn("certificates of a ConfigMap: write them to a file, and set tls.caFile");
    }
}

/// What a Secret of one of these gateways calls a key.
const USUAL_KEYS: [&str; 4] = ["Authorization", "apiKey", "api-key", "api_key"];

/// They name the gateway that is being replaced, and where it runs.
const DEPLOYMENT: [&str; 8] = [
    "AgentgatewayParameters",
    "ConfigMap",
    "EnvoyProxy",
    "Gateway",
    "GatewayClass",
    "GatewayConfig",
    "GatewayParameters",
    "Namespace",
];
