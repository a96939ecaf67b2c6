//! Sets of one or two things, of which there are thousands.

/// A set of few things, in order. One takes no more memory than it would without a set, and several as much as they do, where a
/// `BTreeSet` makes room for eleven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Few<T>(Inner<T>);

/// One is always [`Inner::One`].
#[derive(Debug, Clone, PartialEq, Eq)]
enum Inner<T> {
    One(T),
    Others(Box<[T]>),
}

impl<T> Few<T> {
    fn as_slice(&self) -> &[T] {
        match &self.0 {
            Inner::One(it) => std::slice::from_ref(it),
            Inner::Others(all) => all,
        }
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.as_slice().iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl<T: Ord> Few<T> {
    /// Whether this is one of them.
    pub fn contains(&self, it: &T) -> bool {
        self.as_slice().binary_search(it).is_ok()
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Inner::Others(Box::default()))
    }
}

impl<T: Ord> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut all = all.into_iter();
        let Some(first) = all.next() else { return Self::default() };
        let Some(second) = all.next() else { return Self(Inner::One(first)) };
        let mut all: Vec<T> = [first, second].into_iter().chain(all).collect();
        all.sort_unstable();
        all.dedup();
        match <[T; 1]>::try_from(all) {
            Ok([one]) => Self(Inner::One(one)),
            Err(all) => Self(Inner::Others(all.into_boxed_slice())),
        }
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
        let (one, twice) = (Few::from_iter([7]), Few::from_iter([7, 7]));
        assert_eq!((one.iter().copied().collect::<Vec<_>>(), one.len()), (vec![7], 1));
        assert_eq!(one, twice);
        assert!(one.contains(&7) && !one.contains(&1));
    }
}
