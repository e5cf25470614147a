// SPDX-License-Identifier: GPL-2.0

//! Changing the size of a VDI (protocol section 12).
//!
//! Only the 8 bytes of the size are written: who rewrites the whole header undoes what others
//! changed in it. Objects beyond a smaller end stay where they are.

use rustix::io::Errno;
use sheepdog_core::proto::inode::field;
use sheepdog_core::proto::{ObjectId, RequestHeader};

use crate::client::create::check_size;
use crate::client::lookup::{about, changed_meanwhile};
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::name::{Name, VdiSpec};
use crate::size::ByteSize;

/// Bytes of a hyper volume at most (protocol section 6.3).
const MAX_HYPER_BYTES: u64 = 1 << 54;

impl Client {
    /// Makes the working VDI `name` `size` bytes large.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a smaller size without `shrink` and for sizes that no VDI has, `EBUSY` when a
    /// snapshot was taken meanwhile, else the failure of a request.
    pub fn resize(&mut self, name: &Name, size: ByteSize, shrink: bool) -> Outcome<()> {
        let spec = VdiSpec {
            name: name.clone(),
            snapshot: None,
        };
        let vid = self.find(&spec)?;
        let vdi = self.read_found_vdi(vid)?;
        if !vdi.is_hyper() {
            check_size(size, vdi.block_size_shift)?;
        } else if size.0 > MAX_HYPER_BYTES || size.0 % 512 != 0 || size.0 == 0 {
            return Err(Failure::new(
                Errno::INVAL,
                format!("a size of {} bytes is not possible", size.0),
            )
            .advise("choose a multiple of 512 bytes, at most 16P"));
        }
        if size.0 < vdi.size_bytes && !shrink {
            return Err(Failure::new(
                Errno::INVAL,
                format!(
                    "{} has {}, and {size} would cut off its end",
                    about(&spec),
                    ByteSize(vdi.size_bytes)
                ),
            )
            .advise("--shrink does it; shrink what is stored in the VDI before, or lose it"));
        }
        let bytes = size.0.to_le_bytes();
        let offset = field::VDI_SIZE as u32;
        let request = RequestHeader::write_obj(ObjectId::inode(vid), offset, bytes.len() as u32);
        self.demand(&request, &bytes, &about(&spec))?;
        if self.read_found_vdi(vid)?.is_snapshot() {
            return Err(changed_meanwhile(&spec));
        }
        Ok(())
    }
}
