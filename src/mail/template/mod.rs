//! The words of a mail, with variables: built in, or the operator's own.
//!
//! A mistake in an operator's template is found at the start, and all mistakes at once: afterwards a mail
//! that cannot be put into words would be a person who cannot sign in.

mod folder;
mod trial;

use std::path::Path;

use minijinja::{Environment, Error, UndefinedBehavior};

use self::folder::{files, read};
use self::trial::in_line;
use super::kind::{Part, TemplateId};
use super::language::texts;
use super::message::Mail;
use super::problem::MailProblem;
use crate::domain::{Language, MailKind};

/// Bytes of a template, and of the text that it makes.
const MAX_BYTES: usize = 65_536;

/// Steps that filling a template may take: a loop without an end is an error.
const FUEL: u64 = 20_000;

/// A mail in words.
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// The templates of all kinds, in one language.
pub(super) struct Templates {
    environment: Environment<'static>,
    language: Language,
}

impl Templates {
    /// The templates that come with the program.
    pub(super) fn built_in(language: Language) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        for kind in MailKind::ALL.iter().copied() {
            for (part, source) in Part::ALL.into_iter().zip(texts(kind, language)) {
                environment
                    .add_template(TemplateId { kind, part }.file(), source)
                    .expect("a test reads what is built in");
            }
        }
        Self {
            environment,
            language,
        }
    }

    /// The templates in an operator's folder, and the built-in ones for the rest; or everything that is
    /// wrong with that folder.
    pub(super) fn in_folder(language: Language, folder: &Path) -> Result<Self, Vec<MailProblem>> {
        let mut templates = Self::built_in(language);
        let mut problems = Vec::new();
        for file in files(folder).map_err(|problem| vec![problem])? {
            if let Err(told) = templates.replace(folder, &file) {
                problems.push(MailProblem::Template { file, told });
            }
        }
        // A file that cannot be read has replaced nothing, so only templates that can be read are tried.
        problems.extend(templates.problems());
        if problems.is_empty() {
            Ok(templates)
        } else {
            Err(problems)
        }
    }

    /// Takes a file instead of a built-in template.
    fn replace(&mut self, folder: &Path, file: &str) -> Result<(), String> {
        let Some(id) = TemplateId::of_file(file) else {
            let known: Vec<_> = TemplateId::all().map(TemplateId::file).collect();
            return Err(format!("is no template; there are {}", known.join(", ")));
        };
        let source = read(&folder.join(file))?;
        self.environment
            .add_template_owned(id.file(), source)
            .map_err(|error| in_line(&error))
    }

    /// Everything that is wrong with these templates, found by filling them with samples.
    fn problems(&self) -> Vec<MailProblem> {
        let problems = TemplateId::all().flat_map(|id| {
            let told = self.try_out(id).err().unwrap_or_default();
            told.into_iter().map(move |told| MailProblem::Template {
                file: id.file().to_owned(),
                told,
            })
        });
        problems.collect()
    }

    /// Puts a mail into words.
    pub(super) fn render(&self, mail: &Mail) -> Result<Content, Error> {
        let kind = mail.body.kind();
        let fill = |part| self.fill(TemplateId { kind, part }, mail);
        let subject = fill(Part::Subject)?;
        Ok(Content {
            // A header is one line, whatever the template's last line ends with.
            subject: subject.split_whitespace().collect::<Vec<_>>().join(" "),
            text: fill(Part::Text)?,
            html: fill(Part::Html)?,
        })
    }

    fn fill(&self, id: TemplateId, mail: &Mail) -> Result<String, Error> {
        let template = self.environment.get_template(id.file())?;
        template.render(id.values(self.language, mail))
    }
}

#[cfg(test)]
mod tests;
