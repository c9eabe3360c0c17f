//! What a configuration means: valid by construction.
//!
//! A document is read in two steps. [`mod@file`] has the keys as a person writes them; [`Gateway`] is
//! what they mean, with variables expanded, defaults filled in and names resolved. Whoever holds a
//! [`Gateway`] checks nothing again.

mod build;
pub mod endpoint;
mod error;
pub mod file;
mod protobuf;
pub(crate) mod read;
#[cfg(not(target_family = "wasm"))]
pub mod schema;
pub mod value;
#[cfg(not(target_os = "wasi"))]
pub(crate) mod yaml;

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

pub use self::build::{DEFAULT_ADMIN, Environment};
pub use self::endpoint::{Address, Endpoint};
pub use self::error::{ConfigError, ConfigErrors, KeyPath, Position, Subject};
pub use self::value::{Placement, Role};
use crate::firewall::HeaderRules;
use crate::json::Watched;
use crate::model::ModelRule;
use crate::name::BackendName;
use crate::operation::table::Definition;
use crate::patience::MAX_ERROR_PAUSE;
use crate::pool::{Order, Pool};
use crate::provider::dialect::Options;
use crate::provider::{Dialects, Paths, ProviderType};
use crate::route::{self, Route};
use crate::secret::Secret;
use crate::token;

/// A gateway: its backends and which requests go to them.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Where the rendered Envoy listens.
    pub listen: Address,
    /// Where the rendered Envoy's admin interface listens.
    pub admin: Address,
    /// The largest request body, in bytes.
    pub max_request_bytes: u64,
    /// What one VM may hold for all its streams together, in bytes: see [`crate::budget`].
    pub max_held_bytes: u64,
    /// At least one; the names differ.
    pub backends: Vec<Rc<Backend>>,
    /// The backends of `type: pool`; no name is one of `backends`.
    pub pools: Vec<Rc<Pool>>,
    /// In order of precedence. Empty only where [`Plugin::backend`] or metadata decides.
    pub routes: Vec<Route>,
    /// What concerns one instance of the module.
    pub plugin: Plugin,
}

/// What concerns one instance of the module.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Where it sits.
    pub placement: Placement,
    /// What it does there.
    pub role: Role,
    /// Whether headers can wait for the body.
    pub hold_headers: bool,
    /// Whether Envoy's routes may have metadata for us.
    pub route_metadata: bool,
    /// For which backend it speaks where no metadata says so.
    pub backend: Option<Rc<Backend>>,
    /// How it follows Envoy's choice of route, in a listener; `None`: it chooses by itself.
    pub envoy_routes: Option<EnvoyRoutes>,
}

/// What the module knows of Envoy's routes, beside their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyRoutes {
    /// The path below which internal paths stand: it starts with a `/` and does not end with one.
    pub internal_path: Rc<str>,
    /// The end of `config` in the `istio` metadata of a route that is ours.
    pub owner: Option<String>,
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To one backend.
    Backend(Rc<Backend>),
    /// To one of several.
    Pool(Rc<Pool>),
}

impl Destination {
    /// The name.
    pub fn name(&self) -> &BackendName {
        match self {
            Self::Backend(backend) => &backend.name,
            Self::Pool(pool) => &pool.name,
        }
    }

    /// The backend, or every one of the pool, in file order.
    pub fn backends(&self) -> Vec<&Rc<Backend>> {
        match self {
            Self::Backend(backend) => vec![backend],
            Self::Pool(pool) => pool.members().iter().map(|it| &it.backend).collect(),
        }
    }
}

/// One provider account or server.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name.
    pub name: BackendName,
    /// Its kind.
    pub provider: ProviderType,
    /// Where it lives.
    pub endpoint: Endpoint,
    /// Where to connect instead.
    pub address: Option<Address>,
    /// How its paths are made.
    pub paths: Paths,
    /// What its models speak; `None`: OpenAI's dialect.
    pub dialects: Option<Dialects>,
    /// How chat completions are translated, where the provider has a dialect of its own.
    pub options: Options,
    /// What to do about the body's `model`.
    pub model: ModelRule,
    /// The operations that pass although their model cannot be checked.
    pub unchecked: Vec<&'static Definition>,
    /// What to do about other members of the body, without `model` and `stream`.
    pub members: Vec<MemberRule>,
    /// The members of a body to look at: `model`, `stream`, those of `members`, in order, and
    /// the names of [`crate::provider::LimitName`] where one may have to be replaced.
    pub watched: Watched,
    /// Who authenticates, and how.
    pub auth: Auth,
    /// Headers to set: lower-case name and value. None of them is in `auth`.
    pub headers: Vec<(Rc<str>, Secret)>,
    /// Which of a client's headers pass, beside what holds everywhere.
    pub header_rules: HeaderRules,
    /// Query parameters that authenticate.
    pub query: Option<Query>,
    /// Time to the first byte of the reply, per attempt.
    pub timeout: Duration,
    /// The same for streams, outside of pools.
    pub first_byte_timeout: Option<Duration>,
    /// Time between two bytes of a reply.
    pub stream_idle_timeout: Option<Duration>,
    /// Extra attempts.
    pub max_retries: u32,
    /// TLS, where the endpoint uses it.
    pub tls: Tls,
}

impl Backend {
    /// The same backend without what authenticates at it, and without the headers that it gets.
    pub fn without_credentials(&self) -> Self {
        Self {
            auth: Auth::Nobody,
            headers: Vec::new(),
            query: None,
            ..self.clone()
        }
    }
}

/// Who authenticates at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// We do: with this header, where it is not among [`Backend::headers`] or in the query.
    Gateway(Option<(Rc<str>, Secret)>),
    /// The client does: its own credential is passed on in this header.
    Client(KeyHeader),
    /// Nobody: the provider knows no keys.
    Nobody,
    /// We do, with an access token in this header.
    Token(KeyHeader, Rc<token::Source>),
}

/// The header in which a provider expects its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHeader {
    /// Lower case.
    pub name: Rc<str>,
    /// What stands before the key, its space included.
    pub prefix: Rc<str>,
}

/// Query parameters that are added to every path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Names and values, encoded: `a=b&c=d`.
    pub encoded: Secret,
}

/// What to do about one member of a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRule {
    /// The member's name.
    pub name: String,
    /// Its value as JSON text.
    pub value: Rc<str>,
    /// Whether it is written always, or only where the client's is absent or `null`.
    pub always: bool,
}

/// TLS towards a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// CA certificates (PEM) instead of the system's.
    pub ca_file: Option<String>,
    /// The name for SNI and certificate instead of the endpoint's host.
    pub server_name: Option<String>,
    /// Whether the certificate goes unchecked.
    pub insecure: bool,
}

impl Gateway {
    /// Reads a configuration: YAML or JSON.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    #[cfg(not(target_os = "wasi"))]
    pub fn parse(text: &str, environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        let yaml::Document { value, places } = read::parse(text).map_err(ConfigErrors::from)?;
        Self::read(Ok(value), environment).map_err(|errors| located(errors, &places))
    }

    /// Reads a plugin configuration as Envoy hands it over: a `google.protobuf.Struct`, or JSON.
    ///
    /// YAML text is refused: a reader of YAML would be a tenth of the module.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its key path.
    pub fn parse_plugin(bytes: &[u8], environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        if let Some(members) = protobuf::decode_struct(bytes).filter(|it| !it.is_empty()) {
            return Self::read(Ok(Value::Object(members)), environment);
        }
        let text = String::from_utf8_lossy(bytes);
        let value = read::parse_json(&text).map_err(|error| match text.trim_start() {
            "" => format!("the plugin configuration is empty; {PLUGIN_FORMS}"),
            json if json.starts_with('{') => error,
            _ => format!("the plugin configuration is not JSON: {error}; {PLUGIN_FORMS}"),
        });
        Self::read(value, environment)
    }

    fn read(
        value: Result<Value, String>,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let gateway = read_file(value, &mut errors)
            .and_then(|file| build::gateway(&file, environment, &mut errors));
        gateway.filter(|_| errors.is_empty()).ok_or(errors)
    }

    /// Where a request for this model goes from a route, and the prefix of its name that says so.
    ///
    /// With `backendFromModel` that is what its name begins with, before the first `/`; a name that
    /// begins with no backend's is one of the models that have a `/` themselves.
    pub fn destination(
        &self,
        route: &Route,
        model: route::Model<'_>,
    ) -> (Destination, Option<Rc<str>>) {
        let named = match model {
            route::Model::Named(name) if route.backend_from_model => {
                let name = route.aliases.resolve(name).map_or(name, |alias| alias);
                let backend = name.split_once('/').map(|(backend, _)| backend);
                backend.and_then(|name| self.named(name))
            }
            _ => None,
        };
        match named {
            Some(to) => {
                let prefix = Rc::from(format!("{}/", to.name()));
                (to, Some(prefix))
            }
            None => (route.to.clone(), None),
        }
    }

    /// The backend or the pool with this name.
    pub fn named(&self, name: &str) -> Option<Destination> {
        let pool = self.pools.iter().find(|pool| pool.name.as_str() == name);
        let pool = pool.map(|pool| Destination::Pool(Rc::clone(pool)));
        pool.or_else(|| Some(Destination::Backend(Rc::clone(self.backend(name)?))))
    }

    /// The shortest time for which a stream may have to wait.
    pub fn shortest_wait(&self) -> Duration {
        let deadlines = self.routes.iter().filter_map(|route| route.deadline);
        // Who only chooses sees no more than that a reply has started.
        let sends = self.plugin.role == Role::Send;
        let backends = self.backends.iter().filter(|_| sends);
        let limits = backends.flat_map(|it| [it.first_byte_timeout, it.stream_idle_timeout]);
        let shortest = deadlines.chain(limits.flatten()).min();
        shortest.map_or(MAX_ERROR_PAUSE, |it| it.min(MAX_ERROR_PAUSE))
    }

    /// Where requests go from a route, its own destination first.
    pub fn leads(&self, route: &Route) -> Vec<Destination> {
        let mut leads = vec![route.to.clone()];
        if route.backend_from_model {
            let others = self.destinations().map(|(_, to)| to);
            leads.extend(others.filter(|to| to.name() != route.to.name()));
        }
        leads
    }

    /// Every backend and every pool, by name.
    pub fn destinations(&self) -> impl Iterator<Item = (&str, Destination)> {
        let backends = self.backends.iter().map(|backend| {
            let to = Destination::Backend(Rc::clone(backend));
            (backend.name.as_str(), to)
        });
        let pools = self.pools.iter().map(|pool| {
            let to = Destination::Pool(Rc::clone(pool));
            (pool.name.as_str(), to)
        });
        backends.chain(pools)
    }

    /// The backend with this name.
    pub fn backend(&self, name: &str) -> Option<&Rc<Backend>> {
        self.backends
            .iter()
            .find(|backend| backend.name.as_str() == name)
    }

    /// The pool and its order that a cluster stands for.
    pub fn order_of(&self, cluster: &str) -> Option<(&Rc<Pool>, &Rc<Order>)> {
        self.pools
            .iter()
            .find_map(|pool| Some((pool, pool.order_of(cluster)?)))
    }
}

/// Reads a configuration as it is written, without expanding or resolving anything.
///
/// # Errors
///
/// Everything that does not fit the keys, each with its key path.
#[cfg(not(target_os = "wasi"))]
pub fn parse_file(text: &str) -> Result<file::Gateway, ConfigErrors> {
    let yaml::Document { value, places } = read::parse(text).map_err(ConfigErrors::from)?;
    let mut errors = ConfigErrors::default();
    let file = read_file(Ok(value), &mut errors);
    let file = file.filter(|_| errors.is_empty());
    file.ok_or_else(|| located(errors, &places))
}

#[cfg(not(target_os = "wasi"))]
fn located(mut errors: ConfigErrors, places: &yaml::Places) -> ConfigErrors {
    errors.locate(|error| match error.subject {
        Subject::Key => places.key(&error.at),
        Subject::Value => places.value(&error.at),
    });
    errors
}

#[cfg(not(target_os = "wasi"))]
impl From<yaml::Invalid> for ConfigErrors {
    fn from(invalid: yaml::Invalid) -> Self {
        let mut errors = Self::default();
        errors.push_at(invalid.position, &invalid.at, invalid.message);
        errors
    }
}

fn read_file(value: Result<Value, String>, errors: &mut ConfigErrors) -> Option<file::Gateway> {
    use self::read::FromValue;

    match value {
        Ok(value) => {
            refuse_empty_keys(&value, errors);
            file::Gateway::from_value(&value, &KeyPath::root(), errors)
        }
        Err(message) => {
            errors.push(&KeyPath::root(), message);
            None
        }
    }
}

/// Notes credentials that are written and empty. Elsewhere null is the same as absent; here it would send
/// the client's own credential to the provider, which nobody means by `apiKey:` with nothing behind it.
fn refuse_empty_keys(value: &Value, errors: &mut ConfigErrors) {
    let backends = value.get("backends").and_then(Value::as_array);
    for (index, backend) in backends.into_iter().flatten().enumerate() {
        let config = backend.get("config");
        for key in ["apiKey", "serviceAccount", "serviceAccountFile"] {
            if config
                .and_then(|it| it.get(key))
                .is_some_and(Value::is_null)
            {
                let at = KeyPath::root().key("backends").index(index);
                let message = "is empty; write \"${NAME}\", or remove the key";
                errors.push(&at.key("config").key(key), message);
            }
        }
    }
}

/// How YAML becomes what the module reads.
const PLUGIN_FORMS: &str = "the module reads no YAML text. In YAML around it, write the same keys as \
     a message: \"configuration: {'@type': type.googleapis.com/google.protobuf.Struct, value: \
     {placement: …}}\". In a StringValue, write JSON; \"llm-proxy render\" does";
