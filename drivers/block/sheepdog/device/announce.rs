// SPDX-License-Identifier: GPL-2.0

//! The thread that tells udev how the connections are.
//!
//! A thread of its own, for which no request waits: an uevent takes a lock of the kernel
//! (`uevent_sock_mutex`) that others hold while they allocate, and so perhaps while they wait for
//! this very disk.

use super::Device;
use crate::volume::Admission;

/// The body of the thread; ends when the device is shut. What changes back before it has looked is not
/// told.
pub(super) fn run(device: &Device) {
    let mut announced = Admission::Send;
    loop {
        let mut room = device.room.lock();
        let now = loop {
            let now = room.desk.session().admission();
            if now != announced {
                break now;
            }
            // Interruptible, so that an idle thread does not count as blocked; it gets no signals.
            let _ = device.stir.wait_interruptible(&mut room);
        };
        drop(room);
        announced = now;
        let variable = match now {
            Admission::Send => c"SHEEPDOG_STATE=live",
            Admission::Wait => c"SHEEPDOG_STATE=reconnecting",
            Admission::TimedOut => c"SHEEPDOG_STATE=failing",
            Admission::Closed => return,
        };
        if let Some(announcer) = &*device.announcer.lock() {
            announcer.announce(variable);
        }
    }
}
