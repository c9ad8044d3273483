//! Passkeys: ids, and the requests for one that no table remembers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::{ChallengeId, CodeNonce, DerivedKey, SessionId, Timestamp};

/// Passkeys that a user may have.
pub const MAX_PASSKEYS: usize = 10;

/// Characters of a passkey's name.
const MAX_NAME_LETTERS: usize = 64;

/// The name that a person gave a passkey: 1 to 64 characters, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyName(String);

/// A text that cannot be the name of a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters, without control characters")]
pub struct InvalidPasskeyName;

impl PasskeyName {
    /// Reads a name. Space around it is dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidPasskeyName> {
        let name = text.trim();
        let is_good = (1..=MAX_NAME_LETTERS).contains(&name.chars().count())
            && !name.contains(char::is_control);
        is_good
            .then(|| Self(name.to_owned()))
            .ok_or(InvalidPasskeyName)
    }

    /// The name, without space around it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The occasion on which a passkey is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasskeyOccasion {
    /// Somebody signs in with it, alone.
    SignIn,
    /// The owner of this session adds one.
    Enrolment(SessionId),
}

/// A request for a passkey. It is nowhere stored: its token says what it is, with a MAC, so that any instance
/// can finish what another began, and a flood of them fills nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasskeyRequest {
    /// Its id, under which it is used up.
    pub id: Uuid,
    /// When it stops working, in whole seconds.
    pub expires_at: Timestamp,
}

impl PasskeyRequest {
    /// A new request.
    #[must_use]
    pub fn new(expires_at: Timestamp) -> Self {
        Self {
            id: Uuid::new_v4(),
            expires_at,
        }
    }

    /// The text that the client sends back: id, end, and their MAC, in base64url.
    #[must_use]
    pub fn token(&self, key: &DerivedKey, occasion: PasskeyOccasion) -> String {
        let mut bytes = self.id.as_bytes().to_vec();
        bytes.extend(self.expires_at.timestamp().to_be_bytes());
        bytes.extend(self.of_parts(b"token", occasion, |parts| key.tag(parts)));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the token that a client sent; `None` if we made it for no such occasion. Whether its time is over is
    /// another question.
    #[must_use]
    pub fn read(key: &DerivedKey, occasion: PasskeyOccasion, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (seconds, mac) = rest.split_first_chunk::<8>()?;
        let request = Self {
            id: Uuid::from_bytes(*id),
            expires_at: Timestamp::from_timestamp(i64::from_be_bytes(*seconds), 0)?,
        };
        request
            .of_parts(b"token", occasion, |parts| key.is_tag(parts, mac))
            .then_some(request)
    }

    /// The challenge that the authenticator signs.
    #[must_use]
    pub fn challenge(&self, key: &DerivedKey, occasion: PasskeyOccasion) -> [u8; 32] {
        self.of_parts(b"challenge", occasion, |parts| key.mac(parts))
    }

    /// Hands on the bytes that a MAC of this request is over.
    fn of_parts<T>(
        &self,
        part: &[u8],
        occasion: PasskeyOccasion,
        mac: impl FnOnce(&[&[u8]]) -> T,
    ) -> T {
        let (word, session): (&[u8], &[u8]) = match &occasion {
            PasskeyOccasion::SignIn => (b"sign in", &[]),
            PasskeyOccasion::Enrolment(session_id) => (b"enrolment", session_id.0.as_bytes()),
        };
        let seconds = self.expires_at.timestamp().to_be_bytes();
        mac(&[part, word, session, self.id.as_bytes(), &seconds])
    }
}

/// The challenge that a passkey signs to confirm a sign-in.
#[must_use]
pub fn second_factor_challenge(
    key: &DerivedKey,
    challenge_id: ChallengeId,
    nonce: CodeNonce,
) -> [u8; 32] {
    let id = challenge_id.0;
    key.mac(&[b"second factor", id.as_bytes(), nonce.as_bytes()])
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::{MasterKey, Purpose};

    fn key(purpose: Purpose) -> DerivedKey {
        MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .unwrap()
            .derive(purpose)
    }

    fn request() -> PasskeyRequest {
        PasskeyRequest::new(Timestamp::UNIX_EPOCH + TimeDelta::seconds(1_800_000_000))
    }

    /// Red without the comparison of the MAC, and if the MAC covers any part less.
    #[test]
    fn a_token_is_read_for_its_occasion_alone() {
        let (ours, other) = (key(Purpose::PasskeyChallenges), key(Purpose::Links));
        let occasions = [
            PasskeyOccasion::SignIn,
            PasskeyOccasion::Enrolment(SessionId(Uuid::nil())),
            PasskeyOccasion::Enrolment(SessionId(Uuid::max())),
        ];
        let request = request();
        for made in occasions {
            let token = request.token(&ours, made);
            for read in occasions {
                let expected = (read == made).then_some(request);
                assert_eq!(PasskeyRequest::read(&ours, read, &token), expected);
            }
            assert_eq!(PasskeyRequest::read(&other, made, &token), None);
            for at in 0..token.len() {
                for letter in ["A", "B", "g", "-"] {
                    let mut bad = token.clone();
                    bad.replace_range(at..=at, letter);
                    let read = PasskeyRequest::read(&ours, made, &bad);
                    assert_eq!(read.is_some(), bad == token, "{bad}");
                }
            }
            for bad in ["", &token[1..], &format!("{token}A"), &format!("{token}=")] {
                assert_eq!(PasskeyRequest::read(&ours, made, bad), None, "{bad}");
            }
        }
    }

    #[test]
    fn no_two_requests_have_one_challenge() {
        let key = key(Purpose::PasskeyChallenges);
        let (one, two) = (request(), request());
        let session = PasskeyOccasion::Enrolment(SessionId(one.id));
        let (id, nonce) = (ChallengeId(one.id), CodeNonce::random());
        let mut all = vec![
            one.challenge(&key, PasskeyOccasion::SignIn),
            two.challenge(&key, PasskeyOccasion::SignIn),
            one.challenge(&key, session),
            second_factor_challenge(&key, id, nonce),
            second_factor_challenge(&key, ChallengeId(two.id), nonce),
            second_factor_challenge(&key, id, CodeNonce::random()),
        ];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn a_name_is_one_line_of_1_to_64_characters() {
        for (text, name) in [
            ("Phone", Some("Phone")),
            ("  My key ", Some("My key")),
            (&"ü".repeat(64), Some(&*"ü".repeat(64))),
            (&"x".repeat(65), None),
            ("", None),
            ("  ", None),
            ("a\nb", None),
            ("a\u{7f}", None),
        ] {
            let read = PasskeyName::parse(text).ok();
            assert_eq!(read.as_ref().map(PasskeyName::as_str), name, "{text:?}");
        }
    }
}
