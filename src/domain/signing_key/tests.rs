//! The tables of cases.

use chrono::TimeDelta;

use super::KeyStage::{Active, Expired, Legacy, Published, Retired};
use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn key(id: &str, activates_at: i64) -> SigningKeyRecord {
    SigningKeyRecord {
        key_id: KeyId(id.to_owned()),
        purpose: KeyPurpose::Access,
        public_key: vec![],
        sealed_private_key: Some(vec![]),
        created_at: at(0),
        activates_at: at(activates_at),
        expires_at: None,
        revoked_at: None,
        is_legacy: false,
        refresh_expires_at: None,
    }
}

fn refresh_key(id: &str, activates_at: i64) -> SigningKeyRecord {
    SigningKeyRecord {
        purpose: KeyPurpose::Refresh,
        ..key(id, activates_at)
    }
}

#[test]
fn the_keys_of_one_purpose_do_not_follow_those_of_the_other() {
    let keys = [key("a", 10), refresh_key("r", 20), key("next", 200)];
    let active = |purpose| {
        active_key(&keys, purpose, at(100))
            .unwrap()
            .key_id
            .0
            .as_str()
    };
    assert_eq!(active(KeyPurpose::Access), "a");
    assert_eq!(active(KeyPurpose::Refresh), "r");
    let due = |purpose| is_rotation_due(&keys, purpose, at(100), Duration::from_secs(50));
    assert!(!due(KeyPurpose::Access), "a successor is published");
    assert!(due(KeyPurpose::Refresh));
    let revoked = |id: &str| plan_revocation(&keys, &KeyId(id.to_owned()), at(100));
    assert_eq!(revoked("r"), Ok(Revocation::WithNewKey));
    let successor = KeyId("next".to_owned());
    assert_eq!(revoked("a"), Ok(Revocation::PassedOn { successor }));
}

#[test]
fn a_key_for_access_tokens_verifies_refresh_tokens_until_it_need_not() {
    let old = SigningKeyRecord {
        refresh_expires_at: Some(at(40)),
        ..key("old", 10)
    };
    assert!(old.verifies_refresh_tokens(at(39)));
    assert!(!old.verifies_refresh_tokens(at(40)));
    assert!(key("alone", 10).verifies_refresh_tokens(at(9999)));
    assert!(refresh_key("r", 10).verifies_refresh_tokens(at(9999)));
    let states = |now| states(std::slice::from_ref(&old), at(now));
    assert_ne!(states(39), states(40), "the ring has to be opened again");
}

#[test]
fn a_key_is_published_then_active_then_retired_then_expired() {
    let old = SigningKeyRecord {
        expires_at: Some(at(40)),
        ..key("old", 10)
    };
    let keys = [old.clone(), key("new", 20)];
    let stages = [9, 10, 19, 20, 39, 40].map(|now| stage_of(&old, &keys, at(now)));
    assert_eq!(
        stages,
        [Published, Active, Active, Retired, Retired, Expired]
    );
}

#[test]
fn neither_a_revoked_key_nor_one_without_a_private_part_signs() {
    let revoked = SigningKeyRecord {
        revoked_at: Some(at(30)),
        ..key("revoked", 25)
    };
    let public = SigningKeyRecord {
        sealed_private_key: None,
        ..key("public", 26)
    };
    let keys = [key("good", 10), revoked.clone(), public.clone()];
    let active = active_key(&keys, KeyPurpose::Access, at(30));
    assert_eq!(active.unwrap().key_id.0, "good");
    assert_eq!(stage_of(&revoked, &keys, at(30)), KeyStage::Revoked);
    assert_eq!(stage_of(&public, &keys, at(30)), Retired);
}

#[test]
fn a_key_of_an_older_service_is_legacy_until_its_end_and_nothing_else() {
    let legacy = SigningKeyRecord {
        sealed_private_key: None,
        expires_at: Some(at(40)),
        is_legacy: true,
        ..key("legacy", 10)
    };
    let keys = [key("good", 5), legacy.clone()];
    let stages = [9, 10, 39, 40].map(|now| stage_of(&legacy, &keys, at(now)));
    assert_eq!(stages, [Legacy, Legacy, Legacy, Expired]);
    assert!(!Legacy.verifies(), "no token of ours");
    let plan = plan_revocation(&keys, &legacy.key_id, at(20));
    assert_eq!(plan, Ok(Revocation::Alone));
}

/// `old` signed from 10 and was followed by `now` at 100; `next` is published for 200.
fn three_keys() -> [SigningKeyRecord; 3] {
    let old = SigningKeyRecord {
        expires_at: Some(at(150)),
        ..key("old", 10)
    };
    let now = SigningKeyRecord {
        expires_at: Some(at(250)),
        ..key("now", 100)
    };
    [old, now, key("next", 200)]
}

#[test]
fn the_stages_of_all_keys_change_when_one_of_them_moves_on() {
    let keys = three_keys();
    let stages = |now| states(&keys, at(now)).into_iter().map(|state| state.stage);
    for (now, expected) in [
        (99, [Active, Published, Published]),
        (100, [Retired, Active, Published]),
        (149, [Retired, Active, Published]),
        (150, [Expired, Active, Published]),
        (200, [Expired, Retired, Active]),
        (250, [Expired, Expired, Active]),
    ] {
        assert!(stages(now).eq(expected), "at {now}");
    }
}

#[test]
fn a_key_that_cannot_sign_is_never_pending() {
    let public = SigningKeyRecord {
        sealed_private_key: None,
        ..key("public", 200)
    };
    let keys = [key("now", 100), public];
    assert!(pending_key(&keys, at(150)).is_none());
    assert_eq!(
        pending_key(&three_keys(), at(150)).unwrap().key_id.0,
        "next"
    );
    assert!(pending_key(&three_keys(), at(200)).is_none());
}

#[test]
fn a_rotation_is_due_once_the_key_is_old_and_nothing_follows_it() {
    let (alone, followed) = ([key("now", 100)], three_keys());
    let revoked = SigningKeyRecord {
        revoked_at: Some(at(120)),
        ..key("next", 200)
    };
    let follower_revoked = [key("now", 100), revoked];
    for (keys, now, rotate_after, is_due) in [
        (&alone[..], 149, 50, false),
        (&alone, 150, 50, true),
        (&alone, 9999, 0, false),
        (&followed, 199, 50, false),
        (&follower_revoked, 150, 50, true),
        (&[], 9999, 50, false),
    ] {
        let rotate_after = Duration::from_secs(rotate_after);
        let found = is_rotation_due(keys, KeyPurpose::Access, at(now), rotate_after);
        assert_eq!(found, is_due, "{rotate_after:?} after at {now}");
    }
}

#[test]
fn one_key_signs_on_after_any_revocation() {
    let id = |id: &str| KeyId(id.to_owned());
    let keys = three_keys();
    let alone = &keys[..2];
    for (keys, revoked, now, plan) in [
        (&keys[..], "old", 120, Revocation::Alone),
        (&keys, "old", 199, Revocation::Alone),
        (
            &keys,
            "now",
            120,
            Revocation::PassedOn {
                successor: id("next"),
            },
        ),
        (
            &keys,
            "next",
            120,
            Revocation::OfSuccessor { stays: id("now") },
        ),
        (&keys, "now", 200, Revocation::Alone),
        (&keys, "next", 200, Revocation::WithNewKey),
        (alone, "now", 120, Revocation::WithNewKey),
        (alone, "old", 120, Revocation::Alone),
        (alone, "old", 300, Revocation::WithNewKey),
    ] {
        let found = plan_revocation(keys, &id(revoked), at(now));
        assert_eq!(found, Ok(plan), "{revoked} at {now}");
    }
}

#[test]
fn neither_an_unknown_key_nor_a_revoked_one_is_revoked() {
    let revoked = SigningKeyRecord {
        revoked_at: Some(at(30)),
        ..key("revoked", 25)
    };
    let keys = [key("good", 10), revoked];
    let plan = |id: &str| plan_revocation(&keys, &KeyId(id.to_owned()), at(40));
    assert_eq!(plan("nobody"), Err(RevocationRefused::Unknown));
    let already = RevocationRefused::AlreadyRevoked { at: at(30) };
    assert_eq!(plan("revoked"), Err(already));
}
