//! `[keys]`: the signing keys.

use super::super::reader::{Reader, Reading};
use super::super::types::KeysConfig;
use super::{DAY, days};

pub(super) fn keys(reader: &mut Reader) -> Reading<KeysConfig> {
    let bits = bits(reader);
    let rotate_days = reader.number("keys.rotate_days", 0..=3650);
    let publish_before = reader.seconds("keys.publish_seconds", 0..=7 * DAY);
    let (rotate_days, publish_before) = (rotate_days?, publish_before?);
    let rotate_after = days(rotate_days);
    if rotate_days != 0 && publish_before >= rotate_after {
        let seconds = publish_before.as_secs();
        let message =
            format!("must be less than keys.rotate_days ({rotate_days} d), but is {seconds}");
        reader.problem("keys.publish_seconds", message);
    }
    Ok(KeysConfig {
        bits: bits?,
        rotate_after,
        publish_before,
    })
}

fn bits(reader: &mut Reader) -> Reading<u32> {
    let bits = reader.number("keys.bits", 2048..=4096)?;
    if [2048, 3072, 4096].contains(&bits) {
        Ok(bits)
    } else {
        let message = format!("must be 2048, 3072 or 4096, but is {bits}");
        Err(reader.problem("keys.bits", message))
    }
}
