//! Lists that are cut where they would get too long.

use serde::{Deserialize, Serialize};

/// The first of many, and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capped<T> {
    /// The first of them.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
    /// How many are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

/// As many as are told of anything: an installation of the size that FerroLB is tested with has fewer.
const MOST: usize = 5_000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(more: &usize) -> bool {
    *more == 0
}

impl<T> Default for Capped<T> {
    fn default() -> Self {
        Self { items: Vec::new(), more: 0 }
    }
}

impl<T> Capped<T> {
    /// The first few of these, as many as `most`; the others are counted and not made.
    pub fn first<S>(most: usize, all: impl ExactSizeIterator<Item = S>, make: impl FnMut(S) -> T) -> Self {
        let more = all.len().saturating_sub(most);
        Self { items: all.take(most).map(make).collect(), more }
    }
}

impl<T> FromIterator<T> for Capped<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut all = all.into_iter();
        Self { items: all.by_ref().take(MOST).collect(), more: all.count() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let capped: Capped<usize> = (0..MOST + 7).collect();
        assert_eq!((capped.items.len(), capped.more), (MOST, 7));
        let first = Capped::first(2, 0..5, |number| number * 2);
        assert_eq!(first, Capped { items: vec![0, 2], more: 3 });
        assert_eq!((0..3).collect::<Capped<_>>(), Capped { items: vec![0, 1, 2], more: 0 });
    }
}
