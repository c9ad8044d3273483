//! Why a person cannot sign in, or how a request ended, from the audit log, the limits, the outbox and
//! the sessions.

use std::collections::HashMap;

use super::Admin;
use crate::domain::{
    ClientNetwork, EmailAddress, Limit, LimitScope, RequestId, Timestamp, TwoFactor, User, UserId,
};
use crate::limits::Ceilings;
use crate::store::{AttemptRecord, AuditRecord, MailRecord, SessionHistory, StoreError};

/// Events told at most.
const MAX_EVENTS: u8 = 50;

/// Mails and sessions told at most, each.
const MAX_ROWS: i64 = 20;

/// An explanation of a person's or a request's case.
#[derive(Debug)]
pub struct Explanation {
    /// The address it is about, if one is known.
    pub email: Option<EmailAddress>,
    /// The user who has it now.
    pub user: Option<User>,
    /// The obstacles to a sign-in now.
    pub obstacles: Vec<Obstacle>,
    /// The recorded events, oldest first.
    pub events: Vec<AuditRecord>,
    /// Whether there are older events than these.
    pub has_older_events: bool,
    /// Mails of the last days, oldest first.
    pub mails: Vec<MailRecord>,
    /// Sessions, oldest first.
    pub sessions: Vec<SessionHistory>,
    /// The database's clock, by which all this is so.
    pub now: Timestamp,
}

/// An obstacle to a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody has the address.
    NoUser,
    /// An operator disabled the user.
    Disabled {
        /// When the user was disabled.
        since: Timestamp,
    },
    /// There is no password to sign in with.
    NoPassword,
    /// Too many wrong codes in a row.
    SecondFactorLocked {
        /// The number of them.
        wrong_codes: i32,
    },
    /// A limit refuses.
    Limited {
        /// The limit, by the attempts that it counts.
        scope: LimitScope,
        /// The network that it refuses; all of them, if there is none, or one that is not known.
        network: Option<ClientNetwork>,
        /// The time from which it no longer refuses.
        until: Timestamp,
    },
    /// The last code mail has not left.
    MailStuck(MailState),
}

/// The state of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailState {
    /// It is to be sent.
    Waiting,
    /// The mail server took it.
    Sent,
    /// The mail server had all of it and has not said whether it takes it.
    Unclear,
    /// The mail server refused it for good.
    Refused,
    /// Its code or link expired, or was used, before it could leave.
    Expired,
}

impl MailState {
    /// The state of a mail.
    #[must_use]
    pub fn of(mail: &MailRecord) -> Self {
        match (mail.sent_at, mail.given_up_at) {
            (Some(_), _) => Self::Sent,
            (None, Some(at)) if at < mail.expires_at && mail.consumed_at.is_none() => Self::Refused,
            (None, _) if mail.copies > 0 => Self::Unclear,
            (None, None) => Self::Waiting,
            (None, Some(_)) => Self::Expired,
        }
    }
}

impl Admin {
    /// Explains a person's case: the recorded events, and the obstacles now.
    pub async fn explain_address(&self, email: &EmailAddress) -> Result<Explanation, StoreError> {
        let user = self.store.find_user(email).await?;
        let user_id = user.as_ref().map(|user| user.user_id);
        let count = i64::from(MAX_EVENTS) + 1;
        let events = self
            .store
            .list_events_of_user(email, user_id, None, count)
            .await?;
        // A user who was deleted is known from the recorded events alone.
        let earlier = events.iter().find_map(|event| event.user_id);
        let evidence = Evidence::new(Some(email.clone()), user, events);
        self.explain(evidence, user_id.or(earlier)).await
    }

    /// Explains a request, and the case of the person it was about.
    pub async fn explain_request(&self, request_id: &RequestId) -> Result<Explanation, StoreError> {
        let count = i64::from(MAX_EVENTS) + 1;
        let events = self.store.list_events_of_request(request_id, count).await?;
        let given = events.iter().find_map(|event| event.email.clone());
        let given: Option<EmailAddress> = given.and_then(|text| text.parse().ok());
        let user_id = events.iter().find_map(|event| event.user_id);
        let user = match (user_id, &given) {
            (Some(user_id), _) => self.store.find_user_by_id(user_id).await?,
            (None, Some(email)) => self.store.find_user(email).await?,
            (None, None) => None,
        };
        let email = user.as_ref().map(|user| user.email.clone()).or(given);
        self.explain(Evidence::new(email, user, events), None).await
    }

    /// Adds mails, sessions and obstacles; with `user_id`, all of that user's.
    async fn explain(
        &self,
        evidence: Evidence,
        user_id: Option<UserId>,
    ) -> Result<Explanation, StoreError> {
        let events = &evidence.events;
        let challenges: Vec<_> = events.iter().filter_map(|e| e.challenge_id).collect();
        let sessions: Vec<_> = events.iter().filter_map(|e| e.session_id).collect();
        let mut mails = self
            .store
            .list_mails(&challenges, user_id, MAX_ROWS)
            .await?;
        // The obstacle is the person's last code mail, which may be of another request.
        let last_mail = match (&evidence.user, user_id) {
            (Some(user), None) => {
                let of_user = self
                    .store
                    .list_mails(&[], Some(user.user_id), MAX_ROWS)
                    .await?;
                of_user.into_iter().find(MailRecord::is_code)
            }
            _ => mails.iter().find(|mail| mail.is_code()).cloned(),
        };
        mails.reverse();
        let mut sessions = (self.store)
            .list_session_histories(&sessions, user_id, MAX_ROWS)
            .await?;
        sessions.reverse();
        let (limited, now) = self.limited(&evidence, &sessions).await?;
        let obstacles = match (&evidence.email, &evidence.user) {
            (None, _) => Vec::new(),
            (Some(_), None) => vec![Obstacle::NoUser],
            (Some(_), Some(user)) => self.obstacles_of(user, last_mail.as_ref()),
        };
        Ok(Explanation {
            obstacles: [obstacles, limited].concat(),
            email: evidence.email,
            user: evidence.user,
            events: evidence.events,
            has_older_events: evidence.has_older_events,
            mails,
            sessions,
            now,
        })
    }

    /// The limits that refuse now: those of the address, and those of the networks that are known.
    async fn limited(
        &self,
        evidence: &Evidence,
        sessions: &[SessionHistory],
    ) -> Result<(Vec<Obstacle>, Timestamp), StoreError> {
        let of_events = evidence.events.iter().filter_map(|event| event.network);
        let of_sessions =
            (sessions.iter()).flat_map(|session| [session.network, session.last_network]);
        let networks = of_events.chain(of_sessions);
        let networks = self.hashes_of_networks(evidence.email.as_ref(), networks);
        let account = (evidence.email.as_ref()).map(|email| self.attempt_keys.account(email));
        let hashes: Vec<[u8; 32]> = networks.keys().copied().collect();
        let (records, now) = self.store.list_attempts(account, &hashes).await?;
        let refusing = records.iter().filter_map(|record| {
            Some(Obstacle::Limited {
                scope: record.scope,
                network: networks.get(&record.hash).copied(),
                until: self.refuses_until(record, now)?,
            })
        });
        Ok((refusing.collect(), now))
    }

    fn refuses_until(&self, record: &AttemptRecord, now: Timestamp) -> Option<Timestamp> {
        let limit = self.limit(record.scope);
        limit.refuses_until(&record.hits, record.blocked_until, now)
    }

    fn limit(&self, scope: LimitScope) -> Limit {
        let ceilings = Ceilings::new(&self.limits);
        match scope {
            LimitScope::Account => self.limits.account,
            LimitScope::Administration => self.limits.administration,
            LimitScope::Signin => self.limits.signin,
            LimitScope::SigninNetwork => ceilings.signin_network,
            LimitScope::SigninFailures => ceilings.signin_failures,
            LimitScope::Confirm | LimitScope::ConfirmUnknown | LimitScope::LinkUnknown => {
                self.limits.confirm
            }
            LimitScope::RefreshUnknown => self.limits.refresh,
            LimitScope::Mail => ceilings.mails,
            LimitScope::Forgot => self.limits.forgot,
            LimitScope::ForgotNetwork => ceilings.forgot_network,
            LimitScope::LinkMail => ceilings.link_mails,
        }
    }

    /// A counted attempt names no network, but the attempts of a known network can be found.
    fn hashes_of_networks(
        &self,
        email: Option<&EmailAddress>,
        networks: impl Iterator<Item = ClientNetwork>,
    ) -> HashMap<[u8; 32], ClientNetwork> {
        let mut hashes = HashMap::new();
        for network in networks {
            let keys = [
                Some(self.attempt_keys.signin_network(network)),
                Some(self.attempt_keys.confirm_unknown(network)),
                Some(self.attempt_keys.refresh_unknown(network)),
                Some(self.attempt_keys.forgot_network(network)),
                Some(self.attempt_keys.link_unknown(network)),
                email.map(|email| self.attempt_keys.forgot(email, network)),
                email.map(|email| self.attempt_keys.signin(email, network)),
                email.map(|email| self.attempt_keys.signin_failures_nearby(email, network)),
            ];
            hashes.extend(keys.into_iter().flatten().map(|key| (key.hash, network)));
        }
        hashes
    }

    fn obstacles_of(&self, user: &User, last_mail: Option<&MailRecord>) -> Vec<Obstacle> {
        let max = i32::try_from(self.limits.confirm_failures_per_account).unwrap_or(i32::MAX);
        obstacles_of(user, max, last_mail)
    }
}

/// The facts that the events tell by themselves.
struct Evidence {
    email: Option<EmailAddress>,
    user: Option<User>,
    events: Vec<AuditRecord>,
    has_older_events: bool,
}

impl Evidence {
    /// Takes events as they are read: newest first, and one more than is shown.
    fn new(email: Option<EmailAddress>, user: Option<User>, mut events: Vec<AuditRecord>) -> Self {
        let has_older_events = events.len() > usize::from(MAX_EVENTS);
        events.truncate(MAX_EVENTS.into());
        events.reverse();
        Self {
            email,
            user,
            events,
            has_older_events,
        }
    }
}

/// The obstacles to a user's sign-in other than limits.
fn obstacles_of(
    user: &User,
    max_wrong_codes: i32,
    last_mail: Option<&MailRecord>,
) -> Vec<Obstacle> {
    let needs_mail = user.two_factor == TwoFactor::Email && !user.has_strong_factor();
    let needs_code = needs_mail || user.has_totp;
    let wrong_codes = user.second_factor_failures;
    // One that was tried and has not left; a new one is tried within a second.
    let stuck = last_mail.filter(|mail| mail.attempts > 0 && mail.consumed_at.is_none());
    let stuck = stuck
        .map(MailState::of)
        .filter(|state| *state != MailState::Sent);
    [
        user.disabled_at.map(|since| Obstacle::Disabled { since }),
        user.password_hash.is_none().then_some(Obstacle::NoPassword),
        (needs_code && wrong_codes >= max_wrong_codes)
            .then_some(Obstacle::SecondFactorLocked { wrong_codes }),
        stuck.filter(|_| needs_mail).map(Obstacle::MailStuck),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::{MailKind, PasswordHash};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn user() -> User {
        User {
            user_id: UserId(1),
            email: "a@b.c".parse().unwrap(),
            password_hash: Some(PasswordHash::new("$argon2id$".to_owned())),
            two_factor: TwoFactor::Email,
            has_totp: false,
            has_passkey: false,
            is_administrator: false,
            credential_version: 1,
            second_factor_failures: 0,
            created_at: at(0),
            disabled_at: None,
            password_changed_at: None,
        }
    }

    fn mail() -> MailRecord {
        MailRecord {
            kind: MailKind::SignInCode.as_str().to_owned(),
            created_at: at(0),
            expires_at: at(600),
            consumed_at: None,
            request_id: RequestId::parse("r").unwrap(),
            attempts: 1,
            copies: 0,
            sent_at: None,
            given_up_at: None,
            last_reply: None,
        }
    }

    #[test]
    fn each_thing_in_the_way_is_told_and_nothing_else() {
        assert_eq!(obstacles_of(&user(), 100, None), []);
        let all = User {
            disabled_at: Some(at(5)),
            password_hash: None,
            second_factor_failures: 100,
            ..user()
        };
        assert_eq!(
            obstacles_of(&all, 100, Some(&mail())),
            [
                Obstacle::Disabled { since: at(5) },
                Obstacle::NoPassword,
                Obstacle::SecondFactorLocked { wrong_codes: 100 },
                Obstacle::MailStuck(MailState::Waiting),
            ]
        );
        let without_code = User {
            two_factor: TwoFactor::Off,
            second_factor_failures: 100,
            ..user()
        };
        assert_eq!(obstacles_of(&without_code, 100, Some(&mail())), []);
        // A passkey is no code, and an app takes none by mail.
        let of_factor = |has_totp| User {
            has_totp,
            has_passkey: !has_totp,
            second_factor_failures: 100,
            ..user()
        };
        assert_eq!(obstacles_of(&of_factor(false), 100, Some(&mail())), []);
        assert_eq!(
            obstacles_of(&of_factor(true), 100, Some(&mail())),
            [Obstacle::SecondFactorLocked { wrong_codes: 100 }]
        );
    }

    #[test]
    fn a_mail_stands_in_the_way_if_it_was_tried_in_vain() {
        let stuck = |mail| obstacles_of(&user(), 100, Some(&mail));
        let sent = MailRecord {
            sent_at: Some(at(1)),
            ..mail()
        };
        let used = MailRecord {
            consumed_at: Some(at(1)),
            ..mail()
        };
        let new = MailRecord {
            attempts: 0,
            ..mail()
        };
        let refused = MailRecord {
            given_up_at: Some(at(1)),
            ..mail()
        };
        let overdue = MailRecord {
            given_up_at: Some(at(601)),
            ..mail()
        };
        let unclear = |mail| MailRecord { copies: 1, ..mail };
        assert_eq!(
            [mail(), overdue.clone()].map(unclear).map(stuck),
            [(); 2].map(|()| vec![Obstacle::MailStuck(MailState::Unclear)])
        );
        assert_eq!(stuck(unclear(sent.clone())), []);
        assert_eq!(stuck(sent), []);
        assert_eq!(stuck(used), []);
        assert_eq!(stuck(new), []);
        assert_eq!(stuck(refused), [Obstacle::MailStuck(MailState::Refused)]);
        assert_eq!(stuck(overdue), [Obstacle::MailStuck(MailState::Expired)]);
    }
}
