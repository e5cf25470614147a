// SPDX-License-Identifier: GPL-2.0

//! The files of the configfs interface.

use super::{
    mapping::{
        Mapping,
        Phase, //
    },
    names::Names,
    settings::{
        self,
        GatewayList,
        Number, //
    }, //
};
use crate::sys::{
    debugfs,
    errno,
    log::Plain, //
};
#[cfg(configfs_wants_this_module)]
use crate::THIS_MODULE;
use kernel::{
    configfs::{
        self,
        AttributeOperations,
        Group,
        GroupOperations, //
    },
    configfs_attrs,
    fmt::{
        self,
        Write, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::Formatter,
    sync::Arc, //
};

/// The directory `sheepdog`.
#[pin_data]
pub(crate) struct Root {
    names: Arc<Names>,
    debugfs: Arc<debugfs::Dir>,
}

/// A directory in it.
#[pin_data]
pub(crate) struct Dir {
    mapping: Arc<Mapping>,
}

/// The subsystem, to be kept while the module is loaded.
pub(crate) fn subsystem() -> Result<impl PinInit<configfs::Subsystem<Root>, Error>> {
    let item_type = configfs_attrs! {
        container: configfs::Subsystem<Root>,
        data: Root,
        child: Dir,
        attributes: [
            version: 0,
        ],
    };
    let names = Names::new()?;
    let debugfs = debugfs::Dir::new(c"sheepdog", None)?;
    Ok(configfs::Subsystem::new(
        c"sheepdog",
        item_type,
        try_pin_init!(Root { names, debugfs }),
    ))
}

/// Writes one line into the page that configfs shows.
fn show(page: &mut [u8; PAGE_SIZE], line: fmt::Arguments<'_>) -> Result<usize> {
    let mut writer = Formatter::new(page);
    writer.write_fmt(line)?;
    writer.write_str("\n")?;
    Ok(writer.bytes_written())
}

#[vtable]
impl AttributeOperations<0> for Root {
    type Data = Root;

    fn show(_root: &Root, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        show(page, fmt!("{}", crate::VERSION))
    }
}

#[vtable]
impl GroupOperations for Root {
    type Child = Dir;

    fn make_group(&self, name: &CStr) -> Result<impl PinInit<Group<Dir>, Error>> {
        let item_type = configfs_attrs! {
            container: Group<Dir>,
            data: Dir,
            attributes: [
                gateways: 0,
                vdi: 1,
                connections: 2,
                queue_depth: 3,
                connect_timeout_ms: 4,
                reply_timeout_ms: 5,
                io_timeout_ms: 6,
                fence_ms: 7,
                read_only: 8,
                map: 9,
                unmap: 10,
                state: 11,
                device: 12,
                vdi_id: 13,
                size_bytes: 14,
                object_size: 15,
                memory_bytes: 16,
                in_flight: 17,
                waiting: 18,
                gateway: 19,
            ],
        };
        let mapping = Mapping::new(name, self.names.clone(), self.debugfs.clone())?;
        let bound = mapping.clone();
        Ok(
            Group::new(name.try_into()?, item_type, try_pin_init!(Dir { mapping })).pin_chain(
                move |group| {
                    bound.directory.bind(group);
                    Ok(())
                },
            ),
        )
    }
}

/// An attribute that holds a number of the settings.
macro_rules! number_attribute {
    ($id:literal, $field:ident, $number:expr) => {
        #[vtable]
        impl AttributeOperations<$id> for Dir {
            type Data = Dir;

            fn show(dir: &Dir, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
                let value = dir.mapping.state.lock().settings.$field;
                show(page, fmt!("{value}"))
            }

            fn store(dir: &Dir, text: &[u8]) -> Result {
                let number: &Number = &$number;
                let value = settings::parse_number(&dir.mapping.name, number, text)?;
                dir.mapping.configure(|settings| settings.$field = value)
            }
        }
    };
}

/// An attribute that tells something of the device, and nothing where there is none.
macro_rules! status_attribute {
    ($id:literal, |$device:ident| $line:expr) => {
        #[vtable]
        impl AttributeOperations<$id> for Dir {
            type Data = Dir;

            fn show(dir: &Dir, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
                match dir.mapping.state.lock().phase.device() {
                    Some($device) => show(page, $line),
                    None => show(page, fmt!("")),
                }
            }
        }
    };
}

/// An attribute that does something when it is written; it holds nothing.
macro_rules! action_attribute {
    ($id:literal, |$dir:ident, $text:ident| $action:expr) => {
        #[vtable]
        impl AttributeOperations<$id> for Dir {
            type Data = Dir;

            fn show(_dir: &Dir, _page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
                Err(EACCES)
            }

            fn store($dir: &Dir, text: &[u8]) -> Result {
                let $text = settings::without_newline(text);
                $action
            }
        }
    };
}

#[vtable]
impl AttributeOperations<0> for Dir {
    type Data = Dir;

    fn show(dir: &Dir, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let state = dir.mapping.state.lock();
        show(page, fmt!("{}", GatewayList(&state.settings.gateways)))
    }

    fn store(dir: &Dir, text: &[u8]) -> Result {
        let text = settings::without_newline(text);
        let gateways = settings::parse_gateways(&dir.mapping.name, text)?;
        dir.mapping
            .configure(|settings| settings.gateways = gateways)
    }
}

#[vtable]
impl AttributeOperations<1> for Dir {
    type Data = Dir;

    fn show(dir: &Dir, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let state = dir.mapping.state.lock();
        let name = state
            .settings
            .vdi
            .as_ref()
            .map_or(&[][..], |vdi| vdi.as_bytes());
        // The name's own bytes, whatever they are.
        let line = page
            .get_mut(..name.len() + 1)
            .ok_or_else(errno::name_too_long)?;
        line[..name.len()].copy_from_slice(name);
        line[name.len()] = b'\n';
        Ok(line.len())
    }

    fn store(dir: &Dir, text: &[u8]) -> Result {
        let text = settings::without_newline(text);
        let vdi = settings::parse_vdi(&dir.mapping.name, text)?;
        dir.mapping.configure(|settings| settings.vdi = Some(vdi))
    }
}

number_attribute!(2, connections, settings::CONNECTIONS);
number_attribute!(3, queue_depth, settings::QUEUE_DEPTH);
number_attribute!(4, connect_timeout_ms, settings::CONNECT_TIMEOUT_MS);
number_attribute!(5, reply_timeout_ms, settings::REPLY_TIMEOUT_MS);
number_attribute!(6, io_timeout_ms, settings::IO_TIMEOUT_MS);
number_attribute!(7, fence_ms, settings::FENCE_MS);
number_attribute!(8, read_only, settings::READ_ONLY);

action_attribute!(9, |dir, text| match text {
    b"1" => dir.mapping.map(),
    _ => {
        pr_err!("mapping {}: map: write 1 to map\n", &*dir.mapping.name);
        Err(EINVAL)
    }
});

action_attribute!(10, |dir, text| match text {
    b"1" => dir.mapping.unmap(),
    b"force" => dir.mapping.unmap_by_force(),
    _ => {
        pr_err!(
            "mapping {}: unmap: write 1 to unmap, or force\n",
            &*dir.mapping.name
        );
        Err(EINVAL)
    }
});

#[vtable]
impl AttributeOperations<11> for Dir {
    type Data = Dir;

    fn show(dir: &Dir, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let state = match &dir.mapping.state.lock().phase {
            Phase::New => "new",
            Phase::Mapping(_) => "mapping",
            Phase::Live(live, _) => live.device().state(),
            Phase::Removing(_) => "removing",
            Phase::Failed => "failed",
        };
        show(page, fmt!("{state}"))
    }
}

status_attribute!(12, |device| fmt!("{}", &**device.name()));
status_attribute!(13, |device| fmt!("{}", Plain(device.geometry().vid())));
status_attribute!(14, |device| fmt!("{}", device.geometry().size_bytes()));
status_attribute!(15, |device| fmt!(
    "{}",
    device.geometry().object_size_bytes()
));
status_attribute!(16, |device| fmt!("{}", device.memory_bytes()));
status_attribute!(17, |device| fmt!("{}", device.in_flight()));
status_attribute!(18, |device| fmt!("{}", device.waiting()));
status_attribute!(19, |device| fmt!("{}", Plain(device.peer.address())));
