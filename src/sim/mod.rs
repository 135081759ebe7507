//! A simulated kernel and array below the same decisions, with a virtual clock.
//!
//! Pure: no file, thread or clock. The models follow what was measured on real kernels; where they leave something
//! out, they say so.

pub mod dm;
