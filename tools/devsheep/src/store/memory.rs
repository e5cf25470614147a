// SPDX-License-Identifier: GPL-2.0

//! Objects in memory, sparse: a part that was never written costs nothing.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use parking_lot::RwLock;
use sheepdog_core::proto::ObjectId;

use super::range_end;
use super::NewObject;
use super::Result;
use super::Space;
use super::Store;
use super::StoreError;

/// Granularity of sparseness. Small enough that an inode's header does not cost a megabyte, large
/// enough that a 4 MiB object is 64 allocations.
const CHUNK: usize = 64 << 10;

/// How much memory all objects together use, and may use.
struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    fn take(&self) -> Result<()> {
        let chunk = CHUNK as u64;
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(chunk).filter(|&used| used <= self.limit)
            })
            .map(drop)
            .map_err(|_| StoreError::NoSpace)
    }
}

/// The chunks of one object; `None` reads as zeroes.
struct Chunks {
    chunks: Vec<Option<Box<[u8]>>>,
    budget: Arc<Budget>,
}

impl Chunks {
    fn new(size: u64, budget: Arc<Budget>) -> Result<Self> {
        let count = usize::try_from(size.div_ceil(CHUNK as u64));
        let count = count.map_err(|_| StoreError::NoSpace)?;
        let mut chunks = Vec::new();
        chunks.resize_with(count, || None);
        Ok(Self { chunks, budget })
    }

    fn write(&mut self, offset: u64, mut data: &[u8]) -> Result<()> {
        let mut at = usize::try_from(offset).map_err(|_| StoreError::OutOfBounds)?;
        while !data.is_empty() {
            let within = at % CHUNK;
            let len = data.len().min(CHUNK - within);
            let slot = self.chunks.get_mut(at / CHUNK);
            let slot = slot.ok_or(StoreError::OutOfBounds)?;
            let chunk = match slot {
                Some(chunk) => chunk,
                None => {
                    self.budget.take()?;
                    slot.insert(vec![0; CHUNK].into_boxed_slice())
                }
            };
            chunk[within..within + len].copy_from_slice(&data[..len]);
            data = &data[len..];
            at += len;
        }
        Ok(())
    }

    fn read(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut at = usize::try_from(offset).map_err(|_| StoreError::OutOfBounds)?;
        let end = at + len;
        out.reserve(len);
        while at < end {
            let within = at % CHUNK;
            let part = (end - at).min(CHUNK - within);
            match self.chunks.get(at / CHUNK) {
                Some(Some(chunk)) => out.extend_from_slice(&chunk[within..within + part]),
                _ => out.resize(out.len() + part, 0),
            }
            at += part;
        }
        Ok(())
    }

    fn copy_from(&mut self, base: &Self) -> Result<()> {
        for (to, from) in self.chunks.iter_mut().zip(&base.chunks) {
            if let Some(from) = from {
                self.budget.take()?;
                *to = Some(from.clone());
            }
        }
        Ok(())
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        let held = self.chunks.iter().flatten().count() * CHUNK;
        self.budget.used.fetch_sub(held as u64, Ordering::Relaxed);
    }
}

struct Object {
    size: u64,
    chunks: RwLock<Chunks>,
}

/// The store.
pub struct MemoryStore {
    objects: RwLock<HashMap<ObjectId, Arc<Object>>>,
    budget: Arc<Budget>,
}

impl MemoryStore {
    /// An empty store whose objects use at most `limit_bytes`, after which it is full.
    pub fn new(limit_bytes: u64) -> Self {
        Self {
            objects: RwLock::new(HashMap::new()),
            budget: Arc::new(Budget {
                used: AtomicU64::new(0),
                limit: limit_bytes,
            }),
        }
    }

    fn get(&self, oid: ObjectId) -> Result<Arc<Object>> {
        self.objects
            .read()
            .get(&oid)
            .cloned()
            .ok_or(StoreError::NoObject)
    }
}

impl Store for MemoryStore {
    fn size_of(&self, oid: ObjectId) -> Result<Option<u64>> {
        Ok(self.objects.read().get(&oid).map(|object| object.size))
    }

    fn read(&self, oid: ObjectId, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        let object = self.get(oid)?;
        range_end(offset, len, object.size)?;
        let chunks = object.chunks.read();
        chunks.read(offset, len, out)
    }

    fn write(&self, oid: ObjectId, offset: u64, data: &[u8]) -> Result<()> {
        let object = self.get(oid)?;
        range_end(offset, data.len(), object.size)?;
        let mut chunks = object.chunks.write();
        chunks.write(offset, data)
    }

    fn create(&self, oid: ObjectId, object: NewObject<'_>) -> Result<()> {
        let mut chunks = Chunks::new(object.size, self.budget.clone())?;
        if let Some(base) = object.base {
            chunks.copy_from(&self.get(base)?.chunks.read())?;
        }
        for piece in object.pieces {
            range_end(piece.offset, piece.data.len(), object.size)?;
            chunks.write(piece.offset, piece.data)?;
        }
        let new = Arc::new(Object {
            size: object.size,
            chunks: RwLock::new(chunks),
        });
        let old = self.objects.write().insert(oid, new);
        drop(old);
        Ok(())
    }

    fn remove(&self, oid: ObjectId) -> Result<()> {
        let old = self.objects.write().remove(&oid);
        old.map(drop).ok_or(StoreError::NoObject)
    }

    fn list(&self) -> Result<Vec<ObjectId>> {
        Ok(self.objects.read().keys().copied().collect())
    }

    fn clear(&self) -> Result<()> {
        self.objects.write().clear();
        Ok(())
    }

    fn space(&self) -> Result<Space> {
        let used = self.budget.used.load(Ordering::Relaxed);
        Ok(Space {
            size: self.budget.limit,
            free: self.budget.limit.saturating_sub(used),
        })
    }

    fn save_note(&self, _note: &[u8]) -> Result<()> {
        Ok(())
    }

    fn load_note(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn waits_for_disk(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::Piece;
    use super::*;

    const OID: ObjectId = ObjectId::from_raw(7);

    fn object(size: u64, pieces: &[Piece<'_>]) -> (MemoryStore, Result<()>) {
        let store = MemoryStore::new(4 * CHUNK as u64);
        let new = NewObject {
            size,
            base: None,
            pieces,
        };
        let result = store.create(OID, new);
        (store, result)
    }

    #[test]
    fn parts_that_were_never_written_cost_nothing_and_read_as_zeroes() {
        let (store, result) = object(1 << 30, &[]);
        result.unwrap();
        store.write(OID, (1 << 30) - 3, b"end").unwrap();
        let mut out = Vec::new();
        store.read(OID, (1 << 30) - 5, 5, &mut out).unwrap();
        assert_eq!(out, b"\0\0end");
        assert_eq!(store.space().unwrap().free, 3 * CHUNK as u64);
    }

    #[test]
    fn a_full_store_says_so_and_gets_its_space_back() {
        let (store, result) = object(1 << 20, &[]);
        result.unwrap();
        let data = vec![1; 5 * CHUNK];
        assert!(matches!(
            store.write(OID, 0, &data),
            Err(StoreError::NoSpace)
        ));
        store.remove(OID).unwrap();
        assert_eq!(store.space().unwrap().free, 4 * CHUNK as u64);
    }

    #[test]
    fn nothing_is_read_or_written_outside_an_object() {
        let (store, result) = object(100, &[]);
        result.unwrap();
        let mut out = Vec::new();
        for (offset, len) in [(0, 101), (100, 1), (u64::MAX, 1), (101, 0)] {
            let data = vec![0; len];
            assert!(matches!(
                store.write(OID, offset, &data),
                Err(StoreError::OutOfBounds)
            ));
            let result = store.read(OID, offset, len, &mut out);
            assert!(matches!(result, Err(StoreError::OutOfBounds)));
        }
        store.read(OID, 100, 0, &mut out).unwrap();
    }
}
