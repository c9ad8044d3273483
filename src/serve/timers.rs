//! A connection's clocks.
//!
//! hyper has a clock for a request's head, but starts it when the connection falls idle. One number
//! would then have to serve two purposes: a load balancer keeps idle connections for a minute or
//! more, while a head that trickles in must be cut after seconds. Nor does that clock run while the
//! protocol is still unknown. So hyper's clock is off and [`ConnectionTimers`] keep these, which are
//! those of Go's server:
//!
//! - The first head must be complete within `head` of connecting, each later one within `head` of
//!   its first byte. (In a pipeline, the first byte after the answer counts.)
//! - Between requests a connection may be silent for `idle`.
//! - A write may be stuck for `write`, because the client does not read.
//! - The client must take each piece of an answer within `write` of the one before. In HTTP/2 a
//!   client opens a window for each answer, and a client that never does so sticks no write.
//!
//! In HTTP/2 requests share a connection, so the first clock does not run there; hyper's pings find
//! out whether the peer still lives. A connection with an answer that is not taken gets no further
//! requests there, and ends once the others are answered.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::cut::Cut;
use super::requests::{Phase, RequestNumber, Requests};

/// After how long without a request an HTTP/1 connection gives its buffers back.
const PARK_AFTER: Duration = Duration::from_millis(25);

/// How long a connection must have been quiet before it can be evicted: its client may be about to
/// send something.
const IDLE_PATIENCE: Duration = Duration::from_secs(1);

/// The same where a client would lose a request or an answer.
const BUSY_PATIENCE: Duration = Duration::from_secs(3);

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a request's head.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For a write that makes no progress, and for each piece of an answer.
    pub write: Duration,
}

/// The action for a connection once one of its clocks has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Park it: it has been quiet for a while.
    Park,
    /// Cut it, for this reason.
    Cut(Cut),
}

/// A connection's clocks.
pub(super) struct ConnectionTimers {
    timeouts: Timeouts,
    state: Mutex<State>,
    /// Another connection needs the slot.
    eviction: Notify,
}

/// The events by which a connection's clocks run.
struct State {
    requests: Requests,
    /// Whether the connection is parked: hyper does not have it.
    is_parked: bool,
    is_http2: bool,
    /// Whether the connection is about to end.
    is_closing: bool,
    /// The time since which a head is awaited.
    head_since: Option<Instant>,
    /// The time since which there has been no request, while there is none.
    quiet_since: Instant,
    /// The time since which a write has been stuck.
    stuck_since: Option<Instant>,
    /// The end of the time in which the others are answered, once an answer was not taken.
    grace_ends_at: Option<Instant>,
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            requests: Requests::default(),
            is_parked: true,
            is_http2: false,
            is_closing: false,
            head_since: Some(now),
            quiet_since: now,
            stuck_since: None,
            grace_ends_at: None,
        }
    }

    /// The next clock to run out if nothing happens, and the action that is due then.
    fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Due)> {
        let cut = |reason| move |at| (at, Due::Cut(reason));
        let writing = self.stuck_since.map(|since| since + timeouts.write);
        let answering = self.answer_deadline(timeouts.write);
        let all = [
            self.read_deadline(timeouts),
            writing.map(cut(Cut::Write)),
            answering.map(cut(Cut::Answer)),
        ];
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn read_deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Due)> {
        match (self.requests.is_empty(), self.head_since) {
            (true, Some(since)) => Some((since + timeouts.head, Due::Cut(Cut::Head))),
            (true, None) if self.can_park() => Some((self.quiet_since + PARK_AFTER, Due::Park)),
            (true, None) => Some((self.quiet_since + timeouts.idle, Due::Cut(Cut::Idle))),
            (false, _) => None,
        }
    }

    /// The time at which an answer that is not taken ends the connection: when the first answer is
    /// overdue; during the grace of the others, when the last one is.
    fn answer_deadline(&self, write: Duration) -> Option<Instant> {
        match self.grace_ends_at {
            None => self.requests.first_deadline(write),
            Some(end) => {
                let last = self.requests.last_deadline(write);
                Some(last.map_or(end, |at| at.min(end)))
            }
        }
    }

    fn begin_grace(&mut self, write: Duration, now: Instant) -> bool {
        let is_first = self.grace_ends_at.is_none();
        self.grace_ends_at.get_or_insert(now + write);
        is_first && self.requests.any_in_time(write, now)
    }

    fn evictable_at(&self) -> Option<Instant> {
        if !self.requests.is_empty() {
            let since = self.requests.all_wait_since()?;
            return Some(since + BUSY_PATIENCE);
        }
        match self.head_since {
            // A later head has begun.
            Some(since) if since != self.quiet_since => Some(since + BUSY_PATIENCE),
            _ => Some(self.quiet_since + IDLE_PATIENCE),
        }
    }

    /// Whether hyper holds nothing but empty buffers once the connection is quiet.
    fn can_park(&self) -> bool {
        let is_settled = !self.is_closing && self.stuck_since.is_none();
        is_settled && !self.is_parked && !self.is_http2
    }
}

impl ConnectionTimers {
    /// The clocks of a connection that has just been accepted.
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            state: Mutex::new(State::new(Instant::now())),
            eviction: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when a clock has run out. `clock` is reset whenever the deadline has moved. It moves
    /// nearer only when the connection's own task has something to do, so it needs no waker of its
    /// own: HTTP/2 answers are made in other tasks, but handing one over wakes this one.
    pub(super) fn poll_due(&self, mut clock: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Due> {
        let deadline = self.state().deadline(&self.timeouts);
        let Some((at, due)) = deadline else {
            return Poll::Pending;
        };
        if clock.deadline() != at {
            clock.as_mut().reset(at);
        }
        clock.poll(cx).map(|()| due)
    }

    /// The connection waits for its client without hyper.
    pub(super) fn park(&self) {
        let mut state = self.state();
        state.is_parked = true;
        state.requests.shrink();
    }

    /// hyper gets the connection.
    pub(super) fn unpark(&self) {
        self.state().is_parked = false;
    }

    /// The client speaks HTTP/2.
    pub(super) fn note_http2(&self) {
        let mut state = self.state();
        state.is_http2 = true;
        state.head_since = None;
    }

    /// The connection is about to end.
    pub(super) fn note_closing(&self) {
        self.state().is_closing = true;
    }

    /// The client has sent so many bytes.
    pub(super) fn note_read(&self, length: usize) {
        let now = Instant::now();
        let mut state = self.state();
        if length > 0 && state.requests.is_empty() && !state.is_http2 {
            state.head_since.get_or_insert(now);
        }
    }

    /// A write is stuck, or has made progress.
    pub(super) fn note_write(&self, is_stuck: bool) {
        let mut state = self.state();
        if is_stuck {
            state.stuck_since.get_or_insert_with(Instant::now);
        } else {
            state.stuck_since = None;
        }
    }

    /// A head is complete.
    pub(super) fn begin_request(&self, phase: Phase) -> RequestNumber {
        let mut state = self.state();
        state.head_since = None;
        state.requests.begin(phase)
    }

    /// A request waits for something else.
    pub(super) fn set_phase(&self, number: RequestNumber, now: Phase) {
        if let Some(phase) = self.state().requests.phase_mut(number) {
            *phase = now;
        }
    }

    /// A request's body is complete, or nobody wants more of it.
    pub(super) fn end_body(&self, number: RequestNumber) {
        if let Some(phase @ Phase::Receiving(_)) = self.state().requests.phase_mut(number) {
            *phase = Phase::Working;
        }
    }

    /// A request's answer is taken, or given up.
    pub(super) fn end_request(&self, number: RequestNumber) {
        let mut state = self.state();
        state.requests.end(number);
        state.quiet_since = Instant::now();
    }

    /// Begins the time between requests again.
    pub(super) fn restart_idle(&self) {
        self.state().quiet_since = Instant::now();
    }

    /// Gives the requests that share the connection with an answer that is not taken the time to be
    /// answered. False if that time is over, or if there are no such requests.
    pub(super) fn begin_grace(&self) -> bool {
        let write = self.timeouts.write;
        self.state().begin_grace(write, Instant::now())
    }

    /// The time from which the connection can be evicted, in favour of another; `None` while a request
    /// is worked on. It moves on whenever something happens.
    pub(super) fn evictable_at(&self) -> Option<Instant> {
        self.state().evictable_at()
    }

    /// Asks the connection to go. It stays if a request arrives meanwhile.
    pub(super) fn evict(&self) {
        self.eviction.notify_one();
    }

    /// Ready when the connection was asked to go, and still can.
    pub(super) async fn evicted(&self) {
        loop {
            self.eviction.notified().await;
            if self.evictable_at().is_some_and(|at| at <= Instant::now()) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::http::Request;
    use http_body_util::{BodyExt as _, Empty};
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::AsyncReadExt as _;

    use crate::serve::wire::{REQUEST, Wire, pause};

    #[tokio::test(start_paused = true)]
    async fn a_first_head_must_be_in_ten_seconds_after_connecting() {
        assert_eq!(Wire::open(99).seconds_until_cut().await, 10);
        let mut wire = Wire::open(99);
        pause(9).await;
        wire.send("GET / HTT").await;
        assert_eq!(wire.seconds_until_cut().await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_is_cut() {
        let mut wire = Wire::open(99);
        for byte in REQUEST[..10].chars() {
            wire.send(&byte.to_string()).await;
            pause(1).await;
        }
        assert_eq!(wire.seconds_until_cut().await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_preface_of_http2_that_trickles_in_is_cut() {
        let mut wire = Wire::open(1024);
        wire.send("PRI * HTTP/2.0\r\n\r\nS").await;
        assert_eq!(wire.seconds_until_cut().await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_can_be_used_again_after_a_minute_and_ends_after_75_idle_seconds() {
        let mut wire = Wire::open(999);
        for _ in 0..2 {
            wire.send(REQUEST).await;
            wire.answer().await;
            pause(60).await;
        }
        let mut nothing = [0];
        assert_eq!(
            wire.client.read(&mut nothing).await.unwrap(),
            0,
            "clean end"
        );
        drop(wire.client);
        assert_eq!(wire.opened.elapsed().as_secs(), 60 + 75);
        wire.server.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_head_must_be_in_ten_seconds_after_its_first_byte() {
        let mut wire = Wire::open(999);
        wire.send(REQUEST).await;
        wire.answer().await;
        pause(60).await;
        wire.send("GET / HTT").await;
        assert_eq!(wire.seconds_until_cut().await, 70);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_waited_for() {
        let mut wire = Wire::open(999);
        wire.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        wire.answer().await;
        assert_eq!(wire.opened.elapsed().as_secs(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut() {
        let mut wire = Wire::open(99);
        wire.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(wire.seconds_until_cut().await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn http2_shares_a_connection_and_ends_it_after_75_idle_seconds_too() {
        let wire = Wire::open(99_999);
        let (io, executor) = (TokioIo::new(wire.client), TokioExecutor::new());
        let (mut sender, connection) = http2::handshake(executor, io).await.unwrap();
        let client = tokio::spawn(connection);
        pause(60).await;
        let request = |uri| Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let slow = sender.send_request(request("http://x/slow"));
        let quick = sender.send_request(request("http://x/")).await.unwrap();
        assert_eq!(quick.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert_eq!(wire.opened.elapsed().as_secs(), 60);
        let slow = slow.await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(slow.to_bytes(), "ok");
        client.await.unwrap().unwrap();
        assert_eq!(wire.opened.elapsed().as_secs(), 60 + 600 + 75);
        wire.server.await.unwrap();
    }
}
