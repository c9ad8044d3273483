//! Enums whose variants are stored as fixed words.

/// Makes an enum with a word for each variant, and both ways between them: the writing and the reading
/// of a word cannot drift apart, and neither forgets a variant.
macro_rules! words {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $( $(#[$variant_about:meta])* $variant:ident = $word:literal, )+
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$variant_about])* $variant, )+
        }

        impl $name {
            /// All there are, in the order of their declaration.
            pub const ALL: &[Self] = &[$( Self::$variant, )+];

            /// The word that is stored.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }

            /// Reads a stored word; `None` for one that another version of this program wrote.
            #[must_use]
            pub fn from_stored(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }
    };
}

pub(super) use words;
