//! Which names may be labels of metrics. Each label is a series that Envoy keeps until it ends, and
//! clients choose the names of models: so there are those of the configuration, the first few that a
//! provider has answered with success, and for the rest one word.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::report::{Labels, safe};
use crate::contract::telemetry::OTHER;
use crate::gateway::Gateway;
use crate::shared::{Expected, Shared};

/// The names that one plugin knows.
#[derive(Debug, Default)]
pub struct Known {
    /// Of the configuration.
    configured: BTreeSet<Rc<str>>,
    /// Learned from replies, on all workers.
    learned: BTreeSet<Rc<str>>,
    /// How many may be learned.
    max_learned: usize,
    parameters: BTreeSet<Rc<str>>,
}

impl Known {
    /// The names of a gateway.
    pub fn of(gateway: &Gateway) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for backend in &gateway.backends {
            let rule = &backend.model;
            names.extend(rule.always.as_deref());
            names.extend(rule.default.as_deref());
            names.extend(rule.aliases.models());
            let served = rule.serves.iter().flatten().map(|it| it.as_str());
            names.extend(served.filter(|it| !it.contains('*')));
        }
        for route in &gateway.routes {
            names.extend(route.model.as_deref());
            names.extend(route.aliases.models());
        }
        Self {
            configured: names.into_iter().map(|it| Rc::from(safe(it))).collect(),
            max_learned: gateway.max_model_labels,
            ..Self::default()
        }
    }

    /// The same with what the workers share.
    pub fn with<'a>(&'a mut self, shared: &'a dyn Shared) -> impl Labels + 'a {
        WithShared {
            known: self,
            shared,
        }
    }

    fn find(&self, name: &str) -> Option<Rc<str>> {
        let found = self.configured.get(name);
        found.or_else(|| self.learned.get(name)).cloned()
    }

    /// Learns a name, unless there are as many as there may be. All workers have the same.
    fn learn(&mut self, name: &str, shared: &dyn Shared) {
        for _ in 0..MAX_TRIES {
            if self.learned.len() >= self.max_learned {
                return;
            }
            let (list, expected) = match shared.get(SHARED_KEY) {
                Some((list, version)) => (list, Expected::Version(version)),
                None => (Vec::new(), Expected::Absent),
            };
            let mut list = String::from_utf8(list).unwrap_or_default();
            self.learned.extend(list.lines().map(Rc::from));
            if self.learned.contains(name) || self.learned.len() >= self.max_learned {
                return;
            }
            list.push_str(name);
            list.push('\n');
            if shared.set(SHARED_KEY, list.as_bytes(), expected) {
                self.learned.insert(Rc::from(name));
                return;
            }
        }
    }
}

struct WithShared<'a> {
    known: &'a mut Known,
    shared: &'a dyn Shared,
}

impl Labels for WithShared<'_> {
    fn model(&mut self, name: &str, is_answered: bool) -> Rc<str> {
        let name = safe(name);
        if let Some(label) = self.known.find(&name) {
            return label;
        }
        if is_answered && !name.is_empty() {
            self.known.learn(&name, self.shared);
        }
        self.known.find(&name).unwrap_or_else(|| Rc::from(OTHER))
    }

    fn parameter(&mut self, name: &str) -> Rc<str> {
        let parameters = &mut self.known.parameters;
        if let Some(label) = parameters.get(name) {
            return Rc::clone(label);
        }
        if parameters.len() >= MAX_PARAMETERS {
            return Rc::from(OTHER);
        }
        let label: Rc<str> = Rc::from(name);
        parameters.insert(Rc::clone(&label));
        label
    }
}

/// Where the learned names are: one in each line.
const SHARED_KEY: &str = "labels/models";

/// How often another worker may be first.
const MAX_TRIES: usize = 4;

/// How many names of parameters are labels: more than the tables of adapted ones have.
const MAX_PARAMETERS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Memory;

    fn known(max: usize) -> Known {
        let text = "backends:
- {name: a, type: openai, config: {apiKey: k, model: m, modelAliases: {x: y, 'z*': w}, models: [s, 't*']}}
routes:
- {path: /a, backend: a, model: r}";
        let gateway = Gateway::parse(text, &|_: &str| None::<String>);
        let mut gateway = gateway.unwrap_or_else(|errors| panic!("{errors}"));
        gateway.max_model_labels = max;
        Known::of(&gateway)
    }

    #[test]
    fn the_names_of_the_configuration_are_labels() {
        let (mut known, shared) = (known(0), Memory::default());
        for name in ["m", "y", "w", "s", "r"] {
            assert_eq!(&*known.with(&shared).model(name, false), name);
        }
        for name in ["x", "t1", "", "gpt"] {
            assert_eq!(&*known.with(&shared).model(name, true), OTHER);
        }
    }

    #[test]
    fn the_first_names_that_are_answered_are_labels_and_no_more_on_all_workers() {
        let shared = Memory::default();
        let (mut one, mut two) = (known(3), known(3));
        assert_eq!(&*one.with(&shared).model("a", false), OTHER);
        assert_eq!(&*one.with(&shared).model("a", true), "a");
        assert_eq!(&*one.with(&shared).model("a", false), "a");
        assert_eq!(&*two.with(&shared).model("b", true), "b");
        assert_eq!(&*one.with(&shared).model("b", true), "b");
        assert_eq!(&*two.with(&shared).model("c;d\n", true), "c_d_");
        for number in 0..10_000 {
            let name = format!("made-up-{number}");
            assert_eq!(&*one.with(&shared).model(&name, true), OTHER);
            assert_eq!(&*two.with(&shared).model(&name, true), OTHER);
        }
        assert_eq!(&*one.with(&shared).model("c_d_", false), "c_d_");
    }
}
