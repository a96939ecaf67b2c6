//! Which objects of a kind there are, so that a new list tells which of them are gone.

use std::collections::BTreeSet;

use crate::Change;

/// The keys of all objects of one kind, as the changes so far tell.
#[derive(Debug)]
pub struct Mirror<K>(BTreeSet<K>);

impl<K> Default for Mirror<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Clone> Mirror<K> {
    /// What a change means for single objects: each is now as given, or gone.
    pub fn update<T>(&mut self, change: Change<T>, key: impl Fn(&T) -> K) -> Vec<(K, Option<T>)> {
        match change {
            Change::Apply(object) => {
                let key = key(&object);
                self.0.insert(key.clone());
                vec![(key, Some(object))]
            }
            Change::Delete(object) => {
                let key = key(&object);
                self.0.remove(&key);
                vec![(key, None)]
            }
            Change::Reset(objects) => {
                let there: Vec<_> = objects.into_iter().map(|object| (key(&object), Some(object))).collect();
                let mut gone = std::mem::take(&mut self.0);
                there.iter().for_each(|(key, _)| _ = gone.remove(key));
                self.0 = there.iter().map(|(key, _)| key.clone()).collect();
                gone.into_iter().map(|key| (key, None)).chain(there).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_brings_what_is_there_and_tells_what_is_gone() {
        let mut mirror = Mirror::default();
        let mut update = |change| mirror.update(change, |object: &&str| object[..1].to_owned());
        let there = |object: &'static str| (object[..1].to_owned(), Some(object));
        let gone = |key: &str| (key.to_owned(), None);
        assert_eq!(update(Change::Reset(vec!["b1", "a1"])), [there("b1"), there("a1")]);
        assert_eq!(update(Change::Apply("c1")), [there("c1")]);
        assert_eq!(update(Change::Delete("a2")), [gone("a")]);
        assert_eq!(update(Change::Reset(vec!["c2", "d1"])), [gone("b"), there("c2"), there("d1")]);
        assert_eq!(update(Change::Reset(vec![])), [gone("c"), gone("d")]);
    }
}
