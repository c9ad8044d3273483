//! Authenticator apps: time-based one-time passwords (TOTP, RFC 6238).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hmac, rand};
use data_encoding::BASE32_NOPAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{EmailAddress, MasterKey, Purpose, Seal, TotpId, UserId};

/// Bytes of a secret: as many as the output of SHA-1 has (RFC 4226, section 4, R6).
const SECRET_BYTES: usize = 20;

/// Seconds of a time step. Apps ignore any other number.
pub const STEP_SECONDS: i32 = 30;

/// The characters that stay as they are in a URI (RFC 3986, section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A number of time steps since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotpStep(pub i64);

/// The secret that an authenticator app and this server share; wiped when it goes.
#[derive(Clone)]
pub struct TotpSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl TotpSecret {
    /// A new random secret.
    ///
    /// # Panics
    /// If the operating system has no randomness to give, as nothing safe could be done then.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        rand::fill(bytes.as_mut_slice()).expect("the operating system gives randomness");
        Self(bytes)
    }

    /// Reads a secret back once its seal is open.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes
            .try_into()
            .ok()
            .map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// The bytes, to be sealed.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The text that a person types into an app: base32 without padding (RFC 4648, section 6).
    #[must_use]
    pub fn base32(&self) -> SecretString {
        BASE32_NOPAD.encode(self.expose()).into()
    }

    /// The URI that an app reads from a QR code. Algorithm, digits and period are left to their defaults,
    /// since many apps ignore them in a URI. The issuer is in it twice, since apps read one or the other.
    #[must_use]
    pub fn uri(&self, issuer: &str, email: &EmailAddress) -> SecretString {
        let issuer = utf8_percent_encode(issuer, UNRESERVED);
        let email = utf8_percent_encode(email.as_str(), UNRESERVED);
        let secret = Zeroizing::new(BASE32_NOPAD.encode(self.expose()));
        let uri = format!(
            "otpauth://totp/{issuer}:{email}?secret={}&issuer={issuer}",
            *secret
        );
        uri.into()
    }

    /// The step of the code that a person typed: that of `now`, or the one before or after it, since clocks
    /// differ. If several have the same code, the newest. All three are compared, whichever matches.
    #[must_use]
    pub fn matching_step(&self, typed: &str, now: TotpStep) -> Option<TotpStep> {
        let steps = [now.0 - 1, now.0, now.0 + 1].map(TotpStep);
        let matches = steps.map(|step| {
            verify_slices_are_equal(self.code(step).as_bytes(), typed.as_bytes()).is_ok()
        });
        steps
            .into_iter()
            .zip(matches)
            .rev()
            .find_map(|(step, is_match)| is_match.then_some(step))
    }

    /// The six digits of a step: HOTP of its number with HMAC-SHA-1 (RFC 4226, section 5.3).
    fn code(&self, step: TotpStep) -> Zeroizing<String> {
        // As HMAC it holds; apps know nothing else.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.expose());
        let mac = hmac::sign(&key, &step.0.to_be_bytes());
        let mac = mac.as_ref();
        let at = usize::from(mac[mac.len() - 1] & 0xf);
        let mut word = [0; 4];
        word.copy_from_slice(&mac[at..at + 4]);
        let number = u32::from_be_bytes(word) & 0x7fff_ffff;
        Zeroizing::new(format!("{:06}", number % 1_000_000))
    }
}

/// Seals the secrets of authenticator apps. App and user are authenticated with them.
#[derive(Debug, Clone)]
pub struct TotpSealer(Seal);

impl TotpSealer {
    /// The sealer of a master key.
    #[must_use]
    pub fn new(master_key: &MasterKey) -> Self {
        Self(Seal::new(&master_key.derive(Purpose::SealTotpSecrets)))
    }

    /// Seals a secret for one app of one user: it opens for no other.
    #[must_use]
    pub fn seal(&self, totp_id: TotpId, user_id: UserId, secret: &TotpSecret) -> Vec<u8> {
        self.0.seal(&name(totp_id, user_id), secret.expose())
    }

    /// Opens a sealed secret; `None` under another master key, or for a row that was changed.
    #[must_use]
    pub fn open(&self, totp_id: TotpId, user_id: UserId, sealed: &[u8]) -> Option<TotpSecret> {
        let opened = self.0.open(&name(totp_id, user_id), sealed)?;
        TotpSecret::from_bytes(&opened)
    }
}

fn name(totp_id: TotpId, user_id: UserId) -> [u8; 24] {
    let mut name = [0; 24];
    name[..16].copy_from_slice(totp_id.0.as_bytes());
    name[16..].copy_from_slice(&user_id.0.to_be_bytes());
    name
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    /// The secret of RFC 6238, appendix B.
    fn secret() -> TotpSecret {
        TotpSecret::from_bytes(b"12345678901234567890").unwrap()
    }

    /// The appendix has eight digits; six are its last six.
    #[test]
    fn codes_are_those_of_the_rfc() {
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = TotpStep(time / i64::from(STEP_SECONDS));
            assert_eq!(*secret().code(step), code, "{time}");
        }
    }

    /// Red with a step of tolerance less or more.
    #[test]
    fn a_code_is_taken_one_step_early_or_late_and_no_more() {
        let now = TotpStep(41_152_263);
        for distance in -3..=3 {
            let step = TotpStep(now.0 + distance);
            let matching = secret().matching_step(&secret().code(step), now);
            assert_eq!(
                matching,
                (distance.abs() <= 1).then_some(step),
                "{distance}"
            );
        }
        for typed in ["", "0", "05924", "0005924", " 005924"] {
            assert_eq!(secret().matching_step(typed, now), None, "{typed:?}");
        }
    }

    #[test]
    fn the_uri_names_the_issuer_twice_and_escapes_what_is_not_plain() {
        let email = "o'neil+x@bar.com".parse().unwrap();
        let uri = secret().uri("Back Office & Co", &email);
        assert_eq!(
            uri.expose_secret(),
            "otpauth://totp/Back%20Office%20%26%20Co:o%27neil%2Bx%40bar.com\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Back%20Office%20%26%20Co"
        );
    }

    #[test]
    fn a_sealed_secret_opens_for_its_app_and_user_alone() {
        let made = |key| TotpSealer::new(&MasterKey::from_base64(key).unwrap());
        let ours = made("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let other = made("AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let (app, user) = (TotpId::random(), UserId(1));
        let sealed = ours.seal(app, user, &secret());
        let opened = ours.open(app, user, &sealed).unwrap();
        assert_eq!(opened.expose(), secret().expose());
        assert!(ours.open(TotpId::random(), user, &sealed).is_none());
        assert!(ours.open(app, UserId(2), &sealed).is_none());
        assert!(other.open(app, user, &sealed).is_none());
    }

    #[test]
    fn a_secret_cannot_be_printed_and_is_never_the_same() {
        assert_eq!(format!("{:?}", secret()), "TotpSecret(…)");
        assert_ne!(TotpSecret::random().expose(), TotpSecret::random().expose());
        assert!(TotpSecret::from_bytes(b"short").is_none());
    }
}
