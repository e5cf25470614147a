// SPDX-License-Identifier: GPL-2.0

//! `sys::configfs`: directories in `/sys/kernel/config/sample_configfs/` that cannot be removed
//! after a 1 was written to their `pin`, until a 0 is.

use kernel::{
    configfs::{
        self,
        AttributeOperations,
        Group,
        GroupOperations, //
    },
    configfs_attrs,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use sys::configfs::Directory;

#[path = "../drivers/block/sheepdog/sys/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a sample is about one part")]
mod sys;

module! {
    type: Sample,
    name: "sample_configfs",
    authors: ["The sheepdog.ko developers"],
    description: "Directories that cannot be removed",
    license: "GPL",
}

#[pin_data]
struct Sample {
    #[pin]
    subsystem: configfs::Subsystem<Root>,
}

impl kernel::InPlaceModule for Sample {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let item_type = configfs_attrs! {
            container: configfs::Subsystem<Root>,
            data: Root,
            child: Item,
            attributes: [
                what: 0,
            ],
        };
        try_pin_init!(Self {
            subsystem <- configfs::Subsystem::new(c"sample_configfs", item_type, Ok(Root {})),
        })
        .pin_chain(|_| {
            // Nothing is bound to it, so there is nothing to pin.
            if Directory::new().pin() != Err(ENOENT) {
                pr_err!("a directory that is not there was pinned\n");
                return Err(EINVAL);
            }
            pr_info!("ok\n");
            Ok(())
        })
    }
}

struct Root {}

/// The handle of one directory, and whether it is pinned.
#[pin_data]
struct Pinned {
    directory: Directory,
    #[pin]
    pinned: Mutex<bool>,
}

#[pin_data]
struct Item {
    pinned: Arc<Pinned>,
}

#[vtable]
impl AttributeOperations<0> for Root {
    type Data = Root;

    fn show(_root: &Root, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        print(
            page,
            b"mkdir a directory here, write 1 to its pin, and try to rmdir it\n",
        )
    }
}

#[vtable]
impl GroupOperations for Root {
    type Child = Item;

    fn make_group(&self, name: &CStr) -> Result<impl PinInit<Group<Item>, Error>> {
        let item_type = configfs_attrs! {
            container: Group<Item>,
            data: Item,
            attributes: [
                pin: 0,
            ],
        };
        let pinned = Arc::pin_init(
            pin_init!(Pinned {
                directory: Directory::new(),
                pinned <- new_mutex!(false),
            }),
            GFP_KERNEL,
        )?;
        let bound = pinned.clone();
        let item = Group::new(name.try_into()?, item_type, try_pin_init!(Item { pinned }));
        Ok(item.pin_chain(move |group| {
            bound.directory.bind(group);
            Ok(())
        }))
    }
}

#[vtable]
impl AttributeOperations<0> for Item {
    type Data = Item;

    fn show(item: &Item, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let line = if *item.pinned.pinned.lock() {
            b"1\n"
        } else {
            b"0\n"
        };
        print(page, line)
    }

    fn store(item: &Item, text: &[u8]) -> Result {
        let mut pinned = item.pinned.pinned.lock();
        match (text.trim_ascii(), *pinned) {
            (b"1", false) => item.pinned.directory.pin()?,
            (b"0", true) => item.pinned.directory.unpin(),
            (b"0" | b"1", _) => return Ok(()),
            _ => {
                pr_err!("write 1 to pin the directory, 0 to let it go\n");
                return Err(EINVAL);
            }
        }
        *pinned = !*pinned;
        Ok(())
    }
}

fn print(page: &mut [u8; PAGE_SIZE], line: &[u8]) -> Result<usize> {
    page.get_mut(..line.len())
        .ok_or(EINVAL)?
        .copy_from_slice(line);
    Ok(line.len())
}
