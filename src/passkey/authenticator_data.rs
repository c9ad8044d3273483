//! The authenticator data: the bytes that the authenticator signs (section 6.1).

use ciborium::Value;

use super::InvalidPasskey;

/// The person was there.
pub(super) const USER_PRESENT: u8 = 1 << 0;
/// The person was verified.
pub(super) const USER_VERIFIED: u8 = 1 << 2;
/// The passkey can be copied to other devices.
pub(super) const BACKUP_ELIGIBLE: u8 = 1 << 3;
/// The passkey has been copied to other devices.
pub(super) const BACKED_UP: u8 = 1 << 4;
const HAS_ATTESTED: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

/// Levels of CBOR within each other. An attestation has three or four (CTAP 2.2, section 8).
const MAX_DEPTH: usize = 16;

/// The parts of the authenticator data.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    pub(super) rp_id_hash: [u8; 32],
    flags: u8,
    pub(super) sign_count: u32,
    /// The passkey that was made.
    pub(super) attested: Option<Attested<'a>>,
}

/// A passkey that was made (section 6.5.1).
#[derive(Debug)]
pub(super) struct Attested<'a> {
    pub(super) credential_id: &'a [u8],
    /// One CBOR item.
    pub(super) public_key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// Whether a flag is set.
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Reads all of `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, InvalidPasskey> {
        Self::take(bytes).ok_or(InvalidPasskey::AuthenticatorData)
    }

    fn take(bytes: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, rest) = bytes.split_first_chunk::<32>()?;
        let ([flags], rest) = rest.split_first_chunk::<1>()?;
        let (sign_count, mut rest) = rest.split_first_chunk::<4>()?;
        let has = |flag| flags & flag != 0;
        let mut attested = None;
        if has(HAS_ATTESTED) {
            let (_model, after) = rest.split_first_chunk::<16>()?;
            let (length, after) = after.split_first_chunk::<2>()?;
            let (credential_id, after) =
                after.split_at_checked(u16::from_be_bytes(*length).into())?;
            let public_key;
            (public_key, rest) = take_item(after)?;
            attested = Some(Attested {
                credential_id,
                public_key,
            });
        }
        if has(HAS_EXTENSIONS) {
            (_, rest) = take_item(rest)?;
        }
        rest.is_empty().then_some(Self {
            rp_id_hash: *rp_id_hash,
            flags: *flags,
            sign_count: u32::from_be_bytes(*sign_count),
            attested,
        })
    }
}

/// Splits the first CBOR item off.
fn take_item(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    read_value(&mut rest)?;
    Some(bytes.split_at(bytes.len() - rest.len()))
}

/// Reads one CBOR item and leaves the rest.
pub(super) fn read_value(bytes: &mut &[u8]) -> Option<Value> {
    ciborium::de::from_reader_with_recursion_limit(bytes, MAX_DEPTH).ok()
}

/// The value of a key that a map has once.
pub(super) fn only<'a>(map: &'a [(Value, Value)], key: &Value) -> Option<&'a Value> {
    let mut values = map.iter().filter(|(name, _)| name == key);
    let (_, value) = values.next()?;
    values.next().is_none().then_some(value)
}

/// The authenticator data within an attestation object (section 6.5.4). Its statement is not looked at: none
/// was asked for.
pub(super) fn of_attestation(mut object: &[u8]) -> Result<Vec<u8>, InvalidPasskey> {
    let value = read_value(&mut object);
    let map = value.and_then(|value| value.into_map().ok());
    let data = map.filter(|_| object.is_empty()).and_then(|map| {
        let data = only(&map, &Value::Text("authData".to_owned()))?;
        data.as_bytes().cloned()
    });
    data.ok_or(InvalidPasskey::AuthenticatorData)
}
