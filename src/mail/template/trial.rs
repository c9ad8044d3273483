//! Trying templates out before a mail needs them.

use std::collections::BTreeSet;

use minijinja::Error;

use super::set::{MAX_BYTES, Templates};
use crate::mail::kind::{Part, TemplateId, sample};
use crate::mail::message::Mail;

/// Characters of a subject. Mail programs cut longer ones.
const MAX_SUBJECT_CHARS: usize = 200;

impl Templates {
    /// Fills a template with a sample; the error lists everything that is wrong.
    pub(super) fn try_out(&self, id: TemplateId) -> Result<(), Vec<String>> {
        let unknown = self.unknown_variables(id);
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let sample = sample(id.kind);
        let filled = (self.fill(id, &sample)).map_err(|error| vec![in_line(&error)])?;
        let told = match id.part {
            Part::Subject => wrong_subject(&filled),
            Part::Text | Part::Html => wrong_body(&filled, &sample),
        };
        told.map_or(Ok(()), |told| Err(vec![told]))
    }

    /// A sentence for each variable that a template names and that does not exist, also in a branch that
    /// the sample does not take.
    fn unknown_variables(&self, id: TemplateId) -> Vec<String> {
        let Ok(template) = self.environment.get_template(id.file()) else {
            return Vec::new();
        };
        let variables: BTreeSet<_> = template.undeclared_variables(false).into_iter().collect();
        let variables = variables.into_iter();
        variables
            .filter(|variable| !self.knows(id, variable))
            .map(|variable| describe_unknown(id, &variable))
            .collect()
    }

    fn knows(&self, id: TemplateId, variable: &str) -> bool {
        let values = id.values(&self.installation, &sample(id.kind));
        let is_value = values
            .get_attr(variable)
            .is_ok_and(|value| !value.is_undefined());
        is_value || (self.environment.globals()).any(|(global, _)| global == variable)
    }
}

fn describe_unknown(id: TemplateId, variable: &str) -> String {
    let sample = sample(id.kind);
    let secrets = sample.body.secrets();
    if secrets.iter().any(|(secret, _)| *secret == variable) {
        format!("must not hold the {variable}: a subject is shown on locked screens")
    } else {
        format!("there is no variable {variable:?}")
    }
}

fn wrong_body(filled: &str, sample: &Mail) -> Option<String> {
    if filled.len() > MAX_BYTES {
        return Some(format!("makes more than {MAX_BYTES} bytes"));
    }
    let secrets = sample.body.secrets();
    let (variable, _) = (secrets.iter()).find(|(_, secret)| !filled.contains(secret))?;
    Some(format!(
        "does not show the {variable}: it must hold {{{{ {variable} }}}}"
    ))
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

/// `line 3: syntax error: unexpected end of input`.
pub(super) fn in_line(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line}: "));
    let detail = error.detail().map(|detail| format!(": {detail}"));
    format!(
        "{}{}{}",
        line.unwrap_or_default(),
        error.kind(),
        detail.unwrap_or_default()
    )
}
