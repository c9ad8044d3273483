//! Room for the mails that this instance sends at a time.
//!
//! A mail that was tried before can take half of the places at most: however many recipients a relay
//! stalls on, there is room for those who have just signed in. A mail that a relay has completely, and
//! whose last answer is waited for, steps aside: a relay that takes minutes for it holds nobody up.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::Due;

/// Mails on the way at a time, besides those that have stepped aside.
const MAX_SENDING: usize = 16;

/// Mails among them that were tried before.
const MAX_SENDING_AGAIN: usize = 8;

/// Mails for which a relay's last word is waited for, aside from those.
const MAX_ASIDE: usize = 32;

/// The places for mails that are being sent.
pub(super) struct Places {
    all: Arc<Semaphore>,
    again: Arc<Semaphore>,
    aside: Arc<Semaphore>,
}

/// A place that is taken; free again when this is dropped.
pub(super) struct Place {
    permits: Mutex<Vec<OwnedSemaphorePermit>>,
    aside: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_SENDING)),
            again: Arc::new(Semaphore::new(MAX_SENDING_AGAIN)),
            aside: Arc::new(Semaphore::new(MAX_ASIDE)),
        }
    }

    pub(super) fn free(&self, due: Due) -> usize {
        let all = self.all.available_permits();
        match due {
            Due::New => all,
            Due::Again => all.min(self.again.available_permits()),
        }
    }

    pub(super) fn take(&self, due: Due) -> Option<Place> {
        let take = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        let mut permits = Vec::new();
        if due == Due::Again {
            permits.push(take(&self.again)?);
        }
        permits.push(take(&self.all)?);
        Some(Place {
            permits: Mutex::new(permits),
            aside: Arc::clone(&self.aside),
        })
    }
}

impl Place {
    /// Takes a place aside in exchange, if there is one, and tells whether it did.
    pub(super) fn step_aside(&self) -> bool {
        let Ok(aside) = Arc::clone(&self.aside).try_acquire_owned() else {
            return false;
        };
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        *permits = vec![aside];
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mails_that_were_tried_before_take_half_of_the_places_at_most() {
        let places = Places::new();
        let again: Vec<_> = std::iter::from_fn(|| places.take(Due::Again)).collect();
        assert_eq!((again.len(), places.free(Due::Again)), (8, 0));
        let new: Vec<_> = std::iter::from_fn(|| places.take(Due::New)).collect();
        assert_eq!((new.len(), places.free(Due::New)), (8, 0));
        drop(again);
        assert_eq!((places.free(Due::Again), places.free(Due::New)), (8, 8));
    }

    #[test]
    fn a_mail_that_steps_aside_makes_room_until_there_is_no_room_aside() {
        let places = Places::new();
        let take = || places.take(Due::Again).unwrap();
        let aside: Vec<_> = std::iter::repeat_with(take)
            .take_while(Place::step_aside)
            .collect();
        assert_eq!((aside.len(), places.free(Due::New)), (32, 16));
        let stuck = take();
        assert!(!stuck.step_aside());
        assert_eq!((places.free(Due::New), places.free(Due::Again)), (15, 7));
        drop(aside);
        assert!(stuck.step_aside());
        assert_eq!((places.free(Due::New), places.free(Due::Again)), (16, 8));
    }
}
