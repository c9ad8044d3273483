//! Why a connection is cut, and the count of it.

use crate::telemetry::metrics::CONNECTIONS_CUT;

/// Why a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// hyper cannot read a request. It has answered so by itself.
    Unreadable,
    /// The connection failed.
    Broken,
    /// A request's head took too long.
    Head,
    /// No request came.
    Idle,
    /// A write was stuck for too long.
    Write,
    /// The client did not take an answer.
    Answer,
    /// Another connection needed its slot.
    Evicted,
}

impl Cut {
    const ALL: [Self; 7] = [
        Self::Unreadable,
        Self::Broken,
        Self::Head,
        Self::Idle,
        Self::Write,
        Self::Answer,
        Self::Evicted,
    ];

    /// The reason that an error of hyper stands for.
    pub(super) fn by(error: &hyper::Error) -> Self {
        if error.is_parse() {
            Self::Unreadable
        } else {
            Self::Broken
        }
    }

    /// Counts a connection that is cut.
    pub(super) fn count(self) {
        CONNECTIONS_CUT.add(1, [self.as_str().into()]);
    }

    /// Counts and logs a connection that the server cuts by itself.
    pub(super) fn note(self) {
        self.count();
        tracing::debug!(overdue = ?self, "connection cut");
    }

    /// Makes every reason appear in the metrics, before there is a case of it.
    pub(super) fn announce_all() {
        for reason in Self::ALL {
            CONNECTIONS_CUT.add(0, [reason.as_str().into()]);
        }
    }

    /// The word for it in the metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Broken => "broken",
            Self::Head => "head_timeout",
            Self::Idle => "idle_timeout",
            Self::Write => "write_timeout",
            Self::Answer => "answer_timeout",
            Self::Evicted => "made_room",
        }
    }
}
