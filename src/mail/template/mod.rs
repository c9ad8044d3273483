//! The words of a mail, with variables: built in, or the operator's own.
//!
//! A mistake in an operator's template is found at the start, and all mistakes at once: afterwards a mail
//! that cannot be put into words would be a person who cannot sign in.

mod folder;
mod set;
mod trial;

use std::path::Path;

use self::folder::{files, read};
use self::trial::in_line;
use super::installation::Installation;
use super::kind::TemplateId;
use super::problem::MailProblem;

pub(super) use self::set::Templates;

impl Templates {
    /// The templates in an operator's folder, and the built-in ones for the rest; or everything that is
    /// wrong with that folder.
    pub(super) fn in_folder(
        installation: Installation,
        folder: &Path,
    ) -> Result<Self, Vec<MailProblem>> {
        let mut templates = Self::built_in(installation);
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
}

#[cfg(test)]
mod tests;
