//! Which keys of a backend apply to which types. The checks, the JSON Schema and the documentation
//! come from these tables.

use crate::provider::ProviderType::{self, Anthropic, AzureOpenai, Google, Openai};

/// A key of a backend's `config` that does not apply to every type.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// To which types it applies.
    pub types: Types,
    /// Whether it applies to `google` on Vertex AI only, that is, with `location`.
    pub needs_location: bool,
}

/// Some of the provider types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Types {
    /// All but these.
    Except(&'static [ProviderType]),
    /// These.
    Only(&'static [ProviderType]),
}

impl Types {
    /// Whether this is one of them.
    pub fn contain(self, provider: ProviderType) -> bool {
        match self {
            Self::Except(others) => !others.contains(&provider),
            Self::Only(these) => these.contains(&provider),
        }
    }
}

/// The keys of `config` that do not apply to every type, in the order of the messages.
pub const CONFIG_KEYS: [Key; 14] = [
    key("location", Types::Only(&[Google])),
    key("path", Types::Except(&[Anthropic, AzureOpenai, Google])),
    key("apiVersion", Types::Only(&[AzureOpenai])),
    key("deploymentName", Types::Only(&[AzureOpenai])),
    key("orgId", Types::Only(&[Openai])),
    key("projectId", Types::Only(&[Google, Openai])),
    with_location("serviceAccount", Types::Only(&[Google])),
    with_location("serviceAccountFile", Types::Only(&[Google])),
    with_location("tokenEndpoint", Types::Only(&[Google])),
    with_location("maxTokens", Types::Only(&[Anthropic, Google])),
    key("responses", Types::Except(&[Anthropic, Google])),
    key("messages", Types::Except(&[Anthropic, AzureOpenai, Google])),
    key("betas", Types::Except(&[AzureOpenai])),
    key("webSearch", Types::Only(&[Anthropic, Google])),
];

/// The keys of a backend that only a pool has. A backend that is no pool may have one with the same
/// name below `config`.
pub const POOL_KEYS: [&str; 7] = [
    "strategy",
    "fallback",
    "fallbackOn",
    "maxRetries",
    "timeout",
    "firstByteTimeout",
    "backends",
];

const fn key(name: &'static str, types: Types) -> Key {
    Key {
        name,
        types,
        needs_location: false,
    }
}

const fn with_location(name: &'static str, types: Types) -> Key {
    Key {
        name,
        types,
        needs_location: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    #[test]
    fn every_key_of_the_tables_is_one_of_the_file() {
        for key in CONFIG_KEYS {
            let keys = file::BackendConfig::KEYS;
            assert!(keys.contains(&key.name), "{}", key.name);
        }
        for key in POOL_KEYS {
            assert!(file::Backend::KEYS.contains(&key), "{key}");
        }
    }

    #[test]
    fn only_google_has_locations() {
        for key in CONFIG_KEYS {
            assert!(
                !key.needs_location || key.types.contain(Google),
                "{}",
                key.name
            );
        }
    }
}
