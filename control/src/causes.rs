//! Errors with what lies behind them.

use std::error::Error;
use std::iter::successors;

/// What lies behind an error, the nearest first.
pub(crate) fn behind<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(error.source(), |&at| at.source())
}

/// An error in words, with all that lies behind it, each said once.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    behind(error)
        .map(ToString::to_string)
        .fold(error.to_string(), |text, cause| {
            if text.contains(&cause) {
                text
            } else {
                format!("{text}: {cause}")
            }
        })
}
