//! Maps of thousands of entries that take no more memory than they need.

use std::collections::BTreeMap;
use std::mem::take;

/// Builds a map anew with full nodes. One that has grown in the order of its keys, as from a list, has nodes that are half
/// empty: the standard library splits a full node in the middle, and nothing comes to the first half any more.
pub fn pack<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = take(map).into_iter().collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_the_same_when_it_is_packed() {
        for size in [0, 1, 7, 5_000] {
            let map: BTreeMap<u32, String> = (0..size).map(|number| (number, number.to_string())).collect();
            let mut grown = BTreeMap::new();
            grown.extend(map.clone());
            pack(&mut grown);
            assert_eq!(grown, map);
        }
    }
}
