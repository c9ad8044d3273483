//! The languages that people are written to in.

use super::words::words;

words! {
    /// A language, by its code in ISO 639-1.
    pub enum Language {
        /// English, the default.
        English = "en",
        /// German, in the polite form (Sie).
        German = "de",
        /// French, in the polite form (vous).
        French = "fr",
        /// Spanish, in the polite form (usted).
        Spanish = "es",
    }
}
