//! The parts that the server's work is made of, each beside the bare function where there is one.

#![expect(unreachable_pub, reason = "a bench has no outside to hide from")]

#[path = "settings/mod.rs"]
mod settings;

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use argon2_rust::params::Memory;
use argon2_rust::{Algorithm, Argon2, Params, Version};
use axum::http::HeaderMap;
use backoffice_auth::config::Config;
use backoffice_auth::config::ForwardedHeader;
use backoffice_auth::domain::{
    AuthenticationMethods, ClientNetwork, Clock, EmailAddress, Generation, KeyPurpose,
    PlainPassword, Session, SessionId, SigningKeyRecord, UserId,
};
use backoffice_auth::http::extract::client::{Proxies, client_address};
use backoffice_auth::limits::{Flood, FloodLimit};
use backoffice_auth::password::HashingPool;
use backoffice_auth::token::{Ring, SealedKey, Sealer, Tokens};
use criterion::{Criterion, criterion_group, criterion_main};

criterion_group!(parts, password, tokens, reading, limiter);
criterion_main!(parts);

fn config() -> Config {
    settings::config("postgres://localhost/unused").expect("the settings are complete")
}

fn password(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("password");
    group.sample_size(20);
    let config = config().passwords;
    let params = Params::builder()
        .memory(Memory::kib(config.memory_kib.into()))
        .passes(config.iterations)
        .lanes(config.parallelism)
        .threads(1)
        .build()
        .expect("the defaults are within bounds");
    let mut hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hasher();
    group.bench_function("bare Argon2id", |bencher| {
        bencher.iter(|| {
            let mut hash = [0; 32];
            hasher
                .hash_into(b"violet-anvil-67", &[7; 16], &mut hash)
                .expect("it hashes");
            black_box(hash)
        });
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let pool = HashingPool::new(config);
    let plain = PlainPassword::parse("violet-anvil-67").expect("it is short");
    let stored = runtime
        .block_on(pool.hash(plain.clone()))
        .expect("it hashes");
    group.bench_function("a check in the pool", |bencher| {
        bencher.iter(|| runtime.block_on(pool.verify(plain.clone(), Some(stored.hash().clone()))));
    });
    group.finish();
}

fn tokens(criterion: &mut Criterion) {
    let config = config();
    let now = Clock::system().now();
    let sealer = Sealer::new(&config.secrets.master_key);
    let key = SealedKey::generate(2048, &sealer).expect("a key can be made");
    let record = SigningKeyRecord {
        key_id: key.key_id.clone(),
        purpose: KeyPurpose::Access,
        public_key: key.public_key,
        sealed_private_key: key.sealed_private_key,
        created_at: now,
        activates_at: now,
        expires_at: None,
        revoked_at: None,
        is_legacy: false,
        refresh_expires_at: None,
    };
    let ring = Ring::open(&[record], now, &sealer).expect("the key opens");
    let tokens = Tokens::new(&config.tokens, ring, Clock::system());
    let session = Session {
        session_id: SessionId::random(),
        user_id: UserId(7),
        email: "alice@example.com".parse().expect("an address"),
        generation: Generation::FIRST,
        key_id: key.key_id,
        refresh_key_id: None,
        methods: AuthenticationMethods::PASSWORD,
        created_at: now,
        rotated_at: now,
        access_expires_at: now + Duration::from_mins(15),
        idle_expires_at: now + Duration::from_hours(24),
    };
    let pair = tokens.issue(&session).expect("the key signs");
    criterion.bench_function("tokens/a pair is signed", |bencher| {
        bencher.iter(|| tokens.issue(&session));
    });
    criterion.bench_function("tokens/an access token is verified", |bencher| {
        bencher.iter(|| tokens.verify_access(&pair.access.token));
    });
}

fn reading(criterion: &mut Criterion) {
    criterion.bench_function("reading/an address", |bencher| {
        bencher.iter(|| black_box("Alice.Liddell@Example.COM").parse::<EmailAddress>());
    });
    let peer: IpAddr = [10, 0, 0, 1].into();
    let proxies = Proxies {
        networks: vec!["10.0.0.0/8".parse().expect("a network")],
        header: ForwardedHeader::XForwardedFor,
    };
    let mut headers = HeaderMap::new();
    let chain = "198.51.100.9, 203.0.113.7, 10.0.0.2";
    headers.insert("x-forwarded-for", chain.parse().expect("a header"));
    criterion.bench_function("reading/the client behind two proxies", |bencher| {
        bencher.iter(|| client_address(peer, black_box(&headers), &proxies));
    });
}

fn limiter(criterion: &mut Criterion) {
    let flood = Flood::new(FloodLimit {
        burst: 100,
        per_second: 50,
    });
    let mut number = 0_u32;
    criterion.bench_function("limits/the flood layer, a network each", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(1);
            flood.check(
                "signin",
                ClientNetwork::of(IpAddr::from(number.to_be_bytes())),
            )
        });
    });
}
