//! psactl
fn main() {}
