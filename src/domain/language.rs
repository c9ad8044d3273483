//! The languages that people are written to in.

use super::words::words;

words! {
    /// A language, by its code in ISO 639-1.
    pub enum Language {
        /// English.
        English = "en",
        /// German.
        German = "de",
        /// French.
        French = "fr",
        /// Spanish.
        Spanish = "es",
    }
}
