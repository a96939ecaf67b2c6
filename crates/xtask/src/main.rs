//! (to come)
mod crds;
fn main() {
    crds::run().unwrap();
}
