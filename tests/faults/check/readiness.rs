//! Whether readiness tells the truth.

use std::time::Duration;

use super::Violations;
use crate::history::Look;

/// An answer is given again for half a second, and a look takes up to two: only what is said while all
/// looks around it say otherwise is a lie.
const AROUND: Duration = Duration::from_millis(2_500);

/// The same for "ready": that commits wait is known after two and a half seconds more, since a beat finds
/// it out that is sent once a second.
const AROUND_READY: Duration = Duration::from_secs(5);

/// Where an instance says "ready", sign-ins work; where it says "not ready", they do not, or the
/// database was in trouble. `None` (nobody there) is no word to be held to.
pub fn readiness_is_true(looks: &[Look], troubles: &[(Duration, Duration)]) -> Violations {
    let lies = looks.iter().filter(|look| {
        let Some(said) = look.is_ready else {
            return false;
        };
        let mut troubles = troubles.iter();
        if !said && troubles.any(|(from, to)| (*from..=*to + AROUND).contains(&look.at)) {
            return false;
        }
        let around = if said { AROUND_READY } else { AROUND };
        let near =
            |other: &&Look| other.instance == look.instance && other.at.abs_diff(look.at) <= around;
        let (mut before, mut after) = (0, 0);
        for other in looks.iter().filter(near) {
            if other.serves == said || other.is_ready.is_none() {
                return false;
            }
            if other.at < look.at {
                before += 1;
            } else if other.at > look.at {
                after += 1;
            }
        }
        // With nothing seen on either side there is no telling.
        before > 0 && after > 0
    });
    lies.map(|look| format!("readiness lied: {look:?}"))
        .collect()
}
