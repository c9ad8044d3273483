//! Public keys as authenticators give them: `COSE_Key` of RFC 9052, with the parameters of RFC 9053 and
//! RFC 8230.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use ciborium::Value;

use super::InvalidPasskey;
use super::authenticator_data::{only, read_value};

/// The algorithms that are asked for, best first: ES256, RS256 for Windows Hello on older machines, and
/// `EdDSA`.
pub const ALGORITHMS: [i32; 3] = [ES256, RS256, EDDSA];

const ES256: i32 = -7;
const RS256: i32 = -257;
const EDDSA: i32 = -8;

// The labels of a key's parameters: RFC 9052, section 7.1; RFC 9053, section 7; RFC 8230, section 4.
const KTY: i32 = 1;
const ALG: i32 = 3;
const CRV: i32 = -1;
const X: i32 = -2;
const Y: i32 = -3;
const N: i32 = -1;
const E: i32 = -2;

const OKP: i32 = 1;
const EC2: i32 = 2;
const RSA: i32 = 3;
const P256: i32 = 1;
const CURVE25519: i32 = 6;

/// A key of one of the [`ALGORITHMS`].
#[derive(Debug)]
pub(super) enum PublicKey {
    /// A point of P-256 or of edwards25519.
    Point(ParsedPublicKey),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

impl PublicKey {
    /// Reads a key that is all of `bytes`.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, InvalidPasskey> {
        let value = read_value(&mut bytes);
        let map = value.and_then(|value| value.into_map().ok());
        let key = map
            .filter(|_| bytes.is_empty())
            .and_then(|map| Self::of_map(&map));
        key.ok_or(InvalidPasskey::PublicKey)
    }

    fn of_map(map: &[(Value, Value)]) -> Option<Self> {
        let get = |label: i32| only(map, &Value::from(label));
        let is = |label, number: i32| get(label) == Some(&Value::from(number));
        let bytes = |label| get(label)?.as_bytes();
        if is(ALG, ES256) && is(KTY, EC2) && is(CRV, P256) {
            let (x, y) = (bytes(X)?, bytes(Y)?);
            if x.len() != 32 || y.len() != 32 {
                return None;
            }
            let point = [&[4], &x[..], y].concat();
            // A point that is not on the curve is no key.
            ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point)
                .ok()
                .map(Self::Point)
        } else if is(ALG, RS256) && is(KTY, RSA) {
            let (n, e) = (bytes(N)?, bytes(E)?);
            let is_number = |bytes: &[u8]| bytes.first().is_some_and(|first| *first != 0);
            let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
            let is_sound = is_number(n)
                && is_number(e)
                && (256..=1024).contains(&n.len())
                && is_odd(n)
                && is_odd(e)
                && e.as_slice() != [1];
            is_sound.then(|| Self::Rsa(n.clone(), e.clone()))
        } else if is(ALG, EDDSA) && is(KTY, OKP) && is(CRV, CURVE25519) {
            let point = bytes(X)?;
            ParsedPublicKey::new(&ED25519, point).ok().map(Self::Point)
        } else {
            None
        }
    }

    /// Verifies the signature of a message.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), InvalidPasskey> {
        let verified = match self {
            Self::Point(key) => key.verify_sig(message, signature),
            Self::Rsa(n, e) => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
        };
        verified.map_err(|_| InvalidPasskey::Signature)
    }
}
