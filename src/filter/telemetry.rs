//! Records what an exchange reports: metrics of Envoy, and values in its filter state.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::Host;
use super::host::{self, MetricType};
use crate::contract::telemetry::{FAILED_ATTEMPTS, HELD_BYTES, Metric, MetricKind, STATE_KEYS};
use crate::exchange::Surroundings as _;
use crate::exchange::labels::Known;
use crate::exchange::report::{Recorder, Report};
use crate::gateway::Gateway;

thread_local! {
    /// The numbers of the metrics that this VM has defined, by name.
    static METRICS: RefCell<HashMap<String, u32>> = RefCell::default();

    /// What the gauge of held bytes has of this VM.
    static HELD: Cell<u64> = const { Cell::new(0) };
}

/// What a plugin records.
pub struct Telemetry {
    known: RefCell<Known>,
    has_filter_state: bool,
}

impl Telemetry {
    /// For a plugin with this gateway.
    pub fn new(gateway: &Gateway) -> Rc<Self> {
        let has_filter_state = gateway.plugin.filter_state;
        if has_filter_state {
            for key in STATE_KEYS {
                host::declare_text(key.name);
            }
        }
        Rc::new(Self {
            known: RefCell::new(Known::of(gateway)),
            has_filter_state,
        })
    }

    /// Records a report.
    pub fn record(&self, report: &Report, host: &Host) {
        let mut known = self.known.borrow_mut();
        let mut labels = known.with(host.as_shared());
        let route = || host.route_name();
        report.record(host.now(), &route, &mut labels, &mut Metrics);
        if !self.has_filter_state {
            return;
        }
        if let Some(failed) = report.failed_attempt() {
            let key = [FAILED_ATTEMPTS.name];
            let mut all = host::property(&key).unwrap_or_default();
            if !all.is_empty() {
                all.extend_from_slice(b", ");
            }
            all.extend_from_slice(failed.as_bytes());
            host::set_property(&key, &all);
        }
        if !report.is_repeated {
            report.state(&mut |key, value| host::set_property(&[key.name], value.as_bytes()));
        }
    }
}

/// Adds to a counter, outside of reports.
pub fn count(metric: &Metric, tags: &str) {
    Metrics.count(metric, tags, 1);
}

/// Shows what this VM holds now. Unit: bytes.
pub fn show_held(bytes: u64) {
    let was = HELD.replace(bytes);
    let change = i64::try_from(bytes).unwrap_or(i64::MAX) - i64::try_from(was).unwrap_or(i64::MAX);
    if change != 0
        && let Some(id) = id(&HELD_BYTES, "")
    {
        host::increment_metric(id, change);
    }
}

struct Metrics;

impl Recorder for Metrics {
    fn count(&mut self, metric: &Metric, tags: &str, by: u64) {
        if let Some(id) = id(metric, tags) {
            host::increment_metric(id, i64::try_from(by).unwrap_or(i64::MAX));
        }
    }

    fn record(&mut self, metric: &Metric, tags: &str, value: u64) {
        if let Some(id) = id(metric, tags) {
            host::record_metric(id, value);
        }
    }
}

/// The number of a metric, which is defined once.
fn id(metric: &Metric, tags: &str) -> Option<u32> {
    let name = [metric.name, tags].concat();
    METRICS.with_borrow_mut(|metrics| {
        if let Some(id) = metrics.get(&name) {
            return Some(*id);
        }
        let r#type = match metric.kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
            MetricKind::Histogram(_) => MetricType::Histogram,
        };
        let id = host::define_metric(r#type, &name)?;
        metrics.insert(name, id);
        Some(id)
    })
}
