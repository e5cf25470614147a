// SPDX-License-Identifier: GPL-2.0

//! Which disk names are taken.

use crate::volume::DiskName;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// The names of all disks of the module.
#[pin_data]
pub(super) struct Names {
    #[pin]
    taken: Mutex<KVec<bool>>,
}

/// A name that is taken until this is dropped.
pub(super) struct Taken {
    names: Arc<Names>,
    name: DiskName,
}

impl Names {
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self { taken <- new_mutex!(KVec::new()) }),
            GFP_KERNEL,
        )
    }

    /// Takes the lowest free name. `ENOMEM`, `ENOSPC` after 65536.
    pub(super) fn take(self: &Arc<Self>) -> Result<Taken> {
        let mut taken = self.taken.lock();
        let index = match taken.iter().position(|taken| !taken) {
            Some(index) => index,
            None => {
                taken.push(false, GFP_KERNEL)?;
                taken.len() - 1
            }
        };
        let name = DiskName(u16::try_from(index).map_err(|_| ENOSPC)?);
        if let Some(place) = taken.get_mut(index) {
            *place = true;
        }
        Ok(Taken {
            names: self.clone(),
            name,
        })
    }
}

impl Taken {
    pub(super) fn name(&self) -> DiskName {
        self.name
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(place) = self.names.taken.lock().get_mut(usize::from(self.name.0)) {
            *place = false;
        }
    }
}
