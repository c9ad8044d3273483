//! Why a hash of another service is not taken. No text here repeats a part of the hash.

/// Why a stored hash cannot be checked, or must not be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedHash {
    /// No format that is known looks like it.
    #[error("not a hash of a known format")]
    Unknown,
    /// A known format that is not taken.
    #[error("{0}")]
    NotTaken(&'static str),
    /// Nothing is there.
    #[error("is empty; null says that there is no password")]
    Empty,
    /// It begins or ends with something that is not part of a hash.
    #[error("a space or a line break stands before it, in it or behind it")]
    Blank,
    /// No hash is so long.
    #[error("longer than 1024 bytes")]
    TooLong,
    /// It begins like a known format, and is none.
    #[error("{format}: {flaw}")]
    Malformed {
        /// The format.
        format: &'static str,
        /// Its flaw.
        flaw: Flaw,
    },
    /// It would take too long to check.
    #[error("its cost is too high: {parameter} is {value}, and at most {max} is taken")]
    TooExpensive {
        /// The parameter that is too high.
        parameter: &'static str,
        /// Its value.
        value: u64,
        /// The highest value that is taken.
        max: u64,
    },
    /// It would take more memory to check than all imported hashes may take together.
    #[error("it takes {needs_mib} MiB to check, and passwords.imported_memory_mib is {budget_mib}")]
    TooLarge {
        /// The memory that a check takes.
        needs_mib: u32,
        /// The memory that all imported hashes may take together.
        budget_mib: u32,
    },
}

/// The flaw of a text that begins like a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The text lacks parts that the format has.
    #[error("it has not the parts of this format")]
    Parts,
    /// A parameter is not there, so the hash could match nothing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter is there twice.
    #[error("{0} stands there twice")]
    Twice(&'static str),
    /// A parameter that the format does not have.
    #[error("it has a parameter that is not known")]
    UnknownParameter,
    /// A version or a variant that the format does not have.
    #[error("its version is not known")]
    UnknownVersion,
    /// A number is none.
    #[error("{0} is not a whole number")]
    NotANumber(&'static str),
    /// A number is out of bounds.
    #[error("{what} must be between {least} and {most}")]
    OutOfBounds {
        /// The parameter.
        what: &'static str,
        /// Its least value.
        least: u32,
        /// Its highest value.
        most: u32,
    },
    /// A length is out of bounds.
    #[error("{what} must be {least} to {most} bytes long, and has {bytes}")]
    Length {
        /// The part.
        what: &'static str,
        /// The least length.
        least: usize,
        /// The highest length.
        most: usize,
        /// The length that it has.
        bytes: usize,
    },
    /// Base64 with `=` behind it in a format that has none.
    #[error("{0} has padding (=), which this format does not have")]
    Padding(&'static str),
    /// The text is not base64 as the format has it.
    #[error("{0} is not base64 as this format has it")]
    NotBase64(&'static str),
    /// The text is not hexadecimal.
    #[error("{0} is not hexadecimal")]
    NotHex(&'static str),
    /// Argon2 needs eight blocks for each lane.
    #[error("m is below 8 times p")]
    MemoryBelowLanes,
    /// scrypt's N is a power of two.
    #[error("N is not a power of two")]
    NotAPowerOfTwo,
    /// A JSON text is not as it should be.
    #[error("it is not the JSON that this service writes")]
    NotJson,
}
