//! dm-psa: VMware ESXi's Pluggable Storage Architecture on Linux.
//!
//! The modules, from the lowest layer to the highest. A module may use the modules in the last column of its row, and
//! what those may use (`tests/import_order.rs` checks the `use` lines):
//!
//! | module | purpose | may use |
//! |---|---|---|
//! | [`scsi`] | bytes and their meaning: CDBs, INQUIRY, VPD pages, target port groups, sense | nothing |
//! | [`psa`] | every decision, pure: events in, actions out; no clock, no file, no thread, no panic | `scsi` |
//! | [`journal`] | a recording of an agent's events and actions: its format, reader and replay | `psa` |
//! | [`config`] | the admin's files: schema, load, validate, store | `psa` |
//! | [`api`] | the varlink interface between agent and `psactl` | `psa` |
//! | [`kernel`] | the only module with file descriptors, ioctls and `unsafe`: udev, sysfs, sg, bsg, device-mapper | `config`, `api` and what they use |
//! | [`sim`] | a simulated kernel and array for the same decisions, with a virtual clock | `config`, `api` and what they use |
//! | [`agent`] | the daemon: feeds events to the world and carries out its actions | `kernel`, `journal` and what they use |
//! | [`cli`] | `psactl`: arguments, requests, output layouts; what an admin can do on this host without the agent | `compat`, `journal` and what they use |
//! | [`compat`] | `multipath`, `multipathd` and `mpathpersist` for the programs that call them | `kernel` and what it uses |
//!
//! Start reading at [`psa::world`], the loop on one screen, then [`psa::event`] and [`psa::action`], the vocabulary.

pub mod agent;
pub mod api;
pub mod cli;
pub mod compat;
pub mod config;
pub mod journal;
pub mod kernel;
pub mod psa;
pub mod scsi;
pub mod sim;
