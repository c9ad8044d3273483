//! The findings of the checks.

use serde_json::{Value, json};

/// The result of one check.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) subject: String,
    pub(super) verdict: Verdict,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// The server works, but something is weak.
    Weak,
    Problem,
}

impl Finding {
    pub(super) fn good(subject: &str, text: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Good, text)
    }

    pub(super) fn problem(subject: &str, text: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Problem, text)
    }

    pub(super) fn weak(subject: &str, text: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Weak, text)
    }

    fn new(subject: &str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            subject: subject.to_owned(),
            verdict,
            text: text.into(),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "check": self.subject,
            "status": self.verdict.word(),
            "text": self.text,
        })
    }
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Weak => "warning",
            Self::Problem => "problem",
        }
    }
}
