//! What the fuzz targets call.

use serde::{Deserialize, Deserializer};

use crate::pod::Pod;

/// Reads a Pod, and whether it is one of MetalLB's.
pub fn pod<'de, D: Deserializer<'de>>(pod: D) {
    if let Ok(pod) = Pod::deserialize(pod) {
        for class in [None, Some("a")] {
            _ = pod.serves(class);
        }
    }
}
