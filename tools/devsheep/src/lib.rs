// SPDX-License-Identifier: GPL-2.0

//! The development sheep: a server of the Sheepdog protocol on one node, for development and tests.
//!
//! It does what a real sheep does towards a client, and what no real sheep would: it delays,
//! shuffles, drops, corrupts and fails replies on demand. See README.md beside this crate.
//!
//! Rooms, from the wire inwards: `server` accepts for each `gateway`, `connection` cuts the stream
//! into requests and writes the `output`, `fault` decides what goes wrong, `job` is a request that takes
//! time, `ops` does what the opcodes say, `cluster` knows which VDIs there are, `store` keeps
//! objects. `control` and `stats` look on from the side.

pub mod answer;
pub mod cli;
pub mod cluster;
pub mod connection;
pub mod control;
pub mod fault;
pub mod flusher;
pub mod gateway;
pub mod job;
mod ops;
mod output;
pub mod server;
pub mod sheep;
pub mod stats;
pub mod store;
