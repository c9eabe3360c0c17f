//! From what is written to what it means: expands, defaults, resolves and checks.

mod auth;
mod backend;
mod health;
mod plugin;
mod pool;
mod prices;
mod routes;
mod telemetry;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::defaults;
use super::error::{ConfigError, ConfigErrors, KeyPath, MAX_ERRORS};
use super::file;
use super::read::nearest;
use super::value::{ByteSize, MAX_BYTE_SIZE, Template};
use crate::backend::Backend;
use crate::endpoint::Address;
use crate::gateway::Gateway;
use crate::model::Aliases;
use crate::name::{BackendName, MAX_NAME_BYTES};
use crate::pool::Pool;
use crate::route::Destination;
use crate::secret::Secret;

/// Where `${NAME}` comes from.
pub trait Environment {
    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The value of a variable that authenticates. Who only renders can do without.
    fn secret(&self, name: &str) -> Option<String> {
        self.variable(name)
    }

    /// What stands for a variable that is not set while the rest is checked. `at`: the key that has it.
    fn stand_in(&self, _name: &str, _at: &KeyPath) -> Option<String> {
        None
    }

    /// How many errors are noted.
    fn most_errors(&self) -> usize {
        MAX_ERRORS
    }

    /// Whether what authenticates is at hand, and not only its names.
    fn has_secrets(&self) -> bool {
        true
    }

    /// The text of a file that authenticates.
    ///
    /// # Errors
    ///
    /// Why it cannot be read; the module can read none.
    fn file(&self, _path: &str) -> Result<String, String> {
        Err("no file can be read here; use serviceAccount: ${NAME}".to_owned())
    }
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn variable(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Builds a gateway, or notes everything that keeps it from being one.
pub fn gateway(
    file: &file::Gateway,
    environment: &dyn Environment,
    errors: &mut ConfigErrors,
) -> Option<Gateway> {
    let mut build = Build {
        environment,
        errors,
    };
    let root = KeyPath::root();
    let listen = build.listener(
        file.listen.as_deref(),
        defaults::LISTEN,
        &root.key("listen"),
    );
    let admin = build.listener(file.admin.as_deref(), defaults::ADMIN, &root.key("admin"));
    let health = build.health(file);
    let collector = build.collector(file);
    build.entries(file.backends.len(), &root.key("backends"))?;
    build.entries(
        file.routes.as_ref().map_or(0, file::List::len),
        &root.key("routes"),
    )?;
    let prices = Rc::new(build.prices(file.prices.as_ref(), &root));
    let backends = build.backends(file, &prices);
    let pools = build.pools(file, &backends);
    build.headers_first(file, &backends);
    let routes = build.routes(file, &backends, &pools);
    let plugin = build.plugin(file, &backends);
    let max_request_bytes = build.size(
        file.max_request_bytes,
        defaults::MAX_REQUEST_BYTES,
        MAX_BYTE_SIZE,
        &root.key("maxRequestBytes"),
    );
    // Of a VM's memory.
    let max_held_bytes = build.size(
        file.max_held_bytes,
        defaults::MAX_HELD_BYTES,
        MOST_HELD_BYTES,
        &root.key("maxHeldBytes"),
    );
    Some(Gateway {
        listen: listen?,
        admin: admin?,
        health,
        collector,
        max_request_bytes,
        max_held_bytes,
        max_model_labels: defaults::MAX_MODEL_LABELS,
        backends: backends.list,
        pools,
        routes,
        plugin,
    })
}

struct Build<'a> {
    environment: &'a dyn Environment,
    errors: &'a mut ConfigErrors,
}

/// The backends that could be built, in the order of the file.
#[derive(Default)]
struct Backends {
    list: Vec<Rc<Backend>>,
    /// By name the place in `list`: of two with one name the first.
    places: BTreeMap<BackendName, usize>,
}

impl Backends {
    fn extend(&mut self, backend: Option<Backend>) {
        if let Some(backend) = backend {
            let place = self.list.len();
            self.places.entry(backend.name.clone()).or_insert(place);
            self.list.push(Rc::new(backend));
        }
    }

    fn get(&self, name: &str) -> Option<&Rc<Backend>> {
        let name = BackendName::new(name).ok()?;
        self.list.get(*self.places.get(&name)?)
    }
}

impl Build<'_> {
    fn listener(&mut self, written: Option<&str>, default: &str, at: &KeyPath) -> Option<Address> {
        let parsed = Address::parse(written.unwrap_or(default));
        let address = self.noted(parsed, at)?;
        if !address.is_ip {
            self.errors
                .push(at, format!("{:?} is not an IP address", address.host));
            return None;
        }
        Some(address)
    }

    /// Notes a list that is too long to be checked: its elements are compared with each other.
    fn entries(&mut self, count: usize, at: &KeyPath) -> Option<()> {
        if count > MAX_ENTRIES {
            let message = format!("has {count} elements; at most {MAX_ENTRIES} are allowed");
            self.errors.push(at, message);
            return None;
        }
        Some(())
    }

    /// A number of attempts beyond the first.
    fn retries(&mut self, written: Option<u32>, at: &KeyPath) -> Option<u32> {
        let retries = written?;
        if retries > MAX_RETRIES {
            self.errors
                .push(at, format!("must be from 0 to {MAX_RETRIES}"));
        }
        Some(retries.min(MAX_RETRIES))
    }

    /// Text that goes into Envoy's configuration as it is, such as the name of a file.
    fn printable_text(&mut self, template: Option<&Template>, at: &KeyPath) -> Option<String> {
        let text = self.text(template, at)?;
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            self.errors
                .push(at, format!("has the control character {c:?}"));
        }
        Some(text)
    }

    fn aliases<'f>(
        &mut self,
        written: impl Iterator<Item = (&'f String, &'f Template)>,
        at: &KeyPath,
    ) -> Aliases {
        let mut aliases = Vec::new();
        for (name, model) in written {
            let at = at.key(name);
            self.model_or_prefix(name, &at);
            let model = self.model_name(Some(model), &at);
            aliases.extend(model.map(|model| (name.clone(), model)));
        }
        Aliases::new(aliases)
    }

    /// The name of a model, or the beginning of one before a `*`.
    fn model_or_prefix(&mut self, name: &str, at: &KeyPath) {
        if name.trim_end_matches('*').contains('*') || name.ends_with("**") {
            self.errors.push(at, "may have one '*', at its end");
        }
    }

    fn model_name(&mut self, template: Option<&Template>, at: &KeyPath) -> Option<Rc<str>> {
        let model = self.text(template, at)?;
        if model.trim().is_empty() || model.chars().any(char::is_control) {
            self.errors
                .push(at, format!("{model:?} is not the name of a model"));
        }
        Some(Rc::from(model))
    }

    /// A backend or a pool.
    fn destination(
        &mut self,
        file: &file::Gateway,
        name: &str,
        at: &KeyPath,
        backends: &Backends,
        pools: &BTreeMap<&str, &Rc<Pool>>,
    ) -> Option<Destination> {
        if let Some(pool) = pools.get(name).filter(|_| backends.get(name).is_none()) {
            return Some(Destination::Pool(Rc::clone(pool)));
        }
        self.known_backend(file, name, at, backends)
            .map(Destination::Backend)
    }

    fn known_backend(
        &mut self,
        file: &file::Gateway,
        name: &str,
        at: &KeyPath,
        backends: &Backends,
    ) -> Option<Rc<Backend>> {
        let found = backends.get(name);
        // A backend that could not be read has been reported; it is not missing as well.
        let is_written = || file.backends.iter().any(|(_, it)| it.name == name);
        let is_reported = self.errors.are_full();
        if found.is_none() && !is_reported && file.backends.is_whole() && !is_written() {
            let count = file.backends.len();
            let written = file.backends.iter().map(|(_, it)| &*it.name);
            let written = written.filter(|it| it.len() <= MAX_NAME_BYTES);
            let written: Vec<&str> = written.take(MAX_NAMES + 1).collect();
            let hint = if written.len() > MAX_NAMES {
                format!("; there are {count}")
            } else if let Some(near) = nearest(name, &written) {
                format!("; did you mean {near:?}?")
            } else {
                format!("; there are {}", written.join(", "))
            };
            self.errors
                .push(at, format!("no backend is named {name:?}{hint}"));
        }
        found.cloned()
    }

    /// The text of a key, expanded.
    fn text(&mut self, template: Option<&Template>, at: &KeyPath) -> Option<String> {
        let environment = self.environment;
        self.expanded(template?, at, |name| environment.variable(name))
    }

    /// The text of a key that authenticates, expanded.
    fn secret(&mut self, template: &Template, at: &KeyPath) -> Option<String> {
        let environment = self.environment;
        self.expanded(template, at, |name| environment.secret(name))
    }

    fn expanded(
        &mut self,
        template: &Template,
        at: &KeyPath,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Option<String> {
        let environment = self.environment;
        let lookup = |name: &str| lookup(name).or_else(|| environment.stand_in(name, at));
        match template.expand(lookup) {
            Ok(text) if text.is_empty() => {
                self.errors.push(at, empty(template));
                None
            }
            Ok(text) => Some(text),
            Err(name) => {
                self.errors.note(ConfigError::unset(at, &name));
                None
            }
        }
    }

    fn size(&mut self, size: Option<ByteSize>, default: u64, most: u64, at: &KeyPath) -> u64 {
        let ByteSize(bytes) = size.unwrap_or(ByteSize(default));
        if bytes > most {
            let message = format!("{bytes} bytes are more than {}MiB, the maximum", most >> 20);
            self.errors.push(at, message);
        }
        bytes
    }

    fn header_value(&mut self, template: &Template, at: &KeyPath) -> Option<Secret> {
        let value = self.secret(template, at)?;
        if !is_header_value(&value) {
            self.errors.push(at, UNPRINTABLE);
            return None;
        }
        Some(Secret::new(value))
    }

    fn header_name(&mut self, name: &str, at: &KeyPath) -> Option<Rc<str>> {
        let lower = name.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if lower.is_empty() || !lower.bytes().all(token) {
            self.errors
                .push(at, format!("{name:?} is not the name of a header"));
            return None;
        }
        if FRAMING_HEADERS.contains(&lower.as_str()) {
            self.errors
                .push(at, format!("{name:?} is decided by the proxy"));
            return None;
        }
        Some(lower.into())
    }

    /// Notes that a key is missing, unless it is there and could not be read.
    fn required(&mut self, at: &KeyPath, message: &str) {
        if !self.errors.concern(at) {
            self.errors.push(at, message);
        }
    }

    fn noted<T>(&mut self, result: Result<T, impl ToString>, at: &KeyPath) -> Option<T> {
        result
            .map_err(|error| self.errors.push(at, error.to_string()))
            .ok()
    }
}

/// Why a template came to nothing.
fn empty(template: &Template) -> String {
    match template.variables().next() {
        Some(name) => format!("environment variable {name} is empty"),
        None => "is empty; remove the key, or give it a value".to_owned(),
    }
}

/// Whether a value can stand in a header: printable ASCII and spaces.
fn is_header_value(value: &str) -> bool {
    value.bytes().all(|b| matches!(b, 0x20..=0x7e))
}

const UNPRINTABLE: &str = "has a character that cannot stand in a header; only printable ASCII can";

/// Headers by which a message is framed or routed: a value from a configuration would break it.
const FRAMING_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that say how the body is to be read.
const BODY_HEADERS: [&str; 2] = ["content-encoding", "content-type"];

/// The methods that a route can name.
pub const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// Of the memory of a VM, for all its streams.
const MOST_HELD_BYTES: u64 = 512 << 20;

/// More would only keep a client waiting: back-off goes up to 30 s.
const MAX_RETRIES: u32 = 100;

/// The most backends and pools, and the most routes.
const MAX_ENTRIES: usize = 20_000;

/// Of how many names a message lists all, or looks for the nearest.
const MAX_NAMES: usize = 100;
