//! dm-psad
fn main() {}
