//! The vocabulary of the program, and the rules that need no database.
//!
//! Nothing here does I/O, waits, or knows a framework. A value of one of these types is valid by
//! construction: parsing happens once, at the edge, and never again.

mod audit;
mod authentication;
mod challenge;
mod client;
mod clock;
mod email;
mod feed;
mod ids;
mod language;
mod limit;
mod mail;
mod master_key;
mod operator;
mod password;
mod reason;
mod rotation;
mod session;
mod signing_key;
mod user;
mod words;

pub use audit::{AuditEvent, AuditKind, Outcome};
pub use authentication::{AuthenticationMethod, AuthenticationMethods};
pub use challenge::{Challenge, CodeNonce, OneTimeCode};
pub use client::{Client, ClientNetwork, UserAgent};
pub use clock::{Clock, Timestamp, rfc3339, whole_seconds};
pub use email::{EmailAddress, InvalidEmailAddress};
pub use feed::{FeedCursor, FeedPosition, FeedStart, InvalidFeedCursor};
pub use ids::{ChallengeId, Generation, KeyId, MailId, RequestId, SessionId, UserId};
pub use language::Language;
pub use limit::{
    AttemptInFlight, AttemptKey, Limit, LimitRefusal, LimitScope, Reservation, seconds_until,
};
pub use mail::MailKind;
pub use master_key::{DerivedKey, InvalidMasterKey, MasterKey, Purpose};
pub use operator::Operator;
pub use password::{InvalidPassword, PasswordHash, PlainPassword, WeakPassword};
pub use reason::{
    AuditReason, ChallengeRefusal, EndReason, KeyChange, LimitReached, MailOutcome, NewNetwork,
    Overload, SigninGrant, SigninRefusal, TokenRefusal, UserChange,
};
pub use rotation::{Rotation, RotationFacts, RotationRule, decide_rotation};
pub use session::Session;
pub use signing_key::{
    KeyPurpose, KeyStage, KeyState, PairKeys, Revocation, RevocationRefused, SigningKeyRecord,
    active_key, is_rotation_due, pending_key, plan_revocation, stage_of, states,
};
pub use user::{TwoFactor, UnknownTwoFactor, User};
