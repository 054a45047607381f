//! Pages of lists.

/// Most things of a page.
const MAX: u32 = 1000;
/// Things of a page when nothing is said.
const DEFAULT: u32 = 200;

/// How many things a page has, when so many are asked for.
pub(super) fn size(limit: Option<u32>) -> u32 {
    limit.unwrap_or(DEFAULT).clamp(1, MAX)
}

/// After which thing the next page begins: the last of this one, if it is full.
pub(super) fn next<T, K>(things: &[T], size: u32, key: impl Fn(&T) -> K) -> Option<K> {
    let full = things.len() == size as usize;
    things.last().filter(|_| full).map(key)
}
