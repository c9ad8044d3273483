//! The words of a mail, with holes for what differs: built in, or the operator's own.
//!
//! Whatever an operator's template can do wrong is found at the start, and all at once: after it, a
//! mail that cannot be put into words would be a person who cannot sign in.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use minijinja::value::Value;
use minijinja::{Environment, Error, UndefinedBehavior, context};

use super::language::{in_words, texts};
use super::{CodeMail, MailProblem};
use crate::domain::{Language, Timestamp};

const SUBJECT: &str = "code.subject.txt";
const TEXT: &str = "code.txt";
// The ending `.html` is what switches escaping on.
const HTML: &str = "code.html";

/// All templates there are.
const NAMES: [&str; 3] = [SUBJECT, TEXT, HTML];

/// Bytes of a template, and of what comes of it.
const MAX_BYTES: usize = 65_536;

/// Characters of a subject. What is longer is cut by everything that shows it.
const MAX_SUBJECT_CHARS: usize = 200;

/// Steps that filling a template may take: a loop without an end is an error.
const FUEL: u64 = 20_000;

/// A mail in words.
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// The words, with holes.
pub(super) struct Templates {
    environment: Environment<'static>,
    language: Language,
}

impl Templates {
    /// The words that come with the program.
    pub(super) fn built_in(language: Language) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        for (name, source) in NAMES.into_iter().zip(texts(language)) {
            environment
                .add_template(name, source)
                .expect("a test reads what is built in");
        }
        Self {
            environment,
            language,
        }
    }

    /// The words in an operator's folder, and the built-in ones for what is not there; or
    /// everything that is wrong with that folder.
    pub(super) fn in_folder(language: Language, folder: &Path) -> Result<Self, Vec<MailProblem>> {
        let mut templates = Self::built_in(language);
        let mut problems = Vec::new();
        for file in files(folder).map_err(|problem| vec![problem])? {
            if let Err(told) = templates.replace(folder, &file) {
                problems.push(MailProblem::Template { file, told });
            }
        }
        // What cannot be read was not taken over, so only what can be is tried.
        problems.extend(templates.problems());
        if problems.is_empty() {
            Ok(templates)
        } else {
            Err(problems)
        }
    }

    /// Takes a file over in place of what is built in.
    fn replace(&mut self, folder: &Path, file: &str) -> Result<(), String> {
        let Some(name) = NAMES.into_iter().find(|name| *name == file) else {
            return Err(format!("is no template; there are {}", NAMES.join(", ")));
        };
        let source = read(&folder.join(name))?;
        self.environment
            .add_template_owned(name, source)
            .map_err(|error| in_line(&error))
    }

    /// What is wrong with these templates, found by filling them with a sample.
    fn problems(&self) -> Vec<MailProblem> {
        let problems = NAMES.into_iter().flat_map(|name| {
            let told = self.try_out(name).err().unwrap_or_default();
            let file = name.to_owned();
            told.into_iter().map(move |told| MailProblem::Template {
                file: file.clone(),
                told,
            })
        });
        problems.collect()
    }

    fn try_out(&self, name: &str) -> Result<(), Vec<String>> {
        let strangers = self.strangers(name);
        if !strangers.is_empty() {
            return Err(strangers);
        }
        let sample = sample();
        let filled = (self.fill(name, &sample)).map_err(|error| vec![in_line(&error)])?;
        let told = match name {
            SUBJECT => wrong_subject(&filled),
            _ if filled.len() > MAX_BYTES => Some(format!("makes more than {MAX_BYTES} bytes")),
            _ if !filled.contains(sample.code.expose()) => {
                Some("does not show the code: it must hold {{ code }}".to_owned())
            }
            _ => None,
        };
        told.map_or(Ok(()), |told| Err(vec![told]))
    }

    /// Variables that a template names and that do not exist, each in a sentence. Also those in a
    /// branch that the sample does not take.
    fn strangers(&self, name: &str) -> Vec<String> {
        let Ok(template) = self.environment.get_template(name) else {
            return Vec::new();
        };
        let known = self.values(name, &sample());
        let is_known = |variable: &str| {
            known
                .get_attr(variable)
                .is_ok_and(|value| !value.is_undefined())
                || self
                    .environment
                    .globals()
                    .any(|(global, _)| global == variable)
        };
        let variables: BTreeSet<_> = template.undeclared_variables(false).into_iter().collect();
        let strangers = variables.into_iter().filter(|variable| !is_known(variable));
        let tell = |variable: String| {
            if variable == "code" {
                "must not hold the code: a subject is shown on locked screens".to_owned()
            } else {
                format!("there is no variable {variable:?}")
            }
        };
        strangers.map(tell).collect()
    }

    /// Fills the holes.
    pub(super) fn render(&self, mail: &CodeMail) -> Result<Content, Error> {
        let subject = self.fill(SUBJECT, mail)?;
        Ok(Content {
            // A header is one line, whatever the template's last line ends with.
            subject: subject.split_whitespace().collect::<Vec<_>>().join(" "),
            text: self.fill(TEXT, mail)?,
            html: self.fill(HTML, mail)?,
        })
    }

    fn fill(&self, name: &str, mail: &CodeMail) -> Result<String, Error> {
        let template = self.environment.get_template(name)?;
        template.render(self.values(name, mail))
    }

    /// What a template may use.
    fn values(&self, name: &str, mail: &CodeMail) -> Value {
        let facts = context! {
            requested_at => in_words(self.language, mail.requested_at),
            network => mail.network.to_string(),
            expires_at => in_words(self.language, mail.expires_at),
        };
        if name == SUBJECT {
            return facts;
        }
        context! { code => mail.code.expose(), ..facts }
    }
}

/// What templates are tried with.
fn sample() -> CodeMail {
    let to = "somebody@example.com".parse();
    CodeMail::sample(to.expect("it is an address"), Timestamp::UNIX_EPOCH)
}

fn wrong_subject(filled: &str) -> Option<String> {
    let line = filled.trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() {
        Some("makes an empty subject".to_owned())
    } else if line.contains(char::is_control) {
        Some("must make one line without control characters".to_owned())
    } else if line.chars().count() > MAX_SUBJECT_CHARS {
        Some(format!("makes more than {MAX_SUBJECT_CHARS} characters"))
    } else {
        None
    }
}

/// The names in a folder, sorted. Hidden ones are not ours: Kubernetes and editors keep theirs there.
fn files(folder: &Path) -> Result<Vec<String>, MailProblem> {
    let unreadable = |error: std::io::Error| MailProblem::Folder {
        folder: folder.to_owned(),
        told: error.to_string(),
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if usize::try_from(length).is_ok_and(|length| length <= MAX_BYTES) {
        fs::read_to_string(path).map_err(unreadable)
    } else {
        Err(format!("is larger than {MAX_BYTES} bytes"))
    }
}

/// `line 3: syntax error: unexpected end of input`.
fn in_line(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line}: "));
    let detail = error.detail().map(|detail| format!(": {detail}"));
    format!(
        "{}{}{}",
        line.unwrap_or_default(),
        error.kind(),
        detail.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::mail::message::tests::mail;

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
        let loaded = Templates::in_folder(Language::English, folder.path());
        loaded.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn refused(files: &[(&str, &str)]) -> Vec<String> {
        load(files).err().unwrap_or_default()
    }

    #[test]
    fn the_built_in_texts_of_every_language_pass_what_an_operators_must() {
        for language in Language::ALL {
            let templates = Templates::built_in(*language);
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
            let content = Templates::built_in(language).render(&mail()).unwrap();
            let since = in_words(language, mail().requested_at);
            for part in [&content.subject, &content.text, &content.html] {
                assert!(
                    part.contains(&since) && part.contains("203.0.113.7"),
                    "{part}"
                );
            }
            for part in [&content.text, &content.html] {
                for words in [until, warning, question, mail().code.expose()] {
                    assert!(part.contains(words), "{words} in {part}");
                }
            }
            assert!(!content.subject.contains(mail().code.expose()));
            let html = format!("<html lang=\"{}\">", language.as_str());
            assert!(content.html.contains(&html));
            for word in ["http", "href", "src=", "url(", "<img", "<script", "<link"] {
                assert!(!content.html.contains(word), "{word}");
            }
        }
    }

    #[test]
    fn what_is_in_the_folder_is_used_and_what_is_not_is_built_in() {
        let own = folder(&[
            ("code.txt", "Hallo: {{ code }} bis {{ expires_at }}"),
            (".hidden", "{{"),
        ]);
        let templates = Templates::in_folder(Language::German, own.path());
        let content = templates.ok().unwrap().render(&mail()).unwrap();
        let code = mail().code;
        let until = "24. November 2026, 08:56 Uhr UTC";
        assert_eq!(
            content.text,
            format!("Hallo: {} bis {until}", code.expose())
        );
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
                 code.html",
                "mail.templates_dir: code.html: line 2: syntax error: unexpected end of input, \
                 expected end of variable block",
                "mail.templates_dir: code.subject.txt: must make one line without control characters",
                "mail.templates_dir: code.txt: there is no variable \"nmae\"",
                "mail.templates_dir: code.txt: there is no variable \"user\"",
            ]
        );
    }

    #[test]
    fn a_template_that_would_fail_a_person_is_refused() {
        for (name, source, told) in [
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
                "code.subject.txt",
                &"x".repeat(201),
                "makes more than 200 characters",
            ),
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
                "code.txt",
                &"x".repeat(65_537),
                "is larger than 65536 bytes",
            ),
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
        ] {
            let expected = format!("mail.templates_dir: {name}: {told}");
            assert_eq!(refused(&[(name, source)]), [expected]);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let Err(problems) = Templates::in_folder(Language::English, Path::new("/nowhere")) else {
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
        let mut templates = Templates::built_in(Language::English);
        let subject = "a\r\nBcc: eve@example.com\r\n\r\n{{ network }}";
        for (name, source) in [(SUBJECT, subject), (HTML, "{{ '<b>' ~ code }}")] {
            templates.environment.add_template(name, source).unwrap();
        }
        let content = templates.render(&mail()).unwrap();
        assert_eq!(content.subject, "a Bcc: eve@example.com 203.0.113.7");
        assert!(content.html.starts_with("&lt;b&gt;"));
    }
}
