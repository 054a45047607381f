//! What counts once: assertions of machines, logins that were begun. In memory and bounded; nothing is forgotten before it is over.

use std::collections::HashMap;

use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;

/// Uses that are remembered.
const REMEMBERED: usize = 10_000;

/// What was used, with the moment after which it counts no more.
#[derive(Debug, Default)]
pub(super) struct Used(HashMap<String, Timestamp>);

impl Used {
    /// Notes a use; whether it is the first.
    pub(super) fn note(
        &mut self,
        now: Timestamp,
        id: String,
        until: Timestamp,
    ) -> Result<bool, Problem> {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, until| *until > now);
        }
        if self.0.len() >= REMEMBERED {
            return Err(Problem::new(
                Kind::Unavailable,
                "too many log in at once: try again",
            ));
        }
        let former = self.0.insert(id, until);
        Ok(former.is_none_or(|former| former <= now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_is_used_once_and_forgotten_when_it_is_over() {
        let mut used = Used::default();
        let (now, until) = (Timestamp(1000), Timestamp(2000));
        assert!(used.note(now, "a".to_owned(), until).unwrap());
        assert!(!used.note(now, "a".to_owned(), until).unwrap());
        for number in 1..REMEMBERED {
            assert!(used.note(now, format!("b {number}"), until).unwrap());
        }
        let full = used.note(now, "c".to_owned(), until).unwrap_err();
        assert_eq!(full.kind, Kind::Unavailable);
        assert!(used.note(until, "c".to_owned(), Timestamp(3000)).unwrap());
        assert!(used.note(until, "a".to_owned(), Timestamp(3000)).unwrap());
    }
}
