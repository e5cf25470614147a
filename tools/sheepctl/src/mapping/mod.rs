// SPDX-License-Identifier: GPL-2.0

//! Mappings: the driver's side of `map`, `unmap` and `list`.
//!
//! The driver is spoken to through [`Driver`], one directory per mapping with one file per
//! attribute (Documentation/ABI/testing/configfs-sheepdog). `configfs` is the real one; the tests
//! have a model of the kernel.

pub mod configfs;
pub mod map;
pub mod status;
pub mod udev;
pub mod unmap;

use std::io;

use crate::name::MappingName;

/// A file in a mapping's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attribute {
    Gateways,
    Vdi,
    Connections,
    QueueDepth,
    ConnectTimeoutMs,
    ReplyTimeoutMs,
    IoTimeoutMs,
    FenceMs,
    ReadOnly,
    Map,
    Unmap,
    State,
    Device,
    VdiId,
    SizeBytes,
    ObjectSize,
    MemoryBytes,
    Gateway,
    InFlight,
    Waiting,
}

impl Attribute {
    /// The file's name.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Gateways => "gateways",
            Self::Vdi => "vdi",
            Self::Connections => "connections",
            Self::QueueDepth => "queue_depth",
            Self::ConnectTimeoutMs => "connect_timeout_ms",
            Self::ReplyTimeoutMs => "reply_timeout_ms",
            Self::IoTimeoutMs => "io_timeout_ms",
            Self::FenceMs => "fence_ms",
            Self::ReadOnly => "read_only",
            Self::Map => "map",
            Self::Unmap => "unmap",
            Self::State => "state",
            Self::Device => "device",
            Self::VdiId => "vdi_id",
            Self::SizeBytes => "size_bytes",
            Self::ObjectSize => "object_size",
            Self::MemoryBytes => "memory_bytes",
            Self::Gateway => "gateway",
            Self::InFlight => "in_flight",
            Self::Waiting => "waiting",
        }
    }
}

/// The driver's directories and files. Every method is one system call's worth of work, and none
/// is tried again: the driver may have acted.
pub trait Driver {
    /// All mappings, sorted by name.
    fn mappings(&self) -> io::Result<Vec<MappingName>>;
    /// Makes a mapping's directory.
    fn create(&self, mapping: &MappingName) -> io::Result<()>;
    /// Removes a mapping's directory.
    fn remove(&self, mapping: &MappingName) -> io::Result<()>;
    /// An attribute's value without its closing newline.
    fn read(&self, mapping: &MappingName, attribute: Attribute) -> io::Result<Vec<u8>>;
    /// Writes an attribute, in one write call.
    fn write(&self, mapping: &MappingName, attribute: Attribute, value: &[u8]) -> io::Result<()>;
}

#[cfg(test)]
pub mod model;
