// SPDX-License-Identifier: GPL-2.0

//! Unmapping: finding the mapping that is meant, ending it, and saying who is in the way.
//!
//! Comes in: a device, VDI or mapping as the user wrote it. A device that is open stays mapped
//! unless `force` is given; then its users get I/O errors.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use crate::failure::{Failure, Outcome};
use crate::host::holders::Holder;
use crate::mapping::status::Mapping;
use crate::mapping::{Attribute, Driver};
use crate::name::{printable, MappingName};

/// Pauses while only udev looks at the disk, which it does for some milliseconds after every close:
/// each is twice as long as the one before, 2.5 seconds in all. The driver logs every try.
const PAUSES: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The mapping that `target` names: a path is a device; anything else is a device's, mapping's or
/// VDI's name.
///
/// # Errors
///
/// `ENODEV` when nothing has that name, `EINVAL` when several have.
pub fn choose(mappings: &[Mapping], target: &OsStr) -> Outcome<MappingName> {
    let path = Path::new(target);
    let shown = printable(target.as_bytes());
    let chosen: Vec<&Mapping> = if target.as_bytes().contains(&b'/') {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let disk = real.file_name().map(|name| printable(name.as_bytes()));
        let is_meant = |mapping: &&Mapping| mapping.disk() == disk.as_deref() && disk.is_some();
        mappings.iter().filter(is_meant).collect()
    } else {
        let is_meant = |mapping: &&Mapping| {
            mapping.disk() == Some(&shown) || mapping.mapping == shown || mapping.vdi == shown
        };
        mappings.iter().filter(is_meant).collect()
    };
    match chosen[..] {
        [one] => one.mapping.parse().map_err(|_| {
            Failure::new(
                Errno::INVAL,
                format!("the mapping's name `{}` cannot be used", one.mapping),
            )
        }),
        [] => Err(
            Failure::new(Errno::NODEV, format!("`{shown}` is not mapped"))
                .advise("`sheepctl list` shows what is"),
        ),
        _ => {
            let names: Vec<&str> = chosen.iter().map(|m| m.mapping.as_str()).collect();
            Err(Failure::new(
                Errno::INVAL,
                format!("`{shown}` means several mappings: {}", names.join(", ")),
            )
            .advise("give the device, such as /dev/sheepa"))
        }
    }
}

/// Ends `name` and removes it. `holders` looks for users of the disk.
///
/// # Errors
///
/// `EBUSY` with the users when the disk is open, else the driver's errno.
pub fn unmap(
    driver: &dyn Driver,
    name: &MappingName,
    force: bool,
    holders: &dyn Fn() -> Vec<Holder>,
) -> Outcome<()> {
    end(driver, name, force, holders)?;
    driver.remove(name).map_err(|error| {
        Failure::from_io(&error, format!("cannot remove the mapping `{name}`"))
            .advise(format!("try again: `sheepctl unmap {name}`"))
    })
}

fn end(
    driver: &dyn Driver,
    name: &MappingName,
    force: bool,
    holders: &dyn Fn() -> Vec<Holder>,
) -> Outcome<()> {
    let disk = driver.read(name, Attribute::Device);
    if disk.is_ok_and(|disk| disk.is_empty()) {
        return Ok(());
    }
    let action: &[u8] = if force { b"force" } else { b"1" };
    let mut pauses = (0..PAUSES).map(|n| FIRST_PAUSE * 2_u32.pow(n));
    loop {
        let error = match driver.write(name, Attribute::Unmap, action) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            Some(Errno::NODEV) => return Ok(()),
            Some(Errno::BUSY) => {
                let holders = holders();
                match pauses.next() {
                    Some(pause) if holders.iter().all(Holder::is_passing) => thread::sleep(pause),
                    _ => return Err(busy(name, &holders)),
                }
            }
            _ => return Err(failed(&error, name)),
        }
    }
}

fn failed(error: &io::Error, name: &MappingName) -> Failure {
    Failure::from_io(error, format!("cannot unmap `{name}`"))
        .advise("`dmesg | grep sheep` as root shows the driver's reason")
}

fn busy(name: &MappingName, holders: &[Holder]) -> Failure {
    let mut failure = Failure::new(
        Errno::BUSY,
        format!("cannot unmap `{name}`: the device is in use"),
    );
    if holders.is_empty() {
        failure = failure.advise("no user was found; another mount namespace may have it mounted");
    }
    for holder in holders {
        failure = failure.advise(format!("{holder}: {}", holder.remedy()));
    }
    failure.advise("--force unmaps it anyway: its users get I/O errors, unwritten data is lost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::model::ModelDriver;
    use crate::mapping::status;
    use std::cell::Cell;

    fn chosen(driver: &ModelDriver, target: &str) -> Outcome<String> {
        choose(&status::all(driver).unwrap(), OsStr::new(target)).map(|name| name.to_string())
    }

    #[test]
    fn device_mapping_and_vdi_name_the_same() {
        let driver = ModelDriver::with_live("disk", "vm0", "sheepa");
        driver.add_live("disk2", "vm1", "sheepb");
        for target in ["/dev/sheepb", "sheepb", "disk2", "vm1"] {
            assert_eq!(chosen(&driver, target).as_deref(), Ok("disk2"), "{target}");
        }
        for target in ["/dev/sheepc", "/dev/vm1", "vm2", "/"] {
            let failure = chosen(&driver, target).unwrap_err();
            assert_eq!(failure.errno(), Errno::NODEV, "{target}");
        }
    }

    #[test]
    fn a_link_names_the_device_behind_it() {
        let driver = ModelDriver::with_live("disk", "vm0", "sheepa");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("sheepa"), "").unwrap();
        let link = directory.path().join("vm0");
        std::os::unix::fs::symlink("sheepa", &link).unwrap();
        assert_eq!(
            chosen(&driver, link.to_str().unwrap()).as_deref(),
            Ok("disk")
        );
    }

    #[test]
    fn an_ambiguous_name_is_refused() {
        let driver = ModelDriver::with_live("a", "vm0", "sheepa");
        driver.add_live("b", "vm0", "sheepb");
        let failure = chosen(&driver, "vm0").unwrap_err();
        assert_eq!(failure.errno(), Errno::INVAL);
        assert!(failure.to_string().contains("a, b"), "{failure}");
    }

    fn process(command: &str) -> Holder {
        Holder::Process {
            device: "sheepa".into(),
            pid: 42,
            command: command.into(),
        }
    }

    #[test]
    fn an_open_device_stays_mapped_and_its_user_is_named() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        *driver.busy_unmaps.borrow_mut() = u32::MAX;
        let name = "vm0".parse().unwrap();
        let failure = unmap(&driver, &name, false, &|| vec![process("dd")]).unwrap_err();
        assert_eq!(failure.errno(), Errno::BUSY);
        assert!(failure.to_string().contains("process 42 (dd)"), "{failure}");
        assert_eq!(driver.get("vm0", Attribute::State), "live");
        assert_eq!(driver.unmaps.borrow().len(), 1, "no use in trying again");
    }

    #[test]
    fn udev_is_waited_for() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        *driver.busy_unmaps.borrow_mut() = 2;
        let looks = Cell::new(0);
        let holders = || {
            looks.set(looks.get() + 1);
            vec![process("(udev-worker)")]
        };
        unmap(&driver, &"vm0".parse().unwrap(), false, &holders).unwrap();
        assert_eq!(looks.get(), 2);
        assert_eq!(driver.mappings().unwrap(), []);
    }

    #[test]
    fn force_does_not_ask() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        *driver.busy_unmaps.borrow_mut() = u32::MAX;
        unmap(&driver, &"vm0".parse().unwrap(), true, &Vec::new).unwrap();
        assert_eq!(*driver.unmaps.borrow(), ["force"]);
        assert_eq!(driver.mappings().unwrap(), []);
    }

    #[test]
    fn a_mapping_without_device_is_removed() {
        let driver = ModelDriver::default();
        let name = "vm0".parse().unwrap();
        driver.create(&name).unwrap();
        unmap(&driver, &name, false, &Vec::new).unwrap();
        assert_eq!(driver.mappings().unwrap(), []);
        assert!(driver.unmaps.borrow().is_empty(), "the driver would log it");
    }
}
