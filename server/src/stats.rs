//! Counters by command and error word, and their Prometheus form. Labels are names of commands and
//! error words alone: never an argument.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Histogram, Key, Label, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::command::{Entry, table};

/// Upper bounds of the latency histogram, in seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

static METADATA: Metadata<'static> = Metadata::new("stoa_server", metrics::Level::INFO, None);

/// What one command did so far.
#[derive(Default)]
struct PerCommand {
    calls: AtomicU64,
    errors: AtomicU64,
    micros: AtomicU64,
}

/// Counts of one command.
pub(crate) struct Counts {
    /// Its name.
    pub name: &'static str,
    /// How often it was answered.
    pub calls: u64,
    /// How often with an error.
    pub errors: u64,
    /// How long that took in all, in microseconds.
    pub micros: u64,
}

/// The counters of one server.
pub(crate) struct Stats {
    commands: Vec<PerCommand>,
    latency: Vec<Histogram>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
    /// Connections taken so far.
    pub connections: AtomicU64,
    /// Connections closed because the buffers of all were full.
    pub evicted: AtomicU64,
    /// Connections turned away: too many, or no handshake.
    pub rejected: AtomicU64,
    /// Requests so far.
    pub requests: AtomicU64,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Stats {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let matcher = Matcher::Full("stoa_command_seconds".to_string());
        let builder = builder.set_buckets_for_metric(matcher, &LATENCY_BUCKETS).expect("the buckets are not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let describe = |name: &'static str, text: &'static str| (SharedString::const_str(text), name);
        for (text, name) in [
            describe("stoa_commands_total", "Commands answered, by command."),
            describe("stoa_errors_total", "Commands refused, by the first word of the error."),
            describe("stoa_connections_total", "Connections taken."),
            describe("stoa_connections_rejected_total", "Connections turned away."),
            describe("stoa_connections_evicted_total", "Connections closed because the buffers of all were full."),
        ] {
            recorder.describe_counter(name.into(), None, text);
        }
        let (text, name) = describe("stoa_command_seconds", "Time to answer a command.");
        recorder.describe_histogram(name.into(), Some(metrics::Unit::Seconds), text);
        let entries = table().entries();
        let latency = entries
            .iter()
            .map(|entry| recorder.register_histogram(&key("stoa_command_seconds", "command", &entry.name), &METADATA))
            .collect();
        Self {
            commands: entries.iter().map(|_| PerCommand::default()).collect(),
            latency,
            errors: Mutex::default(),
            connections: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            recorder,
            handle,
        }
    }

    /// A command was answered, with an error of this first word if there is one.
    pub(crate) fn answered(&self, entry: &Entry, took: Duration, error: Option<&'static str>) {
        let counts = &self.commands[entry.index];
        counts.calls.fetch_add(1, Relaxed);
        counts.micros.fetch_add(took.as_micros() as u64, Relaxed);
        self.latency[entry.index].record(took.as_secs_f64());
        if let Some(word) = error {
            counts.errors.fetch_add(1, Relaxed);
            self.refused(word);
        }
    }

    /// A request was refused with this first word.
    pub(crate) fn refused(&self, word: &'static str) {
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(word).or_default() += 1;
    }

    /// Counts of all commands that were called.
    pub(crate) fn by_command(&self) -> Vec<Counts> {
        let counts = |(entry, counts): (&'static Entry, &PerCommand)| Counts {
            name: &entry.name,
            calls: counts.calls.load(Relaxed),
            errors: counts.errors.load(Relaxed),
            micros: counts.micros.load(Relaxed),
        };
        table().entries().iter().zip(&self.commands).map(counts).filter(|counts| counts.calls > 0).collect()
    }

    /// How many errors there were, by first word.
    pub(crate) fn by_error(&self) -> Vec<(&'static str, u64)> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.iter().map(|(word, count)| (*word, *count)).collect()
    }

    /// The Prometheus text: the counters, and gauges of the moment.
    pub(crate) fn render(&self, gauges: &[(&'static str, f64)]) -> String {
        let counter = |key: Key, value: u64| self.recorder.register_counter(&key, &METADATA).absolute(value);
        for counts in self.by_command() {
            counter(key("stoa_commands_total", "command", counts.name), counts.calls);
        }
        for (word, count) in self.by_error() {
            counter(key("stoa_errors_total", "word", word), count);
        }
        counter(Key::from_static_name("stoa_connections_total"), self.connections.load(Relaxed));
        counter(Key::from_static_name("stoa_connections_rejected_total"), self.rejected.load(Relaxed));
        counter(Key::from_static_name("stoa_connections_evicted_total"), self.evicted.load(Relaxed));
        for (name, value) in gauges {
            self.recorder.register_gauge(&Key::from_static_name(name), &METADATA).set(*value);
        }
        self.handle.render()
    }

    /// Folds what histograms took in since the last time, so that they stay small; call every few seconds.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn key(name: &'static str, label: &'static str, value: &'static str) -> Key {
    Key::from_parts(name, vec![Label::from_static_parts(label, value)])
}
