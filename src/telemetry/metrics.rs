//! The metrics: the catalogue of all of them, and how each is recorded.
//!
//! An event is counted where it happens, through a constant here, so that the metric's name, labels
//! and meaning stand in one place. `docs/monitoring/README.md` lists the same metrics, which a test
//! compares. Every label has few values, and a client cannot choose them: a route is its template, a
//! method one of a list or `other`.
//!
//! Counters are this process's own, from zero at its start. Gauges that cost nothing are set
//! at each scrape. Gauges that need the database are set by a worker, so that a scrape never waits for
//! it.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Key, KeyName, Label, Level, Metadata, SharedString, Unit, with_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::description::Description;
use super::process;

/// A label's value: a constant, or text that is shared.
pub type Value = SharedString;

/// Upper bounds of the duration buckets, in seconds. Token checks take fractions of a millisecond,
/// hashes tens of them, and nothing should take five seconds.
const BUCKETS: [f64; 13] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

const METADATA: Metadata<'static> = Metadata::new("backoffice_auth", Level::INFO, None);

/// A count that only grows.
#[derive(Debug)]
pub struct Counter<const N: usize>(&'static str, [&'static str; N]);

/// A value that goes up and down.
#[derive(Debug)]
pub struct Gauge<const N: usize>(&'static str, [&'static str; N]);

/// A distribution of durations.
#[derive(Debug)]
pub struct Histogram<const N: usize>(&'static str, [&'static str; N]);

fn key<const N: usize>(name: &'static str, labels: [&'static str; N], values: [Value; N]) -> Key {
    let labels = labels.into_iter().zip(values);
    let labels: Vec<_> = labels
        .map(|(name, value)| Label::new(name, value))
        .collect();
    Key::from_parts(name, labels)
}

impl<const N: usize> Counter<N> {
    /// Adds `count`. Adding 0 lets the series begin, so that its first event shows as a rise.
    pub fn add(&self, count: u64, values: [Value; N]) {
        let key = key(self.0, self.1, values);
        with_recorder(|to| to.register_counter(&key, &METADATA).increment(count));
    }
}

impl<const N: usize> Gauge<N> {
    /// Sets the present value.
    pub fn set(&self, value: f64, values: [Value; N]) {
        let key = key(self.0, self.1, values);
        with_recorder(|to| to.register_gauge(&key, &METADATA).set(value));
    }

    /// Sets the present value to a number of things.
    #[expect(clippy::cast_precision_loss, reason = "nothing here comes near 2^52")]
    pub fn count(&self, value: usize, values: [Value; N]) {
        self.set(value as f64, values);
    }

    /// Adds to the value; a negative number subtracts.
    pub fn shift(&self, by: f64, values: [Value; N]) {
        let key = key(self.0, self.1, values);
        with_recorder(|to| to.register_gauge(&key, &METADATA).increment(by));
    }
}

impl<const N: usize> Histogram<N> {
    /// Records a duration.
    pub fn observe(&self, took: Duration, values: [Value; N]) {
        let key = key(self.0, self.1, values);
        with_recorder(|to| {
            to.register_histogram(&key, &METADATA)
                .record(took.as_secs_f64());
        });
    }
}

/// Defines metrics; the doc comment of one is also its help text for scrapers.
macro_rules! catalogue {
    ($($(#[doc = $help:literal])+ $kind:ident $metric:ident = $name:literal [$($label:literal),*];)+) => {
        $(
            $(#[doc = $help])+
            pub static $metric: $kind<{ <[&str]>::len(&[$($label),*]) }> = $kind($name, [$($label),*]);
        )+

        /// Every metric that the recorder keeps, in the order of the definitions.
        const RECORDED: &[Description] = &[$(
            Description {
                name: $name,
                kind: stringify!($kind),
                labels: &[$($label),*],
                help: concat!($($help),+),
            },
        )+];
    };
}

catalogue! {
    /// Requests on the public listener that were answered: by method, route, status and problem code (`ok` without one).
    Counter REQUESTS = "backoffice_auth_requests_total" ["method", "route", "status", "code"];
    /// Requests on the public listener that got no answer, because the client or the server's end cut them short.
    Counter REQUESTS_ABANDONED = "backoffice_auth_requests_abandoned_total" ["method", "route"];
    /// Time from a request's head to its answer, by route and class of status (`2xx`).
    Histogram REQUEST_DURATION = "backoffice_auth_request_duration_seconds" ["route", "class"];
    /// Connections that are open, by listener.
    Gauge CONNECTIONS = "backoffice_auth_connections" ["listener"];
    /// Connections that may be open at a time, by listener.
    Gauge CONNECTIONS_MAX = "backoffice_auth_connections_max" ["listener"];
    /// Connections that did not end by themselves: `unreadable` was answered with 400 or 431 because its request cannot be read, `answer_timeout` did not take an answer, `made_room` gave its place up.
    Counter CONNECTIONS_CUT = "backoffice_auth_connections_cut_total" ["reason"];

    /// Refusals for too many attempts, by limit. All but `mail` are a 429.
    Counter LIMIT_REFUSALS = "backoffice_auth_limit_refusals_total" ["limit"];
    /// Sessions that this instance opened, by what was proved.
    Counter SESSIONS_OPENED = "backoffice_auth_sessions_opened_total" ["method"];
    /// Sessions that this instance ended, by reason. Sessions that the command line ends are in the audit log only.
    Counter SESSIONS_ENDED = "backoffice_auth_sessions_ended_total" ["reason"];

    /// Password hashes that wait for a worker.
    Gauge HASHING_WAITING = "backoffice_auth_hashing_waiting" [];
    /// Password hashes that are being computed.
    Gauge HASHING_WORKING = "backoffice_auth_hashing_working" [];
    /// Password hashes that can be computed at a time.
    Gauge HASHING_WORKERS = "backoffice_auth_hashing_workers" [];
    /// Password hashes that may wait.
    Gauge HASHING_QUEUE = "backoffice_auth_hashing_queue_capacity" [];
    /// Password hashes that were refused: the queue was full, or a place would have come too late.
    Counter HASHING_REFUSALS = "backoffice_auth_hashing_refusals_total" [];
    /// Time that computing a password hash took, waiting not included.
    Histogram HASHING_DURATION = "backoffice_auth_hashing_duration_seconds" [];
    /// Whether `argon2` computes all password hashes, because the faster `argon2-rust` disagreed with it at the start.
    Gauge HASHING_FALLBACK = "backoffice_auth_hashing_fallback" [];
    /// Time after which a refused sign-in is answered because hashes of other kinds are in use; 0 if none are.
    Gauge REFUSAL_DELAY = "backoffice_auth_refusal_delay_seconds" [];

    /// Code mails that wait to leave, over all instances.
    Gauge OUTBOX_WAITING = "backoffice_auth_outbox_waiting" [];
    /// Time since the oldest mail that waits was asked for; 0 if none does.
    Gauge OUTBOX_OLDEST = "backoffice_auth_outbox_oldest_age_seconds" [];
    /// Attempts of this instance to send a mail, by outcome: `sent`, `postponed` after a failure that may pass, `refused` for good, `unclear` where the relay had all of it and did not answer, `expired` unsent.
    Counter MAILS = "backoffice_auth_mails_total" ["outcome"];
    /// Time that an attempt to send a mail took.
    Histogram MAIL_DURATION = "backoffice_auth_mail_duration_seconds" [];

    /// Age of this instance's view of ended sessions. Past 2 s every token check asks the database.
    Gauge ENDED_VIEW_AGE = "backoffice_auth_ended_view_age_seconds" [];
    /// Ended sessions in that view.
    Gauge ENDED_VIEW_SESSIONS = "backoffice_auth_ended_view_sessions" [];
    /// Requests for the feed of ended sessions that wait for one to end.
    Gauge FEED_WAITING = "backoffice_auth_feed_waiting" [];

    /// Signing keys, by what they sign (`access` or `refresh` tokens) and stage.
    Gauge SIGNING_KEYS = "backoffice_auth_signing_keys" ["purpose", "stage"];
    /// Time since the active signing key began to sign.
    Gauge SIGNING_KEY_AGE = "backoffice_auth_signing_key_age_seconds" [];
    /// Time until a successor of the active signing key is made; negative if that is overdue, +Inf if it never is.
    Gauge SIGNING_KEY_ROTATION = "backoffice_auth_signing_key_rotation_seconds" [];

    /// Whether the last look at the database, every 5 s, succeeded. While it is 0, the values read with it keep their last state.
    Gauge DATABASE_UP = "backoffice_auth_database_up" [];
    /// Seconds by which this machine's clock is ahead of the database's, read every 5 s; negative if it is behind. The time of the answer is not counted as a difference.
    Gauge CLOCK_SKEW = "backoffice_auth_clock_skew_seconds" [];
    /// Time since the database last answered this instance's heartbeat, a commit about once a second. Past 3 s it is an outage, and the grace of refresh tokens stands still.
    Gauge COMMIT_HEARTBEAT_AGE = "backoffice_auth_commit_heartbeat_age_seconds" [];
    /// Connections in the pool, by state: `idle`, `used`, or `abandoned`, which is one whose answer is still to come although its caller has left.
    Gauge DATABASE_CONNECTIONS = "backoffice_auth_database_connections" ["state"];
    /// Connections that the pool may hold.
    Gauge DATABASE_CONNECTIONS_MAX = "backoffice_auth_database_connections_max" [];
    /// Time that it took to get a connection of the pool (and, for a transaction, to begin it).
    Histogram DATABASE_WAIT = "backoffice_auth_database_wait_seconds" [];
    /// Failed operations on the database: `pool_timed_out` got no connection, `timed_out` no answer, `wrong_server` met one that is read-only or shutting down, `unavailable` is anything else of the server, `defect` of ours.
    Counter DATABASE_ERRORS = "backoffice_auth_database_errors_total" ["kind"];
    /// Size of a table on disk with its indexes, as its last vacuum or analyze found it.
    Gauge TABLE_SIZE = "backoffice_auth_table_size_bytes" ["table"];
    /// Rows of a table that were removed or replaced and that vacuum has yet to clear away.
    Gauge TABLE_DEAD_ROWS = "backoffice_auth_table_dead_rows" ["table"];
    /// Rows that this instance purged, by table.
    Counter PURGED_ROWS = "backoffice_auth_purged_rows_total" ["table"];

    /// Refusals that were not written down one by one since too many came at once, by where: in the `audit` log or the `log`.
    Counter REFUSALS_LEFT_OUT = "backoffice_auth_refusals_left_out_total" ["where"];
    /// Lines of the log that were dropped, because nobody took them from standard error in time or at all.
    Counter LOG_LINES_DROPPED = "backoffice_auth_log_lines_dropped_total" [];

    /// 1, for the version that runs.
    Gauge BUILD_INFO = "backoffice_auth_build_info" ["version"];
    /// Workers beside the requests that ended without being told to: restart the instance.
    Counter WORKERS_STOPPED = "backoffice_auth_workers_stopped_total" ["worker"];
    /// Whether this instance was told to stop.
    Gauge DRAINING = "backoffice_auth_draining" [];
}

/// All metrics, those of this process included.
pub fn catalogue() -> impl Iterator<Item = Description> {
    let recorded = RECORDED.iter().map(|metric| Description {
        kind: match metric.kind {
            "Counter" => "counter",
            "Gauge" => "gauge",
            _ => "histogram",
        },
        help: metric.help.trim_start(),
        ..*metric
    });
    recorded.chain(process::METRICS.iter().copied())
}

/// The recorder of this process, installed on first use.
fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
            .expect("there are buckets")
            .install_recorder()
            .expect("this is the only recorder");
        describe();
        handle
    })
}

fn describe() {
    for metric in catalogue() {
        let (name, help) = (KeyName::from_const_str(metric.name), metric.help.into());
        let unit: Option<Unit> = None;
        with_recorder(|to| match metric.kind {
            "counter" => to.describe_counter(name, unit, help),
            "gauge" => to.describe_gauge(name, unit, help),
            _ => to.describe_histogram(name, unit, help),
        });
    }
}

/// Starts recording, for the server's start. Events that were counted before are lost.
pub fn start() {
    recorder();
    BUILD_INFO.set(1.0, [env!("CARGO_PKG_VERSION").into()]);
}

/// All metrics recorded so far, and those of this process, in the text format of Prometheus.
#[must_use]
pub fn render() -> String {
    let mut text = recorder().render();
    process::render_onto(&mut text);
    text
}

/// Puts the samples of histograms into their buckets. Rendering does so too, but without a scrape
/// every sample would be kept.
pub fn upkeep() {
    recorder().run_upkeep();
}
