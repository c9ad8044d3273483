//! A mailbox in place of a mail server: mail sent to it goes no further, but can be read.
//!
//! It speaks real SMTP on loopback, keeps the last mails in memory, finds the code in each, and
//! shows them on a page. [`Behaviour`] makes it fail the way mail servers do. It listens on loopback
//! alone, because a reader of its mails can sign in.

mod mail;
mod page;
mod shelf;
mod smtp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::domain::Clock;
use shelf::Shelf;

pub use mail::ReceivedMail;

/// How the mailbox treats deliveries. It can be changed at run time; open connections follow at their next
/// command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Takes every mail.
    #[default]
    Accept,
    /// Refuses these recipients for now: 451.
    Defer(Recipients),
    /// Refuses these recipients for good: 550.
    Refuse(Recipients),
    /// Takes the mails of these recipients and does not answer until the behaviour changes, like a relay
    /// that dies before its last word.
    Stall(Recipients),
    /// Accepts connections and says nothing; the answers follow when the behaviour changes.
    Hang,
    /// Closes every connection at once.
    Down,
}

/// The recipients that a behaviour applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// All recipients.
    All,
    /// These addresses, in any case.
    Only(Vec<String>),
}

impl Recipients {
    fn include(&self, address: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(listed) => listed.iter().any(|a| a.eq_ignore_ascii_case(address)),
        }
    }
}

/// A running mailbox. It ends with its last clone.
#[derive(Debug, Clone)]
pub struct Mailbox {
    shelf: Arc<Shelf>,
    behaviour: Arc<watch::Sender<Behaviour>>,
    smtp_addr: SocketAddr,
    page_addr: Option<SocketAddr>,
    _running: Arc<DropGuard>,
}

impl Mailbox {
    /// Listens for SMTP and, if asked, for browsers. Port 0 takes any free port; an address that is
    /// not loopback is an error.
    pub async fn start(
        smtp: SocketAddr,
        page: Option<SocketAddr>,
        clock: Clock,
    ) -> io::Result<Self> {
        let shelf = Arc::new(Shelf::new(clock));
        let behaviour = Arc::new(watch::Sender::default());
        let stop = CancellationToken::new();

        let listener = listen(smtp).await?;
        let smtp_addr = listener.local_addr()?;
        let page = match page {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let page_addr = page.as_ref().map(TcpListener::local_addr).transpose()?;

        let server = smtp::Server {
            shelf: Arc::clone(&shelf),
            behaviour: behaviour.subscribe(),
            stop: stop.clone(),
        };
        tokio::spawn(server.run(listener));
        if let Some(listener) = page {
            tokio::spawn(page::serve(listener, Arc::clone(&shelf), stop.clone()));
        }
        Ok(Self {
            shelf,
            behaviour,
            smtp_addr,
            page_addr,
            _running: Arc::new(stop.drop_guard()),
        })
    }

    /// The address for deliveries.
    #[must_use]
    pub fn smtp_addr(&self) -> SocketAddr {
        self.smtp_addr
    }

    /// The address of the page, if there is one.
    #[must_use]
    pub fn page_addr(&self) -> Option<SocketAddr> {
        self.page_addr
    }

    /// Changes how deliveries are treated from now on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// The mails that are kept (the last 200), newest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Arc<ReceivedMail>> {
        self.shelf.mails()
    }

    /// The mails to one recipient, newest first.
    #[must_use]
    pub fn mails_to(&self, recipient: &str) -> Vec<Arc<ReceivedMail>> {
        self.shelf.mails_to(recipient)
    }

    /// The oldest mail to `recipient` that this has not returned before. It waits for a mail without
    /// end, so callers bound it. Cancelling it loses no mail.
    pub async fn next_for(&self, recipient: &str) -> Arc<ReceivedMail> {
        self.shelf.next_for(recipient).await
    }

    /// Every mail from now on, as it arrives.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<ReceivedMail>> {
        self.shelf.subscribe()
    }

    /// Removes all mails.
    pub fn clear(&self) {
        self.shelf.clear();
    }
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().to_canonical().is_loopback() {
        let message = format!("{address} is not a loopback address: others could read the codes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    TcpListener::bind(address).await
}

#[cfg(test)]
mod tests;
