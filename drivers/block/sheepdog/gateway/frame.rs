// SPDX-License-Identifier: GPL-2.0

//! What to send for a request: a header, perhaps a few bytes more, perhaps the request's pages.

use crate::{
    proto::limits::HEADER_LEN,
    sys::{
        blk::{
            Chunk,
            Cursor,
            Hold,
            Operations, //
        },
        pages::RecordPages,
        socket::{
            SendFlags,
            Socket, //
        }, //
    },
    volume::{
        Payload,
        WireId, //
    }, //
};
use kernel::prelude::*;

/// Room for a header and a small payload.
pub(super) const RECORD_LEN: usize = 64;

/// A frame as it is described before it is sent.
pub(crate) struct Frame {
    pub(super) id: WireId,
    record: [u8; RECORD_LEN],
    record_len: usize,
    data_len: usize,
}

impl Frame {
    /// A frame with the header of that id; `data_len` bytes of the request follow where the payload
    /// is `Data`.
    pub(crate) fn new(
        id: WireId,
        header: &[u8; HEADER_LEN],
        payload: &Payload,
        data_len: u32,
    ) -> Self {
        let mut record = [0; RECORD_LEN];
        let mut record_len = HEADER_LEN;
        record[..HEADER_LEN].copy_from_slice(header);
        if let Payload::MapEntry(entry) = payload {
            record_len += entry.len();
            record[HEADER_LEN..record_len].copy_from_slice(entry);
        }
        let data_len = match payload {
            Payload::Data => data_len as usize,
            Payload::None | Payload::MapEntry(_) => 0,
        };
        Self {
            id,
            record,
            record_len,
            data_len,
        }
    }

    fn len_bytes(&self) -> usize {
        self.record_len + self.data_len
    }
}

/// What a sender needs; whoever has it is the one who may send on the link.
pub(super) struct Wire {
    records: RecordPages<RECORD_LEN>,
    chunk: Chunk,
}

impl Wire {
    pub(super) fn new(queue_depth: usize) -> Result<Self> {
        Ok(Self {
            records: RecordPages::new(queue_depth)?,
            chunk: Chunk::new()?,
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.records.memory_bytes()
    }
}

/// Whether all of a frame has been sent.
pub(super) enum Progress {
    Complete,
    Blocked,
}

/// A frame on its way out. It holds the request: a reply that comes before the last byte is sent
/// cannot end it.
pub(super) struct Sending<T: Operations> {
    hold: Hold<T>,
    cursor: Cursor,
    frame: Frame,
    started: bool,
    /// Bytes of the wire's chunk that have been sent.
    skip: usize,
    /// Bytes that are not in a chunk yet.
    left: usize,
    splice: bool,
}

impl<T: Operations> Sending<T> {
    pub(super) fn new(hold: Hold<T>, frame: Frame) -> Self {
        Self {
            cursor: hold.cursor(),
            left: frame.len_bytes(),
            hold,
            frame,
            started: false,
            skip: 0,
            splice: false,
        }
    }

    /// The tag of its request.
    pub(super) fn tag(&self) -> u16 {
        self.frame.id.tag()
    }

    /// Bytes of the frame.
    pub(super) fn len_bytes(&self) -> usize {
        self.frame.len_bytes()
    }

    /// Sends until all is sent, or, with `NOWAIT`, the socket has no room.
    pub(super) fn advance(
        &mut self,
        socket: &Socket,
        wire: &mut Wire,
        wait: SendFlags,
    ) -> Result<Progress> {
        loop {
            if !self.started || self.skip == wire.chunk.len() {
                if self.left == 0 {
                    return Ok(Progress::Complete);
                }
                self.next_chunk(wire)?;
            }
            let mut flags = wait;
            if self.left > 0 {
                flags = flags.with(SendFlags::MORE);
            }
            if self.splice {
                flags = flags.with(SendFlags::SPLICE);
            }
            match socket.send(&mut wire.chunk, self.skip, flags) {
                Ok(sent) => self.skip += sent,
                Err(error) if error == EAGAIN => return Ok(Progress::Blocked),
                Err(error) => return Err(error),
            }
        }
    }

    fn next_chunk(&mut self, wire: &mut Wire) -> Result {
        wire.chunk.clear();
        self.skip = 0;
        if !self.started {
            // The pages of a record stay with the network stack until the peer has them. Then it
            // can answer, and only then does the tag come round again.
            let tag = usize::from(self.frame.id.tag());
            wire.records.write(tag, &self.frame.record)?;
            wire.chunk
                .push_record(&wire.records, tag, self.frame.record_len)?;
            self.started = true;
        }
        if self.frame.data_len > 0 {
            wire.chunk.fill(&mut self.cursor, &self.hold);
            self.splice = wire.chunk.spliceable();
        }
        // A request that is shorter than its frame says would leave the peer waiting.
        self.left = match self.left.checked_sub(wire.chunk.len()) {
            Some(left) if wire.chunk.len() > 0 => left,
            _ => return Err(EIO),
        };
        Ok(())
    }
}
