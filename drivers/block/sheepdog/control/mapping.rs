// SPDX-License-Identifier: GPL-2.0

//! The life of a mapping: new, mapping, live, removing; and what is told of it.

use super::{
    names::{
        Names,
        Taken, //
    },
    settings::Settings, //
};
use crate::{
    device::{
        attempt::Attempt,
        live::Live,
        open::{
            self,
            Wish, //
        },
        Device,
        Tuning, //
    },
    sys::{
        configfs::Directory,
        debugfs,
        log::Plain, //
    }, //
};
use core::net::SocketAddr;
use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        Arc,
        CondVar,
        Mutex, //
    }, //
};

/// Where a mapping is in its life.
pub(super) enum Phase {
    New,
    /// The device is there once the VDI is open, so that udev finds it when the disk appears.
    Mapping(Option<Arc<Device>>),
    Live(Live, Taken),
    Removing(Arc<Device>),
    Failed,
}

impl Phase {
    /// What is mapped, or on its way to it or from it.
    pub(super) fn device(&self) -> Option<&Arc<Device>> {
        match self {
            Self::Mapping(device) => device.as_ref(),
            Self::Live(live, _) => Some(live.device()),
            Self::Removing(device) => Some(device),
            Self::New | Self::Failed => None,
        }
    }
}

pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) phase: Phase,
}

/// One directory in configfs.
#[pin_data]
pub(super) struct Mapping {
    /// Name of the directory, for log lines.
    pub(super) name: CString,
    pub(super) directory: Directory,
    names: Arc<Names>,
    /// Where the disk's directory is made.
    debugfs: Arc<debugfs::Dir>,
    #[pin]
    pub(super) state: Mutex<State>,
    /// The phase is another one.
    #[pin]
    changed: CondVar,
}

impl Mapping {
    pub(super) fn new(
        name: &CStr,
        names: Arc<Names>,
        debugfs: Arc<debugfs::Dir>,
    ) -> Result<Arc<Self>> {
        let name = CString::try_from(name)?;
        let state = State {
            settings: Settings::new(),
            phase: Phase::New,
        };
        Arc::pin_init(
            pin_init!(Self {
                name,
                directory: Directory::new(),
                names,
                debugfs,
                state <- new_mutex!(state),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Changes the configuration. `EBUSY` while there is a disk, or one is being made or removed.
    pub(super) fn configure(&self, change: impl FnOnce(&mut Settings)) -> Result {
        let mut state = self.state.lock();
        match state.phase {
            Phase::New | Phase::Failed => change(&mut state.settings),
            Phase::Mapping(_) | Phase::Live(..) | Phase::Removing(_) => {
                pr_err!(
                    "mapping {}: in use, unmap before changing it\n",
                    &*self.name
                );
                return Err(EBUSY);
            }
        }
        Ok(())
    }

    /// Maps. To be called while an attribute of the directory is being written.
    pub(super) fn map(&self) -> Result {
        let taken = self.names.take()?;
        let wish = self.begin(&taken)?;
        let result = self.directory.pin().and_then(|()| {
            connect(&wish)
                .and_then(|device| {
                    self.set_phase(Phase::Mapping(Some(device.clone())));
                    Live::start(device, &wish, &self.debugfs)
                })
                .inspect_err(|_| self.directory.unpin())
        });
        match result {
            Ok(live) => {
                let geometry = live.device().geometry();
                pr_info!(
                    "{}: VDI {} (id {}), {} bytes in objects of {}, {} connections\n",
                    &*wish.disk,
                    BStr::from_bytes(wish.vdi.as_bytes()),
                    Plain(geometry.vid()),
                    geometry.size_bytes(),
                    geometry.object_size_bytes(),
                    live.device().links.len()
                );
                self.set_phase(Phase::Live(live, taken));
                Ok(())
            }
            Err(error) => {
                self.set_phase(Phase::Failed);
                Err(error)
            }
        }
    }

    /// From `New` or `Failed` to `Mapping`, if the configuration is complete.
    fn begin(&self, taken: &Taken) -> Result<Wish> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::New | Phase::Failed => {}
            Phase::Mapping(_) | Phase::Live(..) | Phase::Removing(_) => {
                pr_err!("mapping {}: is mapped already\n", &*self.name);
                return Err(EBUSY);
            }
        }
        let settings = &state.settings;
        let Some(vdi) = settings.vdi else {
            pr_err!(
                "mapping {}: write a VDI's name to \"vdi\" first\n",
                &*self.name
            );
            return Err(EINVAL);
        };
        if settings.gateways.is_empty() {
            pr_err!(
                "mapping {}: write address:port of a sheep to \"gateways\" first\n",
                &*self.name
            );
            return Err(EINVAL);
        }
        let mut gateways: KVec<SocketAddr> = KVec::new();
        gateways.extend_from_slice(&settings.gateways, GFP_KERNEL)?;
        let wish = Wish {
            disk: CString::try_from_fmt(fmt!("{}", Plain(taken.name())))?,
            gateways,
            vdi,
            read_only: settings.read_only != 0,
            connections: settings.connections,
            tuning: Tuning {
                queue_depth: settings.queue_depth,
                connect_timeout_ms: settings.connect_timeout_ms,
                reply_timeout_ms: settings.reply_timeout_ms,
                io_timeout_ms: settings.io_timeout_ms,
                fence_ms: settings.fence_ms,
            },
        };
        state.phase = Phase::Mapping(None);
        Ok(wish)
    }

    /// Unmaps. `EBUSY` while the disk is open; `ENODEV` without a disk.
    pub(super) fn unmap(&self) -> Result {
        let (live, taken) = self
            .take()
            .map_err(|error| if error == EAGAIN { EBUSY } else { error })?;
        // Without the lock: whoever opens the disk right now may wait for the cluster, and it must
        // be possible to unmap by force meanwhile.
        if let Err(error) = live.claim() {
            pr_err!(
                "{}: in use; unmount and close it, or unmap by force and lose what is not written \
                 yet\n",
                &**live.device().name()
            );
            self.set_phase(Phase::Live(live, taken));
            return Err(error);
        }
        let device = live.device().clone();
        live.remove();
        self.removed(&device, taken);
        Ok(())
    }

    /// Unmaps whoever has the disk open. `ENODEV` without a disk, `EBUSY` while a gateway is being asked
    /// for the VDI, `EINTR`.
    pub(super) fn unmap_by_force(&self) -> Result {
        let mut shut = false;
        let (live, taken) = loop {
            let mut state = self.state.lock();
            match &state.phase {
                Phase::Removing(device) | Phase::Mapping(Some(device)) if !shut => {
                    // Whoever removes it, or adds it and reads its partition table, may wait for
                    // requests: end them.
                    let device = device.clone();
                    drop(state);
                    device.shut();
                    shut = true;
                }
                Phase::Removing(_) | Phase::Mapping(Some(_)) => {
                    if self.changed.wait_interruptible(&mut state) {
                        return Err(EINTR);
                    }
                }
                // It was on its way here or there, and is gone.
                Phase::New | Phase::Failed if shut => return Ok(()),
                _ => {
                    drop(state);
                    match self.take() {
                        Err(error) if error == EAGAIN => {}
                        taken => break taken?,
                    }
                }
            }
        };
        let device = live.device().clone();
        live.remove_by_force();
        self.removed(&device, taken);
        Ok(())
    }

    /// From `Live` to `Removing`. `EAGAIN` if somebody else has done that.
    fn take(&self) -> Result<(Live, Taken)> {
        let mut state = self.state.lock();
        let device = match &state.phase {
            Phase::Live(live, _) => live.device().clone(),
            Phase::Removing(_) => return Err(EAGAIN),
            Phase::Mapping(_) => {
                pr_err!("mapping {}: is being mapped\n", &*self.name);
                return Err(EBUSY);
            }
            Phase::New | Phase::Failed => {
                pr_err!("mapping {}: is not mapped\n", &*self.name);
                return Err(ENODEV);
            }
        };
        match core::mem::replace(&mut state.phase, Phase::Removing(device)) {
            Phase::Live(live, taken) => Ok((live, taken)),
            // Ruled out above.
            _ => Err(EINVAL),
        }
    }

    fn removed(&self, device: &Device, taken: Taken) {
        pr_info!("{}: removed\n", &**device.name());
        drop(taken);
        self.set_phase(Phase::New);
        self.directory.unpin();
    }

    fn set_phase(&self, phase: Phase) {
        let before = core::mem::replace(&mut self.state.lock().phase, phase);
        self.changed.notify_all();
        // Not under the lock.
        drop(before);
    }
}

fn connect(wish: &Wish) -> Result<Arc<Device>> {
    // The thread outlives neither this call nor the wish, but the compiler cannot know.
    let wish = wish.try_clone()?;
    let name = CString::try_from_fmt(fmt!("{}-map", &*wish.disk))?;
    Attempt::run(&name, move |attempt| open::open(&wish, attempt))
}
