//! The only room with file descriptors, ioctls and `unsafe`.

pub mod id;
pub mod usage;
