// SPDX-License-Identifier: GPL-2.0

//! Creating VDIs (protocol section 3.3).
//!
//! A server checks neither size nor object size, so both are checked here: an object size from
//! 1 MiB to 2 GiB, and at most 2^20 objects.

use rustix::io::Errno;
use sheepdog_core::proto::arm::VdiArm;
use sheepdog_core::proto::inode::object_count;
use sheepdog_core::proto::limits::{MAX_BLOCK_SIZE_SHIFT, MAX_OBJECTS, MIN_BLOCK_SIZE_SHIFT};
use sheepdog_core::proto::{RequestHeader, SdResult, Vid};

use crate::client::inode::Vdi;
use crate::client::lookup::about_name;
use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::name::Name;
use crate::redundancy::Redundancy;
use crate::size::ByteSize;

/// Bytes of a sector: a block device's capacity is a multiple of it.
const SECTOR: u64 = 512;

/// Checks an object size and returns its logarithm.
///
/// # Errors
///
/// `EINVAL` unless it is a power of two from 1 MiB to 2 GiB.
pub fn block_size_shift(object_size: ByteSize) -> Outcome<u8> {
    let shift = object_size.0.trailing_zeros() as u8;
    if object_size.0.is_power_of_two()
        && (MIN_BLOCK_SIZE_SHIFT..=MAX_BLOCK_SIZE_SHIFT).contains(&shift)
    {
        return Ok(shift);
    }
    Err(Failure::new(
        Errno::INVAL,
        format!("an object size of {object_size} is not possible"),
    )
    .advise("choose a power of two from 1M to 2G"))
}

/// Checks the size of a plain VDI.
///
/// # Errors
///
/// `EINVAL` for 0 and for what is no multiple of 512, `EFBIG` for more than 2^20 objects.
pub fn check_size(size: ByteSize, shift: u8) -> Outcome<()> {
    if size.0 == 0 || size.0 % SECTOR != 0 {
        return Err(Failure::new(
            Errno::INVAL,
            format!("a size of {} bytes is not possible", size.0),
        )
        .advise("choose a multiple of 512 bytes, at least 512"));
    }
    match object_count(size.0, shift) {
        Some(objects) if objects <= u64::from(MAX_OBJECTS) => Ok(()),
        _ => Err(too_large(size, shift)),
    }
}

fn too_large(size: ByteSize, shift: u8) -> Failure {
    let limit = |shift: u8| ByteSize(u64::from(MAX_OBJECTS) << shift);
    let failure = Failure::new(
        Errno::FBIG,
        format!(
            "{size} is too large: a VDI has at most {MAX_OBJECTS} objects, which is {} with objects of {}",
            limit(shift),
            ByteSize(1 << shift)
        ),
    );
    let enough = (shift..=MAX_BLOCK_SIZE_SHIFT).find(|shift| size <= limit(*shift));
    match enough {
        Some(enough) => failure.advise(format!(
            "a VDI of this size needs objects of at least {}, which only a new one can have: `vdi create --object-size`",
            ByteSize(1 << enough)
        )),
        None => failure.advise(format!("no VDI is larger than {}", limit(MAX_BLOCK_SIZE_SHIFT))),
    }
}

impl Client {
    /// Creates the VDI `name` of `size` bytes. Without `shift` objects are as large as the cluster
    /// makes them by default.
    ///
    /// # Errors
    ///
    /// As [`check_size`]; `EEXIST` for a name that is taken; the failure of NEW_VDI.
    pub fn create(
        &mut self,
        name: &Name,
        size: ByteSize,
        redundancy: Redundancy,
        shift: Option<u8>,
    ) -> Outcome<Vid> {
        let shift = match shift {
            Some(shift) => shift,
            None => self.default_shift()?,
        };
        check_size(size, shift)?;
        self.new_vdi(
            name,
            VdiArm {
                vdi_size: size.0,
                copies: redundancy.copies(),
                copy_policy: redundancy.copy_policy(),
                block_size_shift: shift,
                ..VdiArm::default()
            },
        )
    }

    /// Sends NEW_VDI.
    ///
    /// # Errors
    ///
    /// The failure of NEW_VDI.
    pub(super) fn new_vdi(&mut self, name: &Name, arm: VdiArm) -> Outcome<Vid> {
        let request = RequestHeader::new_vdi(arm);
        let reply = self.demand(&request, name.as_field(), &about_name(name))?;
        self.vid_of(&request, &reply)
    }

    fn default_shift(&mut self) -> Outcome<u8> {
        let request = RequestHeader::get_cluster_default();
        let reply = self.demand(&request, &[], "the cluster's defaults")?;
        match reply.header.cluster_default_arm().block_size_shift {
            0 => Err(self.refused(request.opcode, SdResult::WAIT_FOR_FORMAT, "the cluster")),
            shift if (MIN_BLOCK_SIZE_SHIFT..=MAX_BLOCK_SIZE_SHIFT).contains(&shift) => Ok(shift),
            _ => Err(self.nonsense(request.opcode, "an impossible object size")),
        }
    }
}

/// NEW_VDI's arguments for a child of `base` with the same geometry, which a server does not copy
/// by itself.
pub(super) fn child_of(base: &Vdi) -> VdiArm {
    VdiArm {
        vdi_size: base.size_bytes,
        base_vdi_id: base.vid.raw(),
        copies: base.nr_copies,
        copy_policy: base.copy_policy,
        store_policy: base.store_policy,
        block_size_shift: base.block_size_shift,
        ..VdiArm::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::peer::Peer;
    use std::time::Duration;

    #[test]
    fn object_sizes_are_powers_of_two_from_1_mib_to_2_gib() {
        assert_eq!(block_size_shift(ByteSize(1 << 20)), Ok(20));
        assert_eq!(block_size_shift(ByteSize(1 << 31)), Ok(31));
        for size in [0, 1, 1 << 19, 3 << 20, (4 << 20) + 1, 1 << 32, u64::MAX] {
            let failure = block_size_shift(ByteSize(size)).unwrap_err();
            assert_eq!(failure.errno(), Errno::INVAL, "{size}");
        }
    }

    #[test]
    fn a_vdi_has_at_most_2_to_the_20_objects() {
        for shift in MIN_BLOCK_SIZE_SHIFT..=MAX_BLOCK_SIZE_SHIFT {
            let limit = 1_u64 << (20 + shift);
            assert_eq!(check_size(ByteSize(limit), shift), Ok(()));
            let failure = check_size(ByteSize(limit + 512), shift).unwrap_err();
            assert_eq!(failure.errno(), Errno::FBIG);
        }
        let failure = check_size(ByteSize(5 << 40), 22).unwrap_err();
        assert!(failure.to_string().contains("at least 8 MiB"), "{failure}");
    }

    #[test]
    fn sizes_are_multiples_of_a_sector() {
        for size in [0, 1, 511, 513, (1 << 30) + 1] {
            let failure = check_size(ByteSize(size), 22).unwrap_err();
            assert_eq!(failure.errno(), Errno::INVAL, "{size}");
        }
        assert_eq!(check_size(ByteSize(512), 22), Ok(()));
    }

    #[test]
    fn an_unformatted_cluster_is_named() {
        let peer = Peer::answering(|_, _| (SdResult::SUCCESS, [0; 28], Vec::new()));
        let name = Name::new(b"vm0").unwrap();
        let failure = peer
            .client(Duration::from_secs(2))
            .create(&name, ByteSize(1 << 30), Redundancy::ClusterDefault, None)
            .unwrap_err();
        assert_eq!(failure.errno(), Errno::AGAIN);
        assert!(failure.to_string().contains("not formatted"), "{failure}");
    }
}
