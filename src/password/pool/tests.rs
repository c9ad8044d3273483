//! Tests of the hashing pool.

use super::*;
use crate::password::make::make_of;

fn pool(workers: usize, queue: usize) -> HashingPool {
    let config = PasswordsConfig {
        memory_kib: 64,
        iterations: 1,
        parallelism: 1,
        workers,
        queue,
        imported_memory_mib: 1,
    };
    HashingPool::new(config)
}

/// A hash of a kind, of no password.
fn sample(kind: &str) -> PasswordHash {
    let tail = if kind.starts_with("$argon2") {
        "c29tZXNhbHRzb21lc2FsdA$PGnVoCdKU3NrS0rdJ4bQkAFYR6pk1CuiXvOvIJ+gJFs"
    } else {
        "NcIb7vmIlIvS9gnEa0xkR.cZ5QwPt4sBzqGWs3rRkOeE2cPn3pKQe"
    };
    PasswordHash::new(format!("{kind}${tail}"))
}

fn kinds<const N: usize>(kinds: [&str; N]) -> [HashKind; N] {
    kinds.map(|kind| HashKind::new(kind.to_owned()))
}

fn plain(text: &str) -> PlainPassword {
    PlainPassword::parse(text).unwrap()
}

#[tokio::test]
async fn a_password_matches_its_own_hash_and_no_other() {
    let pool = pool(1, 1);
    let hash = pool.hash(plain("correct")).await.unwrap();
    let verify = async |text, hash| pool.verify(plain(text), hash).await.unwrap().verdict;
    let hash = Some(hash.hash().clone());
    assert_eq!(
        verify("correct", hash.clone()).await,
        Verdict::Match { is_outdated: false }
    );
    assert_eq!(verify("Correct", hash.clone()).await, Verdict::Mismatch);
    assert_eq!(verify("correct ", hash).await, Verdict::Mismatch);
    assert_eq!(verify("correct", None).await, Verdict::Mismatch);
}

/// Red where the normalised form alone is compared.
#[tokio::test]
async fn a_hash_of_what_was_typed_opens_and_is_replaced_by_one_of_the_normalised_form() {
    let pool = pool(1, 1);
    let verify = async |typed, hash: &PasswordHash| {
        let check = pool.verify(plain(typed), Some(hash.clone())).await.unwrap();
        check.verdict
    };
    let replaced = Verdict::Match { is_outdated: true };
    for typed in [
        "Passw\u{b2}rd-lang",
        "\u{b5} \u{b4} \u{ba} \u{2026} \u{bd} \u{2122} \u{a8}",
        "no\u{a0}break",
        "\u{ff26}\u{ff35}\u{ff2c}\u{ff2c}",
        "u\u{308}ber",
    ] {
        let bcrypt = PasswordHash::new(bcrypt::hash(typed, 4).unwrap());
        assert_eq!(verify(typed, &bcrypt).await, replaced, "{typed}");
        let mut slot = Slot::new(Library::Fast, 64);
        let argon2id = make_of(&pool.0.config, typed.as_bytes(), &mut slot);
        let argon2id = PasswordHash::new(argon2id);
        assert_eq!(verify(typed, &argon2id).await, replaced, "{typed}");
        assert_eq!(verify("another", &argon2id).await, Verdict::Mismatch);
        let ours = pool.hash(plain(typed)).await.unwrap();
        let kept = Verdict::Match { is_outdated: false };
        assert_eq!(verify(typed, ours.hash()).await, kept, "{typed}");
    }
}

/// Red where bcrypt's hash is replaced for every password, and with `> 72`.
#[tokio::test]
async fn a_bcrypt_hash_stays_where_it_cannot_tell_whether_all_of_the_password_was_typed() {
    let pool = pool(1, 1);
    let verdict = async |typed: &str, password: &str| {
        let hash = PasswordHash::new(bcrypt::hash(password, 4).unwrap());
        let check = pool.verify(plain(typed), Some(hash)).await.unwrap();
        check.verdict
    };
    let match_ = |is_outdated| Verdict::Match { is_outdated };
    let long = "0123456789".repeat(10);
    for (typed, password, is_outdated) in [
        (&long[..99], &long[..99], false),
        (&long[..73], &long[..99], false),
        (&long[..72], &long[..99], false),
        (&long[..72], &long[..72], false),
        (&long[..71], &long[..71], true),
        // Bytes that bcrypt cannot tell from their repetition.
        ("abc\0abc", "abc", false),
        ("abc", "abc", true),
    ] {
        assert_eq!(
            verdict(typed, password).await,
            match_(is_outdated),
            "{typed}"
        );
    }
    assert_eq!(verdict(&long[..71], &long[..99]).await, Verdict::Mismatch);
    // 72 bytes and more as typed, fewer as normalised; and the other way round.
    let shrinks = "\u{ff41}".repeat(30);
    assert_eq!(verdict(&shrinks, &shrinks[..72]).await, match_(false));
    assert_eq!(verdict(&shrinks, &"a".repeat(30)).await, match_(false));
    let grows = "\u{bd}".repeat(20);
    assert_eq!(verdict(&grows, &grows).await, match_(true));
}

#[tokio::test]
async fn nobody_has_the_decoys_password() {
    let pool = pool(1, 1);
    let typed = plain("a password that no user has");
    let check = pool.verify(typed, None).await.unwrap();
    assert_eq!(check.verdict, Verdict::Mismatch);
}

#[tokio::test]
async fn hashes_of_other_services_are_read_and_marked_for_an_upgrade() {
    let pool = pool(1, 1);
    let laravel = bcrypt::hash("secret-of-old", 4)
        .unwrap()
        .replace("$2b$", "$2y$");
    let django = "pbkdf2_sha1$1$salt$nP9H1nA6bVUaXYb1hRPZqZKrhVo=";
    let checked = async |text: &str| {
        let stored = PasswordHash::new(text.to_owned());
        let check = pool.verify(plain("secret-of-old"), Some(stored)).await;
        check.unwrap().verdict
    };
    assert_eq!(
        checked(&laravel).await,
        Verdict::Match { is_outdated: true }
    );
    assert_eq!(checked(django).await, Verdict::Mismatch);
}

/// Red where a password that WordPress trimmed becomes the password.
#[tokio::test]
async fn characters_that_another_service_takes_away_do_not_become_part_of_the_password() {
    let pool = pool(1, 1);
    let wordpress = PasswordHash::new("$P$B3Ez99i62EzKQGAUMCY73TqWG8fHJn.".to_owned());
    for (typed, is_outdated) in [("violet-Anvil-67", true), ("violet-Anvil-67 ", false)] {
        let check = pool.verify(plain(typed), Some(wordpress.clone())).await;
        assert_eq!(
            check.unwrap().verdict,
            Verdict::Match { is_outdated },
            "{typed}"
        );
    }
}

#[tokio::test]
async fn a_refusal_is_delayed_only_while_hashes_of_other_kinds_are_in_use() {
    let pool = pool(1, 1);
    let unknown = pool.verify(plain("wrong"), None).await.unwrap();
    let held = async |pool: &HashingPool| {
        let before = Instant::now();
        pool.delay_refusal(&Check {
            started: before,
            ..unknown
        })
        .await;
        before.elapsed()
    };
    let [old, mine] = kinds(["$2y$08", "$argon2id$v=19$m=64,t=1,p=1"]);
    assert_eq!(pool.refusal_delay(), None);
    pool.learn_kinds(&[old.clone(), mine.clone()])
        .await
        .unwrap();
    let old = Kind::read(&old).unwrap();
    let measured = pool.0.equalizer.measured(old).unwrap();
    assert!(pool.refusal_delay() >= Some(measured));
    assert!(measured > Duration::ZERO);
    assert!(held(&pool).await >= measured);
    pool.learn_kinds(&[mine]).await.unwrap();
    assert_eq!(pool.0.equalizer.delay(measured, 1), Duration::ZERO);
}

#[tokio::test]
async fn a_kind_of_hash_is_learned_from_the_first_check_of_one() {
    let pool = pool(1, 1);
    let stored = sample("$2y$04");
    let check = pool.verify(plain("wrong"), Some(stored)).await.unwrap();
    assert_eq!(check.verdict, Verdict::Mismatch);
    assert!(pool.0.equalizer.delay(Duration::ZERO, 1) > Duration::ZERO);
}

/// A hash that takes more memory than all hashes of other services may.
const TOO_LARGE: &str = "$argon2id$v=19$m=2048,t=1,p=1";

/// Red where the budget is not asked, and with a wrong password for an answer.
#[tokio::test]
async fn a_hash_that_takes_more_memory_than_there_may_be_is_no_wrong_password() {
    let pool = pool(1, 1);
    let checked = pool.verify(plain("correct"), Some(sample(TOO_LARGE))).await;
    let error = checked.unwrap_err();
    let told = HashingError::TooLarge {
        needs_mib: 2,
        budget_mib: 1,
    };
    assert_eq!(error, told);
    assert!(error.is_unavailable());
    // It is not measured, and keeps no other kind from being learned.
    let [too_large, other] = kinds([TOO_LARGE, "$2y$04"]);
    let kind = Kind::read(&too_large).unwrap();
    pool.learn_kinds(&[too_large, other]).await.unwrap();
    assert_eq!(pool.0.equalizer.measured(kind), None);
    assert!(pool.0.equalizer.delay(Duration::ZERO, 1) > Duration::ZERO);
}

/// Red when `fill` takes every failure for a wrong password.
#[test]
fn a_hash_for_which_there_is_no_memory_is_no_wrong_password() {
    // More than any machine has: 4 TiB, and with scrypt 2.
    let scrypt = "$scrypt$ln=30,r=16,p=1$AAECAwQFBgcICQoLDA0ODw$\
                  F3F/I+YsAybH2htS7WqEBQoXHICNxp4/T7t3vxlv3C0";
    for stored in [
        sample("$argon2id$v=19$m=4294967295,t=1,p=1"),
        PasswordHash::new(scrypt.to_owned()),
    ] {
        let stored = formats::read(stored.expose()).unwrap();
        for library in [Library::Fast, Library::Reference] {
            let checked = stored.verify(b"correct", &mut Slot::new(library, 8));
            assert!(checked.is_err(), "{library:?}");
        }
    }
    assert!(HashingError::OutOfMemory.is_unavailable());
}

/// Red where each hash gets the memory that it needs.
#[tokio::test]
async fn hashes_of_other_services_share_one_budget_of_memory_and_hold_no_worker_while_they_wait() {
    let pool = pool(4, 4);
    let lease = async |pool: &HashingPool, kind: &str| {
        let stored = formats::read(sample(kind).expose()).unwrap();
        pool.lease_for(Some(&*stored)).await
    };
    // 1 MiB: two of these, or four of those.
    let half = "$argon2id$v=19$m=512,t=1,p=1";
    let quarter = "$argon2id$v=19$m=256,t=1,p=1";
    let first = lease(&pool, half).await.unwrap();
    let second = lease(&pool, quarter).await.unwrap();
    let third = tokio::spawn({
        let pool = pool.clone();
        async move { lease(&pool, half).await.is_ok() }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!third.is_finished());
    assert_eq!(pool.0.workers.free(), 2, "it holds no worker");
    // A hash that computes in a worker's memory waits for none.
    drop(lease(&pool, "$argon2id$v=19$m=64,t=1,p=1").await.unwrap());
    drop(second);
    drop(first);
    assert!(third.await.unwrap());
}

/// Red without the queue for memory: it waits until it gives up.
#[tokio::test(start_paused = true)]
async fn no_more_wait_for_memory_than_may_wait_for_a_worker() {
    let pool = pool(1, 2);
    let needs = "$argon2id$v=19$m=1024,t=1,p=1";
    let stored = || formats::read(sample(needs).expose()).unwrap();
    let held = pool.lease_for(Some(&*stored())).await.unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (pool, stored) = (pool.clone(), stored());
            tokio::spawn(async move { pool.lease_for(Some(&*stored)).await.is_ok() })
        })
        .collect();
    while pool.0.workers.waiting_for_memory() < 2 {
        tokio::task::yield_now().await;
    }
    let before = Instant::now();
    let surplus = pool.lease_for(Some(&*stored())).await;
    assert!(matches!(surplus, Err(HashingError::Overloaded { .. })));
    assert_eq!(before.elapsed(), Duration::ZERO);
    drop(held);
    for waiter in waiting {
        assert!(waiter.await.unwrap());
    }
}

#[tokio::test]
async fn a_hash_that_one_library_made_opens_with_the_other() {
    let config = pool(1, 1).0.config;
    let pools = [Library::Fast, Library::Reference]
        .map(|library| HashingPool::with_library(config, library));
    for [maker, checker] in [[0, 1], [1, 0], [1, 1]] {
        let made = pools[maker].hash(plain("correct")).await.unwrap();
        let verify = async |text| {
            let check = pools[checker].verify(plain(text), Some(made.hash().clone()));
            check.await.unwrap().verdict
        };
        let kept = Verdict::Match { is_outdated: false };
        assert_eq!(verify("correct").await, kept);
        assert_eq!(verify("Correct").await, Verdict::Mismatch);
    }
}
