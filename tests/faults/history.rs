//! Requests and their answers, with the instants between which each happened.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backoffice_auth::domain::{Clock, Timestamp};
use tokio::time::Instant;

/// A request and its outcome. Instants are counted from the beginning of the history.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which server was asked.
    pub instance: usize,
    /// Before the first byte left.
    pub started: Duration,
    /// After the last byte came.
    pub ended: Duration,
    pub asked: Asked,
    pub outcome: Outcome,
}

/// A request, in the words of the promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A sign-in; attempts are counted by `key`, which is an address and a network.
    Signin { key: String, is_right: bool },
    /// A confirmation; attempts are counted by `user`.
    Confirm {
        challenge: String,
        user: String,
        is_right: bool,
        /// When the code stops working.
        over_at: Duration,
    },
    /// A refresh with the token of a generation of a session.
    Refresh { session: String, generation: i64 },
    /// A check of an access token.
    Check { session: String },
    /// A sign-out with an access token of a session.
    Signout { session: String },
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Answered {
        status: u16,
        gained: Gained,
    },
    /// There was no connection: the server was not asked.
    Refused,
    /// The server was asked, and no whole answer came: it may have done it or not.
    Lost,
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gained {
    Nothing,
    /// A pair of tokens; `digest` is that of the whole answer, byte for byte.
    Pair {
        session: String,
        generation: i64,
        digest: String,
    },
    Challenge(String),
}

impl Request {
    pub fn status(&self) -> Option<u16> {
        match self.outcome {
            Outcome::Answered { status, .. } => Some(status),
            Outcome::Refused | Outcome::Lost => None,
        }
    }

    pub fn is_ok(&self) -> bool {
        self.status() == Some(200)
    }

    /// Whether the server may have carried the request out, answer or no answer.
    pub fn may_have_happened(&self) -> bool {
        match self.outcome {
            Outcome::Refused => false,
            Outcome::Lost => true,
            Outcome::Answered { status, .. } => matches!(status, 200 | 503),
        }
    }

    pub fn took(&self) -> Duration {
        self.ended.saturating_sub(self.started)
    }
}

/// A look at one instance: its readiness, and whether a sign-in works.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub instance: usize,
    pub at: Duration,
    /// `None`: nobody there to ask.
    pub is_ready: Option<bool>,
    pub serves: bool,
}

/// A code mail that was delivered.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The name of its challenge in the mail.
    pub fingerprint: String,
    pub code: String,
    pub at: Timestamp,
}

/// All of it, as it happens.
#[derive(Debug)]
pub struct History {
    began: Instant,
    began_at: Timestamp,
    requests: Mutex<Vec<Request>>,
    looks: Mutex<Vec<Look>>,
}

impl History {
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            began_at: Clock::system().now(),
            requests: Mutex::default(),
            looks: Mutex::default(),
        }
    }

    pub fn began(&self) -> Instant {
        self.began
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// An instant of the wire as one of the history.
    pub fn place(&self, at: Timestamp) -> Duration {
        (at - self.began_at).to_std().unwrap_or_default()
    }

    pub fn add(&self, request: Request) {
        lock(&self.requests).push(request);
    }

    pub fn add_look(&self, look: Look) {
        lock(&self.looks).push(look);
    }

    /// The requests so far, in the order of their ends.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }

    pub fn looks(&self) -> Vec<Look> {
        lock(&self.looks).clone()
    }

    /// How many requests so far are like this.
    pub fn count(&self, is_like: impl Fn(&Request) -> bool) -> usize {
        lock(&self.requests).iter().filter(|r| is_like(r)).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
