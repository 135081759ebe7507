//! dm-psa-id
fn main() {}
