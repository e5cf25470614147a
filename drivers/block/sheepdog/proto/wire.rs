// SPDX-License-Identifier: GPL-2.0

//! Little-endian fields in byte arrays of a known size.
//!
//! Offsets are constants and are checked against the array's size when the code is compiled, so
//! none of these functions can fail or panic at run time. Every number of the protocol is little
//! endian (protocol sheet 1).

/// The `N` bytes at offset `OFF` of `bytes`.
#[inline]
pub(crate) fn array_at<const OFF: usize, const N: usize, const SIZE: usize>(
    bytes: &[u8; SIZE],
) -> [u8; N] {
    const { assert!(OFF + N <= SIZE) };
    let mut out = [0; N];
    out.copy_from_slice(&bytes[OFF..OFF + N]);
    out
}

/// Stores `value` at offset `OFF` of `bytes`.
#[inline]
pub(crate) fn put<const OFF: usize, const N: usize, const SIZE: usize>(
    bytes: &mut [u8; SIZE],
    value: [u8; N],
) {
    const { assert!(OFF + N <= SIZE) };
    bytes[OFF..OFF + N].copy_from_slice(&value);
}

/// The byte at offset `OFF`.
#[inline]
pub(crate) fn u8_at<const OFF: usize, const SIZE: usize>(bytes: &[u8; SIZE]) -> u8 {
    const { assert!(OFF < SIZE) };
    bytes[OFF]
}

/// The 16-bit number at offset `OFF`.
#[inline]
pub(crate) fn u16_at<const OFF: usize, const SIZE: usize>(bytes: &[u8; SIZE]) -> u16 {
    u16::from_le_bytes(array_at::<OFF, 2, SIZE>(bytes))
}

/// The 32-bit number at offset `OFF`.
#[inline]
pub(crate) fn u32_at<const OFF: usize, const SIZE: usize>(bytes: &[u8; SIZE]) -> u32 {
    u32::from_le_bytes(array_at::<OFF, 4, SIZE>(bytes))
}

/// The 64-bit number at offset `OFF`.
#[inline]
pub(crate) fn u64_at<const OFF: usize, const SIZE: usize>(bytes: &[u8; SIZE]) -> u64 {
    u64::from_le_bytes(array_at::<OFF, 8, SIZE>(bytes))
}
