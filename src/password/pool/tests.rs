//! Tests of the hashing pool.

use super::*;

fn pool(workers: usize, queue: usize) -> HashingPool {
    let config = PasswordsConfig {
        memory_kib: 64,
        iterations: 1,
        parallelism: 1,
        workers,
        queue,
    };
    HashingPool::new(config)
}

fn plain(text: &str) -> PlainPassword {
    PlainPassword::parse(text).unwrap()
}

#[tokio::test]
async fn a_password_matches_its_own_hash_and_no_other() {
    let pool = pool(1, 1);
    let hash = pool.hash(plain("correct")).await.unwrap();
    let verify = async |text, hash| pool.verify(plain(text), hash).await.unwrap().verdict;
    let hash = Some(hash);
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
        let mut slot = vec![Block::new(); 64];
        let argon2id = scheme::make_of(&pool.0.context, typed.as_bytes(), &mut slot);
        assert_eq!(verify(typed, &argon2id).await, replaced, "{typed}");
        assert_eq!(verify("another", &argon2id).await, Verdict::Mismatch);
        let ours = pool.hash(plain(typed)).await.unwrap();
        let kept = Verdict::Match { is_outdated: false };
        assert_eq!(verify(typed, &ours).await, kept, "{typed}");
    }
}

/// Red where bcrypt's hash is replaced whatever was typed, and with `> 72`.
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
    let argon2i = "$argon2i$v=19$m=64,t=3,p=2$c29tZXNhbHRzb21lc2FsdA$\
                   PGnVoCdKU3NrS0rdJ4bQkAFYR6pk1CuiXvOvIJ+gJFs";
    let stored = PasswordHash::new(laravel);
    assert_eq!(check_importable(&stored), Ok(()));
    assert_eq!(
        pool.verify(plain("secret-of-old"), Some(stored))
            .await
            .unwrap()
            .verdict,
        Verdict::Match { is_outdated: true }
    );
    assert_eq!(
        check_importable(&PasswordHash::new(argon2i.to_owned())),
        Ok(())
    );
}

use super::super::scheme::UnsupportedHash::{TooExpensive, Unknown};
use super::super::scheme::check_importable;

#[test]
fn a_hash_that_is_unknown_or_too_expensive_is_not_taken_over() {
    let check = |text: &str| check_importable(&PasswordHash::new(text.to_owned()));
    for unknown in [
        "",
        "secret",
        "$1$abc$def",
        "$2y$10$short",
        "$argon2id$v=19$m=64,t=1,p=1",
    ] {
        assert_eq!(check(unknown), Err(Unknown), "{unknown}");
    }
    let tail = "$c29tZXNhbHRzb21lc2FsdA$PGnVoCdKU3NrS0rdJ4bQkAFYR6pk1CuiXvOvIJ+gJFs";
    assert_eq!(
        check(&format!("$argon2id$v=19$m=999999,t=1,p=1{tail}")),
        Err(TooExpensive)
    );
    assert_eq!(
        check(&format!("$argon2id$v=19$m=64,t=999,p=1{tail}")),
        Err(TooExpensive)
    );
    let expensive = bcrypt::hash("x", 4).unwrap().replacen("$04$", "$31$", 1);
    assert_eq!(check(&expensive), Err(TooExpensive));
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
    let mine = "$argon2id$v=19$m=64,t=1,p=1".to_owned();
    let old = vec!["$2y$08".to_owned(), mine.clone()];
    pool.learn_kinds(&old).await.unwrap();
    let cost = Scheme::parse(&scheme::sample("$2y$08")).unwrap().cost();
    let measured = pool.0.equalizer.measured(cost).unwrap();
    assert!(measured > Duration::ZERO);
    assert!(held(&pool).await >= measured);
    pool.learn_kinds(&[mine]).await.unwrap();
    assert_eq!(pool.0.equalizer.delay(measured, 1), Duration::ZERO);
}

#[tokio::test]
async fn a_kind_of_hash_is_learned_from_the_first_check_of_one() {
    let pool = pool(1, 1);
    let stored = scheme::sample("$2y$04");
    let check = pool.verify(plain("wrong"), Some(stored)).await.unwrap();
    assert_eq!(check.verdict, Verdict::Mismatch);
    assert!(pool.0.equalizer.delay(Duration::ZERO, 1) > Duration::ZERO);
}

/// More memory than any machine has: 4 TiB.
fn oversize() -> PasswordHash {
    scheme::sample("$argon2id$v=19$m=4294967295,t=1,p=1")
}

/// Red when `fill` takes every failure for a wrong password.
#[tokio::test]
async fn a_hash_for_which_there_is_no_memory_is_no_wrong_password() {
    let pool = pool(1, 1);
    let checked = pool.verify(plain("correct"), Some(oversize())).await;
    assert_eq!(checked.unwrap_err(), HashingError::OutOfMemory);
    assert!(HashingError::OutOfMemory.is_unavailable());
    // Nor does it keep other kinds from being learned.
    let kinds = ["$argon2id$v=19$m=4294967295,t=1,p=1", "$2y$04"];
    pool.learn_kinds(&kinds.map(str::to_owned)).await.unwrap();
    assert!(pool.0.equalizer.delay(Duration::ZERO, 1) > Duration::ZERO);
}

/// Red when such a hash takes a worker at once.
#[tokio::test]
async fn of_hashes_that_take_more_memory_than_a_worker_has_one_is_checked_at_a_time() {
    let pool = pool(2, 2);
    let sample = scheme::sample("$argon2id$v=19$m=128,t=1,p=1");
    let first = pool.lease_for(Some(&sample)).await.unwrap();
    let second = tokio::spawn({
        let (pool, sample) = (pool.clone(), sample.clone());
        async move { pool.lease_for(Some(&sample)).await.is_ok() }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.0.workers.free(), 1, "it holds no worker");
    let other = scheme::sample("$argon2id$v=19$m=64,t=1,p=1");
    drop(pool.lease_for(Some(&other)).await.unwrap());
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.unwrap());
}
