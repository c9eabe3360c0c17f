//! The `gateway.yaml` that is being written: backends, pools and routes, each with its comments.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::source::{Node, one_line};
use crate::config::KeyPath;
use crate::endpoint::Address;
use crate::name::BackendName;
use crate::provider::ProviderType;
use crate::render::yaml::{self, Layout};

/// What is written.
#[derive(Debug)]
pub struct Draft {
    comments: Vec<String>,
    listen: Option<(Address, Vec<String>)>,
    backends: Vec<Item>,
    routes: Vec<Item>,
    names: BTreeSet<String>,
    route_names: BTreeSet<String>,
    /// The variables for keys that were in the clear, by where the key stands.
    variables: BTreeMap<(usize, KeyPath), String>,
}

/// An element of a list, with the choices that were made for it.
#[derive(Debug)]
struct Item {
    comments: Vec<String>,
    value: Value,
}

impl Item {
    fn text(&self, key: &str) -> &str {
        let text = self.value.get(key).and_then(Value::as_str);
        text.unwrap_or_default()
    }
}

/// A member of a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name of its backend.
    pub name: String,
    /// From 1.
    pub weight: u64,
    /// 0 comes first. Any order of numbers: they become 0, 1, 2.
    pub priority: i64,
}

/// How a pool works.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// The name that it should have.
    pub name: String,
    /// Its members.
    pub members: Vec<Member>,
    /// Further keys, such as `fallbackOn`.
    pub settings: Map<String, Value>,
    /// The choices that were made.
    pub comments: Vec<String>,
}

/// Which requests a route matches, and what it does to them.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// The name that it should have.
    pub name: Option<String>,
    /// Its keys, without `name` and `backend`.
    pub keys: Map<String, Value>,
    /// The choices that were made.
    pub comments: Vec<String>,
}

impl Draft {
    /// Nothing yet, from these files.
    pub fn new(files: &str, format: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let head = format!("imported by llm-proxy {version} from {files} ({format})");
        Self {
            comments: vec![head],
            listen: None,
            backends: Vec::new(),
            routes: Vec::new(),
            names: BTreeSet::new(),
            route_names: BTreeSet::new(),
            variables: BTreeMap::new(),
        }
    }

    /// Listens at this port, on this machine alone.
    pub fn listen(&mut self, port: u64, node: &Node<'_>) {
        let text = format!("127.0.0.1:{port}");
        match Address::parse(&text) {
            Ok(_)
                if self
                    .listen
                    .as_ref()
                    .is_some_and(|it| u64::from(it.0.port) != port) =>
            {
                node.error("a second port; one gateway.yaml has one: import the file in parts");
            }
            Ok(address) => {
                let comment = "only this machine can connect; for others write 0.0.0.0, and see \
                               that only clients who may use the keys can reach it";
                self.listen = Some((address, vec![comment.to_owned()]));
            }
            Err(why) => node.error(why),
        }
    }

    /// A name for a backend or a pool that no other has, from the one that it should have.
    pub fn name(&mut self, wanted: &str) -> String {
        unused(wanted, &mut self.names)
    }

    /// A name for a variable that holds a key which was in the clear.
    pub fn variable(&mut self, node: &Node<'_>, words: &[&str]) -> String {
        if let Some(name) = self.variables.get(&node.id()) {
            return name.clone();
        }
        let upper = |word: &&str| {
            let word = word.to_ascii_uppercase();
            word.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        };
        let name: Vec<String> = words.iter().map(upper).collect();
        let name = name.join("_");
        let name = match name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            true => name,
            false => format!("KEY_{name}"),
        };
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        let taken: BTreeSet<&String> = self.variables.values().collect();
        let name = names.find(|it| !taken.contains(it)).unwrap_or(name);
        self.variables.insert(node.id(), name.clone());
        name
    }

    /// Adds a backend. `name` comes from [`Draft::name`].
    pub fn backend(
        &mut self,
        name: &str,
        provider: ProviderType,
        config: Map<String, Value>,
        comments: Vec<String>,
    ) {
        let mut value = json!({"name": name, "type": provider.as_str()});
        if let (Some(members), false) = (value.as_object_mut(), config.is_empty()) {
            members.insert("config".to_owned(), Value::Object(config));
        }
        self.backends.push(Item { comments, value });
    }

    /// The name of a backend that has these keys and the name that it should have, or a new one of
    /// that.
    pub fn same_or_new(
        &mut self,
        wanted: &str,
        provider: ProviderType,
        config: Map<String, Value>,
        comments: Vec<String>,
    ) -> String {
        let is_same = |it: &&Item| {
            let name = it.text("name");
            let rest = name.strip_prefix(wanted);
            rest.is_some_and(|it| it.is_empty() || it.starts_with('-'))
                && it.text("type") == provider.as_str()
                && it.value.get("config").and_then(Value::as_object) == Some(&config)
        };
        if let Some(same) = self.backends.iter().find(is_same) {
            return same.text("name").to_owned();
        }
        let name = self.name(wanted);
        self.backend(&name, provider, config, comments);
        name
    }

    /// Adds a pool and gives its name; of one member without settings, the member.
    pub fn pool(&mut self, pool: Pool) -> Option<String> {
        if let [only] = pool.members.as_slice() {
            let name = only.name.clone();
            let backend = self.backends.iter_mut().find(|it| it.text("name") == name);
            if let Some(backend) = backend {
                let retries = pool
                    .settings
                    .get("maxRetries")
                    .filter(|it| **it != json!(0));
                let members = backend.value.as_object_mut();
                if let (Some(retries), Some(members)) = (retries, members) {
                    let config = members.entry("config").or_insert_with(|| json!({}));
                    if let Some(config) = config.as_object_mut() {
                        config.insert("maxRetries".to_owned(), retries.clone());
                    }
                }
                backend.comments.extend(pool.comments);
            }
            return Some(name);
        }
        if pool.members.is_empty() {
            return None;
        }
        let priorities: BTreeSet<i64> = pool.members.iter().map(|it| it.priority).collect();
        let member = |member: &Member| {
            let mut value = json!({"name": member.name});
            let rank = priorities.iter().position(|it| *it == member.priority);
            if let Some(members) = value.as_object_mut() {
                if member.weight != 1 {
                    members.insert("weight".to_owned(), member.weight.into());
                }
                if let Some(rank) = rank.filter(|it| *it > 0) {
                    members.insert("priority".to_owned(), rank.into());
                }
            }
            value
        };
        let members: Vec<Value> = pool.members.iter().map(member).collect();
        let name = self.name(&pool.name);
        let mut value = json!({"name": name, "type": "pool"});
        if let Some(keys) = value.as_object_mut() {
            keys.extend(pool.settings);
            keys.insert("backends".to_owned(), members.into());
        }
        let comments = pool.comments;
        self.backends.push(Item { comments, value });
        Some(name)
    }

    /// Adds a pool as it is written.
    pub fn raw_pool(&mut self, name: &str, keys: Map<String, Value>) {
        let mut value = Map::new();
        value.insert("name".to_owned(), name.into());
        value.insert("type".to_owned(), "pool".into());
        value.extend(keys);
        self.backends.push(Item {
            comments: Vec::new(),
            value: Value::Object(value),
        });
    }

    /// Adds a route to a backend or pool.
    pub fn route(&mut self, route: Route, backend: &str) {
        let mut value = Map::new();
        if let Some(name) = &route.name {
            let name = unused(name, &mut self.route_names);
            value.insert("name".to_owned(), name.into());
        }
        value.extend(route.keys);
        value.insert("backend".to_owned(), backend.into());
        let comments = route.comments;
        let value = Value::Object(value);
        let is_same = |it: &Item| it.value == value;
        if !self.routes.iter().any(is_same) {
            self.routes.push(Item { comments, value });
        }
    }

    /// Orders the routes as gateways do that select the most specific one: by host, path, method and
    /// headers. Here the first that matches is taken.
    pub fn order_by_specificity(&mut self) {
        let rank = |item: &Item| {
            let hosts = item.value.get("hosts").and_then(Value::as_array);
            let first = hosts.and_then(|it| it.first()?.as_str());
            let host = match first {
                Some(host) if host.starts_with("*.") => 1,
                Some(_) => 2,
                None => 0,
            };
            let has_method = item.value.get("methods").is_some();
            let headers = item.value.get("headers").and_then(Value::as_object);
            let headers = headers.map_or(0, Map::len);
            (host, item.text("path").len(), has_method, headers)
        };
        self.routes
            .sort_by_key(|item| std::cmp::Reverse(rank(item)));
    }

    /// The text; `None` where there is no backend.
    pub fn text(&self) -> Option<String> {
        if self.backends.is_empty() {
            return None;
        }
        let mut text = String::new();
        comments(&self.comments, &mut text);
        if !self.variables.is_empty() {
            let names: BTreeSet<&str> = self.variables.values().map(String::as_str).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let line = format!(
                "keys that were in the clear are read from the environment: {}",
                names.join(", ")
            );
            comments(&[line], &mut text);
        }
        if let Some((address, choices)) = &self.listen {
            comments(choices, &mut text);
            text.push_str(&format!("listen: {address}\n"));
        }
        list("backends", &self.backends, Layout::Block, &mut text);
        if !self.routes.is_empty() {
            list("routes", &self.routes, Layout::Compact, &mut text);
        }
        Some(text)
    }
}

fn list(key: &str, items: &[Item], layout: Layout, text: &mut String) {
    text.push_str(key);
    text.push_str(":\n");
    for item in items {
        comments(&item.comments, text);
        text.push_str(&yaml::document(&json!([item.value]), layout));
    }
}

/// Comments, each on lines of its own.
fn comments(lines: &[String], text: &mut String) {
    for line in lines {
        let mut rest = String::from("#");
        for word in one_line(line).split_whitespace() {
            if rest.chars().count() + word.chars().count() > COMMENT_WIDTH {
                text.push_str(&rest);
                text.push('\n');
                rest = String::from("#  ");
            }
            rest.push(' ');
            rest.push_str(word);
        }
        text.push_str(&rest);
        text.push('\n');
    }
}

/// A name of the alphabet that names have, which is not among those that are taken.
fn unused(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = wanted
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    let name = name.trim_matches(|c: char| "._-".contains(c));
    let name: String = name.chars().take(MAX_NAME).collect();
    let name = match BackendName::new(&name) {
        Ok(_) => name,
        Err(_) => "backend".to_owned(),
    };
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    let name = names.find(|it| !taken.contains(it)).unwrap_or(name);
    taken.insert(name.clone());
    name
}

/// So that a number fits behind it. Unit: characters.
const MAX_NAME: usize = 58;

const COMMENT_WIDTH: usize = 100;
