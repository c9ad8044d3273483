//! The newest mails, in memory, and which recipients have been given theirs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use super::mail::{Envelope, ReceivedMail};
use crate::domain::Clock;

/// How many mails are kept.
const KEPT: usize = 200;

/// Keeps mails and wakes the callers that wait for them.
#[derive(Debug)]
pub(super) struct Shelf {
    clock: Clock,
    state: Mutex<State>,
    arrivals: watch::Sender<()>,
    announcements: broadcast::Sender<Arc<ReceivedMail>>,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    /// Oldest first.
    mails: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    mail: Arc<ReceivedMail>,
    /// Recipients for whom `next_for` has not given it out.
    waiting: Vec<String>,
}

impl Shelf {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            arrivals: watch::Sender::new(()),
            announcements: broadcast::Sender::new(KEPT),
        }
    }

    /// Adds a mail, and drops the oldest one if there is no room.
    pub(super) fn put(&self, envelope: Envelope, raw: Vec<u8>) {
        let mut state = self.state();
        state.last_id += 1;
        let waiting = envelope.to.clone();
        let mail = Arc::new(ReceivedMail::read(
            state.last_id,
            envelope,
            raw,
            self.clock.now(),
        ));
        if state.mails.len() == KEPT {
            state.mails.pop_front();
        }
        state.mails.push_back(Kept {
            mail: Arc::clone(&mail),
            waiting,
        });
        // It is no failure if nobody listens. The lock is held, so that mails are announced in the
        // order of their ids.
        let _ = self.announcements.send(mail);
        drop(state);
        self.arrivals.send_replace(());
    }

    pub(super) fn mails(&self) -> Vec<Arc<ReceivedMail>> {
        let state = self.state();
        let newest_first = state.mails.iter().rev();
        newest_first.map(|kept| Arc::clone(&kept.mail)).collect()
    }

    pub(super) fn mails_to(&self, recipient: &str) -> Vec<Arc<ReceivedMail>> {
        let mut mails = self.mails();
        mails.retain(|mail| mail.is_to(recipient));
        mails
    }

    pub(super) async fn next_for(&self, recipient: &str) -> Arc<ReceivedMail> {
        // Subscribed before the first look: a mail that arrives in between wakes us.
        let mut arrivals = self.arrivals.subscribe();
        loop {
            if let Some(mail) = self.take_for(recipient) {
                return mail;
            }
            let arrived = arrivals.changed().await;
            arrived.expect("`self` holds the sender");
        }
    }

    fn take_for(&self, recipient: &str) -> Option<Arc<ReceivedMail>> {
        self.state().mails.iter_mut().find_map(|kept| {
            let is_theirs = |to: &String| to.eq_ignore_ascii_case(recipient);
            let place = kept.waiting.iter().position(is_theirs)?;
            kept.waiting.swap_remove(place);
            Some(Arc::clone(&kept.mail))
        })
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<ReceivedMail>> {
        self.announcements.subscribe()
    }

    pub(super) fn clear(&self) {
        self.state().mails.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A list of mails is valid at every step, so a panic elsewhere does no harm to it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> Shelf {
        Shelf::new(Clock::system())
    }

    fn put(shelf: &Shelf, to: &[&str]) {
        let to = to.iter().map(ToString::to_string).collect();
        shelf.put(Envelope { from: None, to }, Vec::new());
    }

    #[tokio::test]
    async fn each_recipient_gets_each_mail_once_and_in_order() {
        let shelf = shelf();
        put(&shelf, &["a@x", "b@x"]);
        put(&shelf, &["A@X"]);
        assert_eq!(shelf.next_for("a@x").await.id, 1);
        assert_eq!(shelf.next_for("a@x").await.id, 2);
        assert_eq!(shelf.next_for("b@x").await.id, 1);
        assert_eq!(shelf.take_for("b@x"), None);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_their_own_mail() {
        let shelf = shelf();
        let deliver = async {
            put(&shelf, &["other@x"]);
            tokio::task::yield_now().await;
            put(&shelf, &["a@x"]);
        };
        let (mail, ()) = tokio::join!(shelf.next_for("a@x"), deliver);
        assert_eq!(mail.id, 2);
    }

    #[test]
    fn the_oldest_mails_make_room() {
        let shelf = shelf();
        for _ in 0..KEPT + 3 {
            put(&shelf, &["a@x"]);
        }
        let ids: Vec<u64> = shelf.mails().iter().map(|mail| mail.id).collect();
        let newest_first: Vec<u64> = (4..=KEPT as u64 + 3).rev().collect();
        assert_eq!(ids, newest_first);
    }
}
