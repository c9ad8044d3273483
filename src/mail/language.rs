//! The differences between languages: the built-in texts, and how an instant is written.
//!
//! There is one language per installation: a user has no language of their own.

use chrono::Datelike as _;

use crate::domain::{Language, MailKind, Notice, Timestamp};

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
        (MailKind::ResetLink, Language::English) => texts!("en", "link"),
        (MailKind::ResetLink, Language::German) => texts!("de", "link"),
        (MailKind::ResetLink, Language::French) => texts!("fr", "link"),
        (MailKind::ResetLink, Language::Spanish) => texts!("es", "link"),
        (MailKind::InvitationLink, Language::English) => texts!("en", "invitation"),
        (MailKind::InvitationLink, Language::German) => texts!("de", "invitation"),
        (MailKind::InvitationLink, Language::French) => texts!("fr", "invitation"),
        (MailKind::InvitationLink, Language::Spanish) => texts!("es", "invitation"),
        (MailKind::Notice, Language::English) => texts!("en", "notice"),
        (MailKind::Notice, Language::German) => texts!("de", "notice"),
        (MailKind::Notice, Language::French) => texts!("fr", "notice"),
        (MailKind::Notice, Language::Spanish) => texts!("es", "notice"),
    }
}

/// The event that a notice tells of, in a sentence without its full stop.
pub(super) fn event(language: Language, notice: Notice) -> &'static str {
    match language {
        Language::English => english(notice),
        Language::German => german(notice),
        Language::French => french(notice),
        Language::Spanish => spanish(notice),
    }
}

fn english(notice: Notice) -> &'static str {
    match notice {
        Notice::PasswordChanged => "Your password was changed",
        Notice::PasswordSet => "Your password was set by a mailed link",
        Notice::AddressChanged => "Your email address was changed",
        Notice::TotpEnrolled => "An authenticator app was set up for your account",
        Notice::TotpRemoved => {
            "The authenticator app and the recovery codes of your account were removed"
        }
        Notice::PasskeyAdded => "A passkey was added to your account",
        Notice::PasskeyRemoved => "A passkey of your account was removed",
        Notice::RecoveryCodesMade => "New recovery codes were made for your account",
        Notice::RecoveryCodeUsed => "A recovery code was used to sign in to your account",
        Notice::FactorsReset => {
            "The second factors of your account were reset, and codes are mailed again"
        }
    }
}

fn german(notice: Notice) -> &'static str {
    match notice {
        Notice::PasswordChanged => "Ihr Passwort wurde geändert",
        Notice::PasswordSet => "Ihr Passwort wurde über einen Link aus einer E-Mail gesetzt",
        Notice::AddressChanged => "Ihre E-Mail-Adresse wurde geändert",
        Notice::TotpEnrolled => "Für Ihr Konto wurde eine Authenticator-App eingerichtet",
        Notice::TotpRemoved => {
            "Die Authenticator-App und die Wiederherstellungscodes Ihres Kontos wurden entfernt"
        }
        Notice::PasskeyAdded => "Ihrem Konto wurde ein Passkey hinzugefügt",
        Notice::PasskeyRemoved => "Ein Passkey Ihres Kontos wurde entfernt",
        Notice::RecoveryCodesMade => "Für Ihr Konto wurden neue Wiederherstellungscodes erzeugt",
        Notice::RecoveryCodeUsed => {
            "Eine Anmeldung an Ihrem Konto wurde mit einem Wiederherstellungscode bestätigt"
        }
        Notice::FactorsReset => {
            "Die zweiten Faktoren Ihres Kontos wurden zurückgesetzt; Codes kommen wieder per E-Mail"
        }
    }
}

fn french(notice: Notice) -> &'static str {
    match notice {
        Notice::PasswordChanged => "Votre mot de passe a été changé",
        Notice::PasswordSet => "Votre mot de passe a été choisi par un lien reçu par courriel",
        Notice::AddressChanged => "Votre adresse électronique a été changée",
        Notice::TotpEnrolled => "Une application d’authentification a été associée à votre compte",
        Notice::TotpRemoved => {
            "L’application d’authentification et les codes de secours de votre compte ont été retirés"
        }
        Notice::PasskeyAdded => "Une clé d’accès a été ajoutée à votre compte",
        Notice::PasskeyRemoved => "Une clé d’accès de votre compte a été retirée",
        Notice::RecoveryCodesMade => "De nouveaux codes de secours ont été créés pour votre compte",
        Notice::RecoveryCodeUsed => "Un code de secours a servi à se connecter à votre compte",
        Notice::FactorsReset => {
            "Les seconds facteurs de votre compte ont été réinitialisés ; les codes arrivent à nouveau par courriel"
        }
    }
}

fn spanish(notice: Notice) -> &'static str {
    match notice {
        Notice::PasswordChanged => "Se ha cambiado su contraseña",
        Notice::PasswordSet => "Se ha elegido su contraseña con un enlace enviado por correo",
        Notice::AddressChanged => "Se ha cambiado su dirección de correo electrónico",
        Notice::TotpEnrolled => "Se ha configurado una aplicación de autenticación para su cuenta",
        Notice::TotpRemoved => {
            "Se han quitado la aplicación de autenticación y los códigos de recuperación de su cuenta"
        }
        Notice::PasskeyAdded => "Se ha añadido una clave de acceso a su cuenta",
        Notice::PasskeyRemoved => "Se ha quitado una clave de acceso de su cuenta",
        Notice::RecoveryCodesMade => "Se han creado códigos de recuperación nuevos para su cuenta",
        Notice::RecoveryCodeUsed => {
            "Se ha usado un código de recuperación para entrar en su cuenta"
        }
        Notice::FactorsReset => {
            "Se han restablecido los segundos factores de su cuenta; los códigos vuelven a llegar por correo"
        }
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
