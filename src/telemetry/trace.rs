//! The trace that a request belongs to. With the feature `otlp`, spans are sent to a collector.

use tracing::Span;

pub use super::trace_parent::TraceParent;

/// Makes a request's span a part of its caller's trace, and writes the trace's id into the span's
/// field `trace_id`. Without a caller's trace, it has one only if traces are sent.
pub fn join(span: &Span, parent: Option<TraceParent>) {
    let caller = parent.map(|parent| parent.trace_id);
    #[cfg(feature = "otlp")]
    let caller = super::otlp::join(span, parent).or(caller);
    if let Some(trace_id) = caller {
        span.record("trace_id", format_args!("{trace_id:032x}"));
    }
}
