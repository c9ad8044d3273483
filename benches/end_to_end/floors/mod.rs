//! The minimum cost of the work: the bare functions, measured in the same run.

pub mod checks;

use std::hint::black_box;
use std::time::Duration;

use anyhow::Context as _;
use argon2_rust::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use tokio::time::Instant;

use super::accounts;

/// The memory that a hash is computed in.
#[derive(Debug, Clone, Copy)]
pub enum Memory {
    /// The same for all hashes of a thread.
    Reused,
    /// Taken and given back by each, as `Argon2::hash_into` does.
    ItsOwn,
}

/// Argon2id hashes a second under the default parameters, with a thread for each core.
pub fn argon2_per_second(threads: usize, span: Duration, memory: Memory) -> anyhow::Result<f64> {
    let hashers = (0..threads).map(|_| std::thread::spawn(move || argon2_for(span, memory)));
    let hashers: Vec<_> = hashers.collect();
    let mut rate = 0.0;
    for hasher in hashers {
        rate += hasher.join().ok().context("a thread panicked")??;
    }
    Ok(rate)
}

fn argon2_for(span: Duration, memory: Memory) -> anyhow::Result<f64> {
    let params = Params::builder()
        .memory(argon2_rust::params::Memory::kib(19_456))
        .passes(2)
        .build();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(failed)?);
    let mut in_memory = argon2.hasher();
    let (password, salt) = (b"violet-anvil-67", &[7; 16]);
    let (started, mut hashes) = (Instant::now(), 0.0);
    while started.elapsed() < span {
        let mut hash = [0; 32];
        match memory {
            Memory::Reused => in_memory.hash_into(password, salt, &mut hash),
            Memory::ItsOwn => argon2.hash_into(password, salt, &mut hash),
        }
        .map_err(failed)?;
        black_box(hash);
        hashes += 1.0;
    }
    Ok(hashes / started.elapsed().as_secs_f64())
}

fn failed(error: argon2_rust::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// An RSA key of the default size.
pub struct Rs256 {
    key: KeyPair,
    message: [u8; 400],
}

/// CPU time of one operation.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub sign: Duration,
    pub verify: Duration,
}

impl Rs256 {
    pub fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate(KeySize::Rsa2048).context("a key can be made")?;
        Ok(Self {
            key,
            message: [b'x'; 400],
        })
    }

    pub fn cost(&self) -> anyhow::Result<Cost> {
        const TIMES: u32 = 300;
        let (random, mut signature) = (SystemRandom::new(), [0; 256]);
        let before = accounts::cpu_of_this_thread()?;
        for _ in 0..TIMES {
            self.key
                .sign(&RSA_PKCS1_SHA256, &random, &self.message, &mut signature)
                .ok()
                .context("a key signs")?;
        }
        let between = accounts::cpu_of_this_thread()?;
        let public = self.key.public_key().as_ref();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
        for _ in 0..TIMES {
            public
                .verify(&self.message, &signature)
                .ok()
                .context("a signature holds")?;
        }
        let after = accounts::cpu_of_this_thread()?;
        Ok(Cost {
            sign: between.saturating_sub(before) / TIMES,
            verify: after.saturating_sub(between) / TIMES,
        })
    }
}
