//! A worker of Envoy, and the request that it works on, as the module sees them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use llm_proxy::budget::Budget;
use llm_proxy::exchange::Surroundings;
use llm_proxy::moment::Moment;
use llm_proxy::pool::Turns;
use llm_proxy::shared::{Expected, Memory, Shared, Version};

/// What Envoy has. What is not set is absent.
#[derive(Default)]
pub struct Host {
    /// The metadata of the route, as a pair list.
    pub route: Option<Vec<u8>>,
    /// The name of the route.
    pub envoy_route: Option<&'static str>,
    /// Istio's resource that the route was made of.
    pub origin: Option<&'static str>,
    /// The backend of the picked endpoint.
    pub backend: RefCell<Option<String>>,
    /// The cluster of the route.
    pub cluster: RefCell<Option<String>>,
    /// The number of the attempt.
    pub attempt: Cell<Option<u64>>,
    /// Whether the client has gone away.
    pub client_left: bool,
    /// Whether the reply is Envoy's own.
    pub is_without_reply: Cell<bool>,
    /// The time since the start.
    pub now: Cell<Duration>,
    /// What an attempt has kept for the next one. The first stays.
    pub kept: RefCell<Option<Vec<u8>>>,
    /// The last error that an attempt has kept.
    pub kept_error: RefCell<Option<Vec<u8>>>,
    /// What the workers share.
    pub shared: Memory,
    /// Whose turn it is on this worker.
    pub turns: Turns,
    /// The memory of this worker.
    pub budget: Rc<Budget>,
}

/// When tests start. Unit: nanoseconds since 1970.
const START: u64 = 1_700_000_000_123_456_789;

impl Shared for Host {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        self.shared.get(key)
    }

    fn set(&self, key: &str, value: &[u8], expected: Expected) -> bool {
        self.shared.set(key, value, expected)
    }
}

impl Surroundings for Host {
    fn route_metadata(&self) -> Option<Vec<u8>> {
        self.route.clone()
    }

    fn backend_name(&self) -> Option<String> {
        self.backend.borrow().clone()
    }

    fn route_name(&self) -> Option<String> {
        self.envoy_route.map(str::to_owned)
    }

    fn route_origin(&self) -> Option<String> {
        self.origin.map(str::to_owned)
    }

    fn cluster_name(&self) -> Option<String> {
        self.cluster.borrow().clone()
    }

    fn attempt(&self) -> Option<u64> {
        self.attempt.get()
    }

    fn client_left(&self) -> bool {
        self.client_left
    }

    fn now(&self) -> Moment {
        Moment::from_nanos(START).after(self.now.get())
    }

    fn unique(&self) -> u128 {
        0xabcd
    }

    fn kept(&self) -> Option<Vec<u8>> {
        self.kept.borrow().clone()
    }

    fn keep(&self, bytes: &[u8]) {
        self.kept.borrow_mut().get_or_insert(bytes.to_vec());
    }

    fn kept_error(&self) -> Option<Vec<u8>> {
        self.kept_error.borrow().clone()
    }

    fn keep_error(&self, bytes: &[u8]) {
        *self.kept_error.borrow_mut() = Some(bytes.to_vec());
    }

    fn is_without_reply(&self) -> bool {
        self.is_without_reply.get()
    }

    fn turns(&self) -> &Turns {
        &self.turns
    }

    fn budget(&self) -> &Rc<Budget> {
        &self.budget
    }

    fn as_shared(&self) -> &dyn Shared {
        self
    }
}
