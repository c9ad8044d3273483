//! The templates of all kinds, and how one is filled.

use minijinja::{Environment, Error, UndefinedBehavior};

use crate::domain::MailKind;
use crate::mail::content::Content;
use crate::mail::installation::Installation;
use crate::mail::kind::{Part, TemplateId};
use crate::mail::language::texts;
use crate::mail::message::Mail;

/// Bytes of a template, and of the text that it makes.
pub(super) const MAX_BYTES: usize = 65_536;

/// Steps that filling a template may take: a loop without an end is an error.
const FUEL: u64 = 20_000;

/// The templates of all kinds, for one installation.
pub(in crate::mail) struct Templates {
    pub(super) environment: Environment<'static>,
    pub(super) installation: Installation,
}

impl Templates {
    /// The templates that come with the program.
    pub(in crate::mail) fn built_in(installation: Installation) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        for kind in MailKind::ALL.iter().copied() {
            for (part, source) in Part::ALL
                .into_iter()
                .zip(texts(kind, installation.language))
            {
                environment
                    .add_template(TemplateId { kind, part }.file(), source)
                    .expect("a test reads what is built in");
            }
        }
        Self {
            environment,
            installation,
        }
    }

    /// Puts a mail into words.
    pub(in crate::mail) fn render(&self, mail: &Mail) -> Result<Content, Error> {
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

    /// Renders one part of a mail.
    pub(super) fn fill(&self, id: TemplateId, mail: &Mail) -> Result<String, Error> {
        let template = self.environment.get_template(id.file())?;
        template.render(id.values(&self.installation, mail))
    }
}
