//! The log as JSON: an object for each event, with the fields of the request that it belongs to under `span`.
//!
//! `tracing-subscriber` has a form like it, which parses the fields of the span again for each event and for
//! each field that is added. A line of it cost as much as all else that a token check takes. Here, the fields
//! of a span are written once, kept as text and copied.

use std::fmt;

use serde::{Serialize, Serializer};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// A line is seldom longer.
const USUAL_BYTES: usize = 512;

/// Writes an event.
#[derive(Debug)]
pub(super) struct Lines;

/// Writes the fields of a span: members of an object, without its braces.
#[derive(Debug)]
pub(super) struct Fields;

impl<S> FormatEvent<S, Fields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Fields>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Of an event that a library logged through the crate `log`.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut line = Members(Vec::with_capacity(USUAL_BYTES));
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        line.add("timestamp", &time);
        line.add("level", metadata.level().as_str());
        event.record(&mut line);
        line.add("target", metadata.target());
        let parent = event.parent().and_then(|id| context.span(id));
        if let Some(span) = parent.or_else(|| context.lookup_current()) {
            line.begin("span");
            line.0.push(b'{');
            if let Some(fields) = span.extensions().get::<FormattedFields<Fields>>()
                && !fields.is_empty()
            {
                line.0.extend_from_slice(fields.as_bytes());
                line.0.push(b',');
            }
            line.write("name");
            line.0.push(b':');
            line.write(span.name());
            line.0.push(b'}');
        }
        writeln!(out, "{{{}}}", line.into_text())
    }
}

impl<'a> FormatFields<'a> for Fields {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'a>, fields: R) -> fmt::Result {
        let mut members = Members(Vec::new());
        fields.record(&mut members);
        out.write_str(&members.into_text())
    }

    fn add_fields(
        &self,
        current: &'a mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        let mut members = Members(Vec::new());
        fields.record(&mut members);
        let added = members.into_text();
        // Fields that are told twice are written once: readers disagree about duplicate members.
        if !current.fields.contains(&added) {
            if !current.is_empty() {
                current.fields.push(',');
            }
            current.fields.push_str(&added);
        }
        Ok(())
    }
}

/// Members of an object, in JSON.
struct Members(Vec<u8>);

impl Members {
    fn into_text(self) -> String {
        String::from_utf8(self.0).expect("JSON is UTF-8")
    }

    /// Writes a name, for which there has to be a value.
    fn begin(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        self.write(name);
        self.0.push(b':');
    }

    fn add(&mut self, name: &str, value: impl Serialize) {
        self.begin(name);
        self.write(value);
    }

    fn add_field(&mut self, field: &Field, value: impl Serialize) {
        // The metadata has these fields of a record of `log` already.
        if !field.name().starts_with("log.") {
            self.add(field.name(), value);
        }
    }

    fn write(&mut self, value: impl Serialize) {
        serde_json::to_writer(&mut self.0, &value).expect("memory can be written to");
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add_field(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_field(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_field(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_field(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_field(field, Printed(value));
    }
}

/// A value as it is printed.
struct Printed<'a>(&'a dyn fmt::Debug);

impl Serialize for Printed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tracing::field::Empty;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::testing::Written;

    /// The lines that are logged meanwhile, without their times.
    fn logged(log: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(Fields)
            .event_format(Lines)
            .with_writer(written.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let text = written.take();
        let lines = text.lines().map(|line| {
            assert!(line.matches(r#""user_id":"#).count() < 2, "{line}");
            let mut line: Value = serde_json::from_str(line).unwrap();
            let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert!(chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).is_ok());
            line
        });
        lines.collect()
    }

    const TARGET: &str = module_path!();

    #[test]
    fn an_event_is_an_object_with_its_fields_and_those_of_its_span() {
        let lines = logged(|| {
            let span = tracing::info_span!("request", route = "/a", id = %7, user_id = Empty);
            span.record("user_id", 42);
            span.record("user_id", 42);
            span.in_scope(|| tracing::warn!(status = 503_u16, took = ?[1, 2], "unavailable"));
            tracing::info!(is_alone = true, ratio = 0.5, less = -1);
        });
        let first = json!({
            "level": "WARN", "message": "unavailable", "status": 503, "took": "[1, 2]", "target": TARGET,
            "span": {"name": "request", "route": "/a", "id": "7", "user_id": 42},
        });
        let second = json!({
            "level": "INFO", "is_alone": true, "ratio": 0.5, "less": -1, "target": TARGET,
        });
        assert_eq!(lines, [first, second]);
    }

    #[test]
    fn no_text_gets_out_of_its_string() {
        let text = "a\"b\\c\nd\u{1}\u{2028}\"}";
        let lines = logged(|| {
            let span = tracing::info_span!("request", text, late = Empty);
            span.record("late", text);
            span.in_scope(|| tracing::info!(text, shown = %text, "{text}"));
        });
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        for place in ["/text", "/shown", "/message", "/span/text", "/span/late"] {
            assert_eq!(line.pointer(place).unwrap(), text, "{place}");
        }
    }

    #[test]
    fn a_span_without_fields_and_one_without_those_of_its_parent_are_objects_too() {
        let lines = logged(|| {
            let outer = tracing::info_span!("outer", outer = 1).entered();
            tracing::info_span!("inner").in_scope(|| tracing::info!("said"));
            drop(outer);
        });
        assert_eq!(lines[0]["span"], json!({"name": "inner"}));
    }

    #[test]
    fn an_event_of_the_crate_log_has_its_own_target() {
        let lines = logged(|| {
            let record = tracing_log::log::Record::builder()
                .args(format_args!("said"))
                .level(tracing_log::log::Level::Info)
                .target("a_library")
                .build();
            tracing_log::format_trace(&record).unwrap();
        });
        let expected = json!({"level": "INFO", "message": "said", "target": "a_library"});
        assert_eq!(lines, [expected]);
    }
}
