//! Tests of the templates, built in and of an operator.

use std::fs;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;
use crate::domain::{Language, MailKind, Notice};
use crate::mail::content::Content;
use crate::mail::language::{event, in_words};
use crate::mail::message::tests::mail;
use crate::mail::{Mail, MailBody};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, source) in files {
        fs::write(folder.path().join(name), source).unwrap();
    }
    folder
}

fn load(files: &[(&str, &str)]) -> Result<Templates, Vec<String>> {
    let folder = folder(files);
    let loaded = Templates::in_folder(Installation::plain(Language::English), folder.path());
    loaded.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn refused(files: &[(&str, &str)]) -> Vec<String> {
    load(files).err().unwrap_or_default()
}

#[test]
fn the_built_in_texts_of_every_language_pass_what_an_operators_must() {
    for language in Language::ALL {
        let templates = Templates::built_in(Installation::plain(*language));
        let problems = templates.problems();
        assert!(problems.is_empty(), "{language:?}: {problems:?}");
    }
}

#[test]
fn every_language_says_which_sign_in_it_is_and_what_to_do_if_it_was_not_you() {
    for (language, until, warning, question) in [
        (
            Language::English,
            "until 24 November 2026, 08:56 UTC",
            "Nobody will ever ask you for it",
            "Was this not you?",
        ),
        (
            Language::German,
            "bis: 24. November 2026, 08:56 Uhr UTC",
            "Niemand wird Sie je danach fragen",
            "Waren Sie das nicht?",
        ),
        (
            Language::French,
            "24 novembre 2026 à 08:56 UTC",
            "Personne ne vous le demandera jamais",
            "Ce n’est pas vous\u{a0}?",
        ),
        (
            Language::Spanish,
            "24 de noviembre de 2026, 08:56 UTC",
            "Nadie se lo pedirá nunca",
            "¿No ha sido usted?",
        ),
    ] {
        let content = Templates::built_in(Installation::plain(language))
            .render(&mail())
            .unwrap();
        let since = in_words(language, mail().requested_at);
        for part in [&content.subject, &content.text, &content.html] {
            assert!(
                part.contains(&since) && part.contains("203.0.113.7"),
                "{part}"
            );
        }
        for part in [&content.text, &content.html] {
            for words in [until, warning, question, mail().code()] {
                assert!(part.contains(words), "{words} in {part}");
            }
        }
        assert!(!content.subject.contains(mail().code()));
        let html = format!("<html lang=\"{}\">", language.as_str());
        assert!(content.html.contains(&html));
        for word in ["http", "href", "src=", "url(", "<img", "<script", "<link"] {
            assert!(!content.html.contains(word), "{word}");
        }
    }
}

/// A mail of this kind, put into words for an installation with links and a contact.
fn written(kind: MailKind, language: Language) -> (Mail, Content) {
    let installation = Installation {
        contact: "IT desk, extension 4711".to_owned(),
        is_self_service: true,
        ..Installation::plain(language)
    };
    let mail = Mail::sample(kind, mail().to, mail().requested_at);
    let content = Templates::built_in(installation).render(&mail);
    (mail, content.unwrap())
}

#[test]
fn every_notice_says_what_changed_when_from_where_and_whom_to_ask_and_leads_nowhere() {
    for language in Language::ALL.iter().copied() {
        let (mail, content) = written(MailKind::Notice, language);
        let (what, when) = (
            event(language, Notice::PasswordChanged),
            in_words(language, mail.requested_at),
        );
        assert_eq!(content.subject, format!("{what} ({when})"));
        for part in [&content.text, &content.html] {
            for words in [what, &when, "192.0.2.1", "IT desk, extension 4711"] {
                assert!(part.contains(words), "{words} in {part}");
            }
            assert!(!part.contains("http") && !part.contains("href"), "{part}");
        }
    }
}

#[test]
fn every_mail_with_a_link_shows_it_outside_of_the_subject_and_says_until_when_it_works() {
    for language in Language::ALL.iter().copied() {
        let [reset, invitation] = [MailKind::ResetLink, MailKind::InvitationLink].map(|kind| {
            let (mail, content) = written(kind, language);
            let MailBody::Link(body) = &mail.body else {
                panic!("it has a link");
            };
            let (link, until) = (
                body.link.expose_secret(),
                in_words(language, body.expires_at),
            );
            for part in [&content.text, &content.html] {
                for words in [link, &until, "192.0.2.1", "IT desk, extension 4711"] {
                    assert!(part.contains(words), "{words} in {part}");
                }
            }
            assert!(content.html.contains(&format!("<a href=\"{link}\">")));
            assert!(!content.subject.contains(link));
            content.text
        });
        assert_ne!(reset, invitation);
    }
}

#[test]
fn an_operators_act_is_told_without_a_network() {
    for language in Language::ALL.iter().copied() {
        let by_operator = |mut mail: Mail| {
            match &mut mail.body {
                MailBody::Link(body) => body.network = None,
                MailBody::Notice(body) => body.network = None,
                MailBody::SignInCode(_) => panic!("an operator signs nobody in"),
            }
            let templates = Templates::built_in(Installation::plain(language));
            templates.render(&mail).unwrap()
        };
        for kind in [
            MailKind::ResetLink,
            MailKind::InvitationLink,
            MailKind::Notice,
        ] {
            let mail = Mail::sample(kind, mail().to, mail().requested_at);
            let Content { text, html, .. } = by_operator(mail);
            for part in [text, html] {
                assert!(!part.contains("192.0.2.1") && !part.contains("extension"));
                assert!(!part.contains("\n\n\n") && !part.contains(": \n"), "{part}");
            }
        }
    }
}

/// Where there are links, a person can change their own password, and is told so.
#[test]
fn a_reader_who_can_help_themselves_is_told_to() {
    for (language, to_operators) in [
        (Language::English, "so that your password"),
        (Language::German, "Passwort geändert wird"),
        (Language::French, "mot de passe soit changé"),
        (Language::Spanish, "para que se cambie"),
    ] {
        let with = |is_self_service| {
            let installation = Installation {
                is_self_service,
                ..Installation::plain(language)
            };
            Templates::built_in(installation).render(&mail()).unwrap()
        };
        for (alone, helped) in [
            (with(true).text, with(false).text),
            (with(true).html, with(false).html),
        ] {
            assert!(!alone.contains(to_operators), "{alone}");
            assert!(helped.contains(to_operators), "{helped}");
        }
    }
}

#[test]
fn templates_in_the_folder_are_used_and_the_others_are_built_in() {
    let own = folder(&[
        ("code.txt", "Hallo: {{ code }} bis {{ expires_at }}"),
        (".hidden", "{{"),
    ]);
    let templates = Templates::in_folder(Installation::plain(Language::German), own.path());
    let content = templates.ok().unwrap().render(&mail()).unwrap();
    let mail = mail();
    let until = "24. November 2026, 08:56 Uhr UTC";
    assert_eq!(content.text, format!("Hallo: {} bis {until}", mail.code()));
    assert!(content.subject.starts_with("Ihr Anmeldecode"));
    assert!(content.html.contains("Waren Sie das?"));
}

#[test]
fn everything_that_is_wrong_in_the_folder_is_told_at_once() {
    let told = refused(&[
        ("code.subject.txt", "Hello\nWorld"),
        (
            "code.txt",
            "{% if network %}{{ code }}{% else %}{{ user }}{% endif %}{{ nmae }}",
        ),
        ("code.html", "<p>\n{{ code"),
        ("code.htm", "{{ code }}"),
    ]);
    assert_eq!(
        told,
        [
            "mail.templates_dir: code.htm: is no template; there are code.subject.txt, code.txt, \
             code.html, link.subject.txt, link.txt, link.html, invitation.subject.txt, \
             invitation.txt, invitation.html, notice.subject.txt, notice.txt, notice.html",
            "mail.templates_dir: code.html: line 2: syntax error: unexpected end of input, \
             expected end of variable block",
            "mail.templates_dir: code.subject.txt: must make one line without control characters",
            "mail.templates_dir: code.txt: there is no variable \"nmae\"",
            "mail.templates_dir: code.txt: there is no variable \"user\"",
        ]
    );
}

/// Templates by name and text, and why each is refused.
const REFUSED: [(&str, &str, &str); 11] = [
    (
        "code.txt",
        "no code",
        "does not show the code: it must hold {{ code }}",
    ),
    (
        "code.html",
        "{{ code|length }}",
        "does not show the code: it must hold {{ code }}",
    ),
    (
        "code.subject.txt",
        "Code {{ code }}",
        "must not hold the code: a subject is shown on locked screens",
    ),
    ("code.subject.txt", " \n", "makes an empty subject"),
    (
        "code.txt",
        "{{ code }}{% for x in range(9999) %}{{ x }}{% endfor %}",
        "line 1: engine ran out of fuel",
    ),
    (
        "code.txt",
        "{{ code }}{{ 'x' * 65536 }}",
        "makes more than 65536 bytes",
    ),
    (
        "link.html",
        "no link",
        "does not show the link: it must hold {{ link }}",
    ),
    (
        "invitation.subject.txt",
        "{{ link }}",
        "must not hold the link: a subject is shown on locked screens",
    ),
    ("notice.txt", "{{ link }}", "there is no variable \"link\""),
    (
        "code.txt",
        "{{ code|shout }}",
        "line 1: unknown filter: filter shout is unknown",
    ),
    (
        "code.txt",
        "{{ code }}{% include '/etc/passwd' %}",
        "line 1: template not found: tried to include non-existing template '/etc/passwd'",
    ),
];

#[test]
fn a_template_that_would_fail_a_person_is_refused() {
    let (long, large) = ("x".repeat(201), "x".repeat(65_537));
    let too_long = [
        (
            "code.subject.txt",
            long.as_str(),
            "makes more than 200 characters",
        ),
        ("code.txt", large.as_str(), "is larger than 65536 bytes"),
    ];
    for (name, source, told) in REFUSED.into_iter().chain(too_long) {
        let expected = format!("mail.templates_dir: {name}: {told}");
        assert_eq!(refused(&[(name, source)]), [expected]);
    }
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let Err(problems) = Templates::in_folder(
        Installation::plain(Language::English),
        Path::new("/nowhere"),
    ) else {
        panic!("it was read");
    };
    assert!(
        problems[0]
            .to_string()
            .starts_with("mail.templates_dir: \"/nowhere\" cannot be read: ")
    );
}

#[test]
fn a_subject_stays_one_line_and_html_is_escaped_whatever_the_template() {
    let mut templates = Templates::built_in(Installation::plain(Language::English));
    let subject = "a\r\nBcc: eve@example.com\r\n\r\n{{ network }}";
    for (name, source) in [
        ("code.subject.txt", subject),
        ("code.html", "{{ '<b>' ~ code }}"),
    ] {
        templates.environment.add_template(name, source).unwrap();
    }
    let content = templates.render(&mail()).unwrap();
    assert_eq!(content.subject, "a Bcc: eve@example.com 203.0.113.7");
    assert!(content.html.starts_with("&lt;b&gt;"));
}
