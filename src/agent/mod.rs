//! The daemon: feeds events to the world and carries out its actions.
//!
//! One thread owns the [`crate::psa::world::World`] and waits on one bounded channel. Discovery, dm events, sg
//! submitters, dm workers and the API have their own threads, which send into that channel. The owner never accesses a
//! device and never waits for one, so an answer to `psactl` takes no longer than formatting the reply.

#![forbid(unsafe_code)]

mod alone;
mod answers;
mod backstop;
mod boot;
mod changes;
mod dispatch;
mod error;
mod farewell;
mod inbox;
mod latest;
mod logging;
mod maps;
mod marks;
pub mod metrics;
mod outages;
mod persist;
mod planner;
mod recent_events;
mod record;
mod run;
mod segments;
mod takeovers;
pub mod topology;

pub use error::AgentError;
pub use run::{Once, Options, run, run_once};
