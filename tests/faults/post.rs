//! Hands out the mails that were delivered, by the challenge that they are about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use backoffice_auth::dev::{Mailbox, ReceivedMail};
use tokio::sync::watch;
use uuid::Uuid;

use crate::history::Delivered;

/// Everything that was delivered.
#[derive(Debug, Clone)]
pub struct PostOffice {
    mails: Arc<Mutex<Vec<Delivered>>>,
    count: watch::Receiver<usize>,
}

impl PostOffice {
    /// Collects what a mailbox gets from now on. It keeps the last mails only, so they are taken as
    /// they come.
    pub fn open(mailbox: &Mailbox) -> Self {
        let mails: Arc<Mutex<Vec<Delivered>>> = Arc::default();
        let (sender, count) = watch::channel(0);
        let (shelf, mut arrivals) = (Arc::clone(&mails), mailbox.subscribe());
        tokio::spawn(async move {
            while let Ok(mail) = arrivals.recv().await {
                lock(&shelf).extend(read(&mail));
                sender.send_modify(|count| *count += 1);
            }
        });
        Self { mails, count }
    }

    /// The code for a challenge, if it comes in time.
    pub async fn code_for(&self, challenge: &str, patience: Duration) -> Option<String> {
        let fingerprint = fingerprint(challenge);
        let mut count = self.count.clone();
        let coming = async {
            loop {
                count.mark_unchanged();
                let found = lock(&self.mails)
                    .iter()
                    .find(|mail| mail.fingerprint == fingerprint)
                    .map(|mail| mail.code.clone());
                if found.is_some() || count.changed().await.is_err() {
                    return found;
                }
            }
        };
        tokio::time::timeout(patience, coming).await.ok().flatten()
    }

    pub fn mails(&self) -> Vec<Delivered> {
        lock(&self.mails).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(mail: &ReceivedMail) -> Option<Delivered> {
    let raw = String::from_utf8_lossy(&mail.raw);
    let id = raw
        .lines()
        .find_map(|line| line.strip_prefix("Message-ID: <"));
    let (fingerprint, _) = id?.split_once('@')?;
    Some(Delivered {
        fingerprint: fingerprint.to_owned(),
        code: mail.code.clone()?,
        at: mail.received_at,
    })
}

/// The name of a challenge in its mail: 160 bits of a SHA-256, in the letters `a` to `p`.
pub fn fingerprint(challenge: &str) -> String {
    let id: Uuid = challenge.parse().unwrap();
    let hash = digest(&SHA256, id.as_bytes());
    let nibbles = hash.as_ref()[..20].iter().flat_map(|b| [b >> 4, b & 15]);
    nibbles.map(|nibble| char::from(b'a' + nibble)).collect()
}
