//! The vocabulary of the program, and the rules that need no database.
//!
//! Nothing here does I/O, waits, or knows a framework. A value of one of these types is valid by
//! construction: parsing happens once, at the edge, and never again.

mod administration;
mod audit;
mod authentication;
mod blocklist;
mod challenge;
mod client;
mod clock;
mod email;
mod feed;
mod ids;
mod language;
mod limit;
mod link;
mod mail;
mod master_key;
mod operator;
mod passkey;
mod password;
pub mod policy;
mod reason;
mod recovery_code;
mod rotation;
mod seal;
mod session;
mod signing_key;
mod totp;
mod user;
mod weak_password;
mod words;

pub use administration::{
    Actor, AdministrationAccess, AdministrationRefusal, AdministrationRule, Administrator,
    AdministratorFacts, StrongFactor,
};
pub use audit::{AuditEvent, AuditKind, Outcome};
pub use authentication::{AuthenticationMethod, AuthenticationMethods};
pub use blocklist::Blocklist;
pub use challenge::{Challenge, ChallengeProvider, CodeNonce, OneTimeCode};
pub use client::{Client, ClientNetwork, UserAgent};
pub use clock::{Clock, Timestamp, rfc3339, whole_seconds};
pub use email::{EmailAddress, InvalidEmailAddress};
pub use feed::{FeedCursor, FeedPosition, FeedStart, InvalidFeedCursor};
pub use ids::{
    ChallengeId, EventId, Generation, KeyId, LinkId, MailId, PasskeyId, RequestId, SessionId,
    TotpId, UserId,
};
pub use language::Language;
pub use limit::{
    AccountHash, AttemptInFlight, AttemptKey, Limit, LimitRefusal, LimitScope, Reservation,
    seconds_until,
};
pub use link::{LinkPurpose, LinkToken, read_link_token};
pub use mail::{MailKind, Notice};
pub use master_key::{DerivedKey, InvalidMasterKey, MasterKey, Purpose, TAG_BYTES};
pub use operator::Operator;
pub use passkey::{
    InvalidPasskeyName, MAX_PASSKEYS, PasskeyName, PasskeyOccasion, PasskeyRequest,
    second_factor_challenge,
};
pub use password::{HashKind, InvalidPassword, NewPasswordHash, PasswordHash, PlainPassword};
pub use reason::{
    AuditReason, ChallengeRefusal, EndReason, KeyChange, LimitReached, LinkOutcome, LinkUse,
    MailOutcome, NewNetwork, Overload, PasskeyRefusal, SigninGrant, SigninRefusal, TokenRefusal,
    UserChange,
};
pub use recovery_code::{RECOVERY_CODES, RecoveryCode};
pub use rotation::{Rotation, RotationFacts, RotationRule, decide_rotation};
pub use seal::Seal;
pub use session::Session;
pub use signing_key::{
    KeyPurpose, KeyStage, KeyState, PairKeys, Revocation, RevocationRefused, SigningKeyRecord,
    active_key, is_rotation_due, pending_key, plan_revocation, stage_of, states,
};
pub use totp::{STEP_SECONDS, TotpSealer, TotpSecret, TotpStep};
pub use user::{TwoFactor, UnknownTwoFactor, User, UserState};
pub use weak_password::WeakPassword;
