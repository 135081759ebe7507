//! The varlink interface `io.dmpsa` between the agent and `psactl`.

#![forbid(unsafe_code)]

pub mod types;
