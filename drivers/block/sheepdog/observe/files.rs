// SPDX-License-Identifier: GPL-2.0

//! The files of a mapping in debugfs, `sheepdog/<disk>/`.

use core::net::SocketAddr;

use super::{
    record::{
        Kind,
        Place,
        Record, //
    },
    Board, //
};
use crate::{
    proto::RequestHeader,
    sys::{
        clock,
        debugfs::{
            Dir,
            File,
            Table, //
        },
        log::Plain, //
    },
    volume::{
        Entry,
        Geometry,
        Step, //
    }, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::Arc, //
};

/// A mapping that can be looked at. None of these may wait for anything.
pub(crate) trait Watched: Send + Sync + 'static {
    /// Size and shape of the VDI.
    fn geometry(&self) -> &Geometry;

    /// What the object map says of an object.
    fn entry(&self, idx: u32) -> Result<Entry>;

    /// Number of links, and of tags on each.
    fn shape(&self) -> (usize, usize);

    /// The link of that index.
    fn link(&self, index: usize) -> Option<&dyn WatchedLink>;
}

/// One link of it.
pub(crate) trait WatchedLink {
    /// The sheep at the other end.
    fn gateway(&self) -> &SocketAddr;

    /// Whether the link has no connection that is of any use.
    fn is_broken(&self) -> bool;

    /// The id under which the request with this tag waits for a reply.
    fn awaited_id(&self, tag: u16) -> Option<u32>;

    /// Its notes.
    fn board(&self) -> &Board;
}

/// The files of one mapping; they go when this is dropped.
pub(crate) struct Files<W: Watched> {
    _in_flight: File<InFlight<W>>,
    _links: File<Links<W>>,
}

impl<W: Watched> Files<W> {
    /// Makes a directory with the name of the disk. `ENOMEM`.
    pub(crate) fn new(disk: &CStr, root: &Arc<Dir>, watched: &Arc<W>) -> Result<Self> {
        let dir = Dir::new(disk, Some(root.clone()))?;
        let in_flight = InFlight(watched.clone());
        let links = Links(watched.clone());
        Ok(Self {
            _in_flight: File::new(c"in_flight", &dir, in_flight)?,
            _links: File::new(c"links", &dir, links)?,
        })
    }
}

/// One line per request that waits.
struct InFlight<W>(Arc<W>);

impl<W: Watched> Table for InFlight<W> {
    fn len(&self) -> usize {
        let (links, tags) = self.0.shape();
        links.saturating_mul(tags)
    }

    fn show(&self, index: usize, out: &SeqFile) {
        let (_, tags) = self.0.shape();
        let Some(queue) = index.checked_div(tags) else {
            return;
        };
        let Ok(tag) = u16::try_from(index % tags) else {
            return;
        };
        let Some(link) = self.0.link(queue) else {
            return;
        };
        if let Some((record, since)) = link.board().read(tag) {
            let id = link.awaited_id(tag);
            show_request(&*self.0, out, queue, tag, id, record, since);
        }
    }
}

fn show_request<W: Watched>(
    watched: &W,
    out: &SeqFile,
    queue: usize,
    tag: u16,
    id: Option<u32>,
    record: Record,
    since: usize,
) {
    let geometry = watched.geometry();
    let offset_bytes = u64::from(record.idx) * geometry.object_size_bytes()
        + (u64::from(record.offset_sectors) << 9);
    let Ok(extent) = geometry.extent(offset_bytes, record.len_sectors << 9) else {
        return;
    };
    // An object that is the VDI's own by now has no parent any more.
    let parent = match watched.entry(record.idx) {
        Ok(Entry::Inherited(vid)) => Some(vid),
        _ => None,
    };
    let step = match record.kind {
        Kind::Read => Step::Read { parent: None },
        Kind::ReadParent => Step::Read { parent },
        Kind::Write => Step::Write,
        Kind::Create => Step::Create { parent: None },
        Kind::CreateParent => Step::Create { parent },
        Kind::UpdateMap => Step::UpdateMap,
    };
    let header = RequestHeader::from_bytes(&step.header(geometry, &extent, id.unwrap_or(0)));
    let arm = header.object_arm();
    seq_print!(
        out,
        "link {} tag {} id {:08x} {} {} offset {} length {} age {} ms: ",
        queue,
        tag,
        header.id,
        Plain(header.opcode),
        Plain(arm.oid),
        arm.offset,
        header.data_length,
        clock::ms_since(since)
    );
    match (record.place, id) {
        (Place::Creation, _) => {
            seq_print!(out, "waiting for the CREATE of object {}\n", record.idx);
        }
        (Place::Gateway, _) => seq_print!(out, "waiting for a gateway\n"),
        (Place::Fence, _) => {
            seq_print!(
                out,
                "waiting for an old request that may still be executed\n"
            );
        }
        (Place::Cluster, _) => seq_print!(out, "to be sent again, the cluster was not able\n"),
        (Place::Sending, _) => seq_print!(out, "sending\n"),
        (Place::Sent, Some(_)) => seq_print!(out, "awaiting reply\n"),
        // The receiver has taken it out of the link's table.
        (Place::Sent, None) => seq_print!(out, "reading its reply\n"),
    }
}

/// One line per link.
struct Links<W>(Arc<W>);

impl<W: Watched> Table for Links<W> {
    fn len(&self) -> usize {
        self.0.shape().0
    }

    fn show(&self, index: usize, out: &SeqFile) {
        let Some(link) = self.0.link(index) else {
            return;
        };
        let carried = link.board().carried();
        seq_print!(
            out,
            "link {} {} {}: sent {} frames, {} bytes; received {} replies, {} bytes; {} errors\n",
            index,
            Plain(link.gateway()),
            if link.is_broken() {
                "broken"
            } else {
                "connected"
            },
            carried.sent_frames,
            carried.sent_bytes,
            carried.replies,
            carried.received_bytes,
            carried.errors
        );
    }
}
