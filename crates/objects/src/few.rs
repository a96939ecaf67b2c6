//! Sets of one or two things, of which there are thousands.

/// A set of few things, in order. It takes as much memory as they do, where a `BTreeSet` makes room for eleven.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Few<T>(Box<[T]>);

impl<T> Few<T> {
    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Ord> Few<T> {
    /// Whether this is one of them.
    pub fn contains(&self, it: &T) -> bool {
        self.0.binary_search(it).is_ok()
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: Ord> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut all: Vec<T> = all.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into_boxed_slice())
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set_in_order() {
        let few: Few<u8> = [3, 1, 3].into_iter().collect();
        assert_eq!(few.iter().copied().collect::<Vec<_>>(), [1, 3]);
        assert!(few.contains(&3) && !few.contains(&2) && !few.is_empty());
        assert_eq!(few, [1, 3].into_iter().collect());
        assert!(Few::<u8>::default().is_empty());
    }
}
