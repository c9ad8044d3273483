//! The causes of a failure, in one line.

use std::error::Error;

/// An error and its sources. Many errors repeat the text of their source: it is written once.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let mut line = String::new();
    for cause in chain.map(ToString::to_string) {
        if line.is_empty() || cause.starts_with(&line) {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Says(&'static str, #[source] Option<Box<Says>>);

    fn chain(texts: &[&'static str]) -> Says {
        let mut texts = texts.iter().rev();
        let last = Says(texts.next().unwrap(), None);
        texts.fold(last, |source, text| Says(text, Some(Box::new(source))))
    }

    #[test]
    fn each_cause_is_said_once() {
        for (said, line) in [
            (&["a"][..], "a"),
            (&["a", "b", "c"], "a: b: c"),
            (&["a", "a", "b"], "a: b"),
            (&["talking failed: gone", "gone"], "talking failed: gone"),
            (
                &["no migration", "no migration: gone", "gone"],
                "no migration: gone",
            ),
        ] {
            assert_eq!(causes(&chain(said)), line);
        }
    }
}
