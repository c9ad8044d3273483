//! What differs between languages: the built-in texts, and how an instant is written.
//!
//! There is one language per installation: a user has no language of their own.

use chrono::Datelike as _;

use crate::domain::{Language, MailKind, Timestamp};

/// The built-in texts of a kind of mail: subject, text and HTML.
pub(super) fn texts(kind: MailKind, language: Language) -> [&'static str; 3] {
    macro_rules! texts {
        ($folder:literal, $stem:literal) => {
            [
                include_str!(concat!("templates/", $folder, "/", $stem, ".subject.txt")),
                include_str!(concat!("templates/", $folder, "/", $stem, ".txt")),
                include_str!(concat!("templates/", $folder, "/", $stem, ".html")),
            ]
        };
    }
    match (kind, language) {
        (MailKind::SignInCode, Language::English) => texts!("en", "code"),
        (MailKind::SignInCode, Language::German) => texts!("de", "code"),
        (MailKind::SignInCode, Language::French) => texts!("fr", "code"),
        (MailKind::SignInCode, Language::Spanish) => texts!("es", "code"),
    }
}

/// `24 November 2026, 08:46 UTC`, or the form that readers of the language expect.
pub(super) fn in_words(language: Language, at: Timestamp) -> String {
    let (day, year, time) = (at.day(), at.year(), at.format("%H:%M"));
    let month = month(language, at.month0());
    match language {
        Language::English => format!("{day} {month} {year}, {time} UTC"),
        Language::German => format!("{day}. {month} {year}, {time} Uhr UTC"),
        Language::French => {
            // The first of a month is the only ordinal there.
            let ordinal = if day == 1 { "er" } else { "" };
            format!("{day}{ordinal} {month} {year} à {time} UTC")
        }
        Language::Spanish => format!("{day} de {month} de {year}, {time} UTC"),
    }
}

/// The name of a month, counted from zero.
fn month(language: Language, number: u32) -> &'static str {
    let months = match language {
        Language::English => {
            "January February March April May June July August September October November December"
        }
        Language::German => {
            "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
        }
        Language::French => {
            "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
        }
        Language::Spanish => {
            "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
        }
    };
    months
        .split(' ')
        .nth(number as usize)
        .expect("a year has twelve months")
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone as _, Utc};

    use super::*;

    #[test]
    fn an_instant_is_written_as_the_language_writes_it() {
        let at = |month, day| Utc.with_ymd_and_hms(2026, month, day, 8, 46, 59).unwrap();
        for (language, first, other) in [
            (
                Language::English,
                "1 March 2026, 08:46 UTC",
                "24 November 2026, 08:46 UTC",
            ),
            (
                Language::German,
                "1. März 2026, 08:46 Uhr UTC",
                "24. November 2026, 08:46 Uhr UTC",
            ),
            (
                Language::French,
                "1er mars 2026 à 08:46 UTC",
                "24 novembre 2026 à 08:46 UTC",
            ),
            (
                Language::Spanish,
                "1 de marzo de 2026, 08:46 UTC",
                "24 de noviembre de 2026, 08:46 UTC",
            ),
        ] {
            assert_eq!(in_words(language, at(3, 1)), first);
            assert_eq!(in_words(language, at(11, 24)), other);
        }
    }
}
