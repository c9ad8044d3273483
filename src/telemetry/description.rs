//! The description of a metric.

/// A metric as scrapers and the documentation describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The name of the metric.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// The meaning, in a sentence.
    pub help: &'static str,
}
