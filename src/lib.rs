//! dm-psa: VMware ESXi's Pluggable Storage Architecture on Linux.
//!
//! This file is the map of the house. The rooms, bottom to top; each may use the rooms above it in this list
//! and none below (`tests/import_order.rs` reads the `use` lines and enforces it):
//!
//! | room | what it is for | may use |
//! |---|---|---|
//! | [`scsi`] | bytes and their meaning: CDBs, INQUIRY, VPD pages, target port groups, sense | nothing |
//! | [`psa`] | every decision, pure: events in, actions out; no clock, no file, no thread, no panic | `scsi` |
//! | [`journal`] | what an agent was told and wanted, written down: the format, reading it, and its replay | `psa` |
//! | [`config`] | the admin's files: schema, load, validate, store | `psa` |
//! | [`api`] | the varlink interface between agent and `psactl` | `psa` |
//! | [`kernel`] | the only room with file descriptors, ioctls and `unsafe`: udev, sysfs, sg, bsg, device-mapper | `config`, `api` and below |
//! | [`sim`] | a simulated kernel and array below the same decisions, with a virtual clock | `config`, `api` and below |
//! | [`agent`] | the daemon: feeds events to the world and carries out its actions | `kernel`, `journal` and below |
//! | [`cli`] | `psactl`: arguments, requests, layouts; what an admin does to this host without the agent | `kernel`, `journal` and below |
//!
//! Start reading at [`psa::world`], the loop on one screen, then [`psa::event`] and [`psa::action`], the vocabulary.

pub mod agent;
pub mod api;
pub mod cli;
pub mod config;
pub mod journal;
pub mod kernel;
pub mod psa;
pub mod scsi;
pub mod sim;
