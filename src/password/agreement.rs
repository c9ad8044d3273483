//! Which of two libraries computes Argon2.
//!
//! `argon2-rust` uses the widest registers that the processor has, and takes half the time of `argon2` or less.
//! It is young and has much `unsafe` code, so it is used as long as it agrees: at each start both compute a dozen
//! random hashes, and if one differs, `argon2` computes all of them from then on.

use std::fmt;
use std::sync::OnceLock;

use argon2::{Algorithm, AssociatedData, ParamsBuilder, Version};
use aws_lc_rs::rand;

use super::slot::{Library, Parameters, Slot};

/// How many hashes both libraries compute at a start.
const SAMPLES: usize = 12;

impl Library {
    /// The fast one, if it computes in this process what the other does. They are compared once, however many
    /// pools there are.
    pub(super) fn choose() -> Self {
        static CHOSEN: OnceLock<Library> = OnceLock::new();
        *CHOSEN.get_or_init(|| Self::judge(Sample::is_agreed))
    }

    fn judge(is_agreed: impl Fn(&Sample) -> bool) -> Self {
        let mut samples = (0..SAMPLES).map(|_| Sample::random());
        match samples.find(|sample| !is_agreed(sample)) {
            None => Self::Fast,
            Some(sample) => {
                tracing::error!(
                    %sample, backend = %argon2_rust::detected_backend(),
                    "the fast implementation of Argon2 computes another hash than the reference, \
                     which computes all hashes from now on"
                );
                Self::Reference
            }
        }
    }
}

/// Whether both libraries compute the same hash of what these bytes say, whatever they are.
#[must_use]
pub fn libraries_agree(bytes: &[u8]) -> bool {
    Sample::read(bytes).is_agreed()
}

/// A hash to be computed by both libraries.
struct Sample {
    parameters: Parameters,
    password: Vec<u8>,
    salt: Vec<u8>,
    hash_len: usize,
}

impl Sample {
    fn random() -> Self {
        let mut bytes = [0; 256];
        rand::fill(&mut bytes).expect("the operating system gives randomness");
        Self::read(&bytes)
    }

    /// Any bytes say one: parameters first, then the salt, data that are mixed in, and the password. Memory goes up to
    /// what makes a slice of a lane longer than one block of addresses.
    fn read(bytes: &[u8]) -> Self {
        let mut bytes = bytes.iter().copied();
        let mut below = |bound: usize| {
            let [high, low] = [(); 2].map(|()| bytes.next().unwrap_or_default());
            usize::from(u16::from_be_bytes([high, low])) % bound
        };
        let algorithm = [Algorithm::Argon2d, Algorithm::Argon2i, Algorithm::Argon2id][below(3)];
        let version = [Version::V0x10, Version::V0x13][below(2)];
        let lanes = 1 + below(4);
        let memory_kib = 8 * lanes + below(1024);
        let passes = 1 + below(3);
        let hash_len = 4 + below(125);
        let salt_len = 8 + below(57);
        let data_len = below(1 + AssociatedData::MAX_LEN);
        let mut take = |len: usize| -> Vec<u8> {
            let taken = (0..len).map(|_| bytes.next().unwrap_or_default());
            taken.collect()
        };
        let (salt, data) = (take(salt_len), take(data_len));
        let number = |number: usize| u32::try_from(number).expect("it is small");
        let params = ParamsBuilder::new()
            .m_cost(number(memory_kib))
            .t_cost(number(passes))
            .p_cost(number(lanes))
            .data(AssociatedData::new(&data).expect("it is short"))
            .build()
            .expect("there is enough memory for the lanes");
        Self {
            parameters: Parameters::new(algorithm, version, params),
            password: bytes.collect(),
            salt,
            hash_len,
        }
    }

    fn compute_in(&self, slot: &mut Slot) -> Option<Vec<u8>> {
        let mut hash = vec![0; self.hash_len];
        let filled = slot.fill(&self.parameters, &self.password, &self.salt, &mut hash);
        matches!(filled, Ok(true)).then_some(hash)
    }

    /// Whether the fast library computes what the other does: in memory of its own, in a slot that is larger than it
    /// needs, and in the same slot again.
    fn is_agreed(&self) -> bool {
        let kib = self.parameters.params().m_cost();
        let expected = self.compute_in(&mut Slot::new(Library::Reference, kib));
        let mut slot = Slot::new(Library::Fast, kib + 8);
        expected.is_some()
            && expected == self.compute_in(&mut Slot::new(Library::Fast, 8))
            && expected == self.compute_in(&mut slot)
            && expected == self.compute_in(&mut slot)
    }
}

/// Without the password, although it is nobody's: no habit of printing one begins here.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = self.parameters.params();
        write!(
            f,
            "{} m={} t={} p={}, {} bytes of a password, {} of salt, {} of data, {} of hash",
            self.parameters.variant(),
            params.m_cost(),
            params.t_cost(),
            params.p_cost(),
            self.password.len(),
            self.salt.len(),
            params.data().len(),
            self.hash_len,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::telemetry::testing::Written;

    #[test]
    fn both_libraries_compute_the_same_hashes() {
        for _ in 0..200 {
            let sample = Sample::random();
            assert!(sample.is_agreed(), "{sample}");
        }
    }

    /// Some minutes: `cargo test --lib hundred_thousand -- --ignored`.
    #[test]
    #[ignore = "it takes minutes"]
    fn both_libraries_compute_the_same_hundred_thousand_hashes() {
        for _ in 0..100_000 {
            let sample = Sample::random();
            assert!(sample.is_agreed(), "{sample}");
        }
    }

    #[test]
    fn the_fast_library_is_used_while_it_agrees() {
        let asked = Cell::new(0);
        let library = Library::judge(|sample| {
            asked.set(asked.get() + 1);
            sample.is_agreed()
        });
        assert_eq!((library, asked.get()), (Library::Fast, SAMPLES));
    }

    #[test]
    fn a_library_that_disagrees_once_is_not_used_and_that_is_told() {
        let (log, asked) = (Written::default(), Cell::new(0));
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
        let library = tracing::subscriber::with_default(subscriber, || {
            Library::judge(|_| {
                asked.set(asked.get() + 1);
                asked.get() < SAMPLES
            })
        });
        assert_eq!(library, Library::Reference);
        let log = log.take();
        assert_eq!(log.matches("ERROR").count(), 1, "{log}");
        assert!(log.contains("another hash than the reference"), "{log}");
        assert!(log.contains("argon2"), "{log}");
    }

    #[test]
    fn any_bytes_say_a_sample_and_each_part_of_it_counts() {
        let all = |bytes: &[u8]| Sample::read(bytes).to_string();
        assert_eq!(
            all(b""),
            "argon2d v=16 m=8 t=1 p=1, 0 bytes of a password, 8 of salt, 0 of data, 4 of hash"
        );
        assert_eq!(
            all(&[
                &[0, 2, 0, 1, 0, 3, 0, 9, 0, 2, 0, 28, 0, 8, 0, 5][..],
                &[7; 30]
            ]
            .concat()),
            "argon2id v=19 m=41 t=3 p=4, 9 bytes of a password, 16 of salt, 5 of data, 32 of hash"
        );
    }
}
