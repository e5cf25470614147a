// SPDX-License-Identifier: GPL-2.0

//! `vdi create|list|info|delete|resize|snapshot|clone|lock`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::net::SocketAddr;

use rustix::io::Errno;
use serde::Serialize;
use sheepdog_core::proto::inode::object_count;
use sheepdog_core::proto::limits::{MAX_BLOCK_SIZE_SHIFT, MAX_OBJECTS};
use sheepdog_core::proto::LockType;

use crate::address::resolve_all;
use crate::cli::{ClusterArgs, LockCommand, VdiCommand};
use crate::client::create::{block_size_shift, check_size};
use crate::client::inode::{time_text, Vdi};
use crate::client::lock::Lock;
use crate::client::lookup::about;
use crate::client::Client;
use crate::command::map::mappings_of;
use crate::command::{catch_interrupts, connect, Output};
use crate::failure::{Failure, Outcome};
use crate::host::lock::VdiLock;
use crate::host::Host;
use crate::mapping::status::Mapping;
use crate::name::{printable, Name, VdiSpec};
use crate::redundancy::Redundancy;
use crate::size::ByteSize;
use crate::table::{columns, pairs};

pub fn run(host: &Host, command: VdiCommand, output: &mut Output<'_>) -> Outcome<()> {
    match command {
        VdiCommand::Create {
            cluster,
            copies,
            object_size,
            name,
            size,
        } => {
            let shift = object_size.map(block_size_shift).transpose()?;
            // What no object size makes possible is refused without asking the cluster for its own.
            check_size(size, shift.unwrap_or(MAX_BLOCK_SIZE_SHIFT))?;
            let redundancy = copies.unwrap_or(Redundancy::ClusterDefault);
            connect(&cluster)?.create(&name, size, redundancy, shift)?;
            Ok(())
        }
        VdiCommand::List { cluster, json } => list(&mut connect(&cluster)?, json, output),
        VdiCommand::Info { cluster, json, vdi } => {
            info(&mut connect(&cluster)?, &vdi, json, output)
        }
        VdiCommand::Delete { cluster, yes, vdi } => delete(host, &cluster, &vdi, yes),
        VdiCommand::Resize {
            cluster,
            shrink,
            name,
            size,
        } => {
            let _lock = VdiLock::take(host, &name)?;
            let mut client = if shrink {
                connect_unless_mapped(host, &cluster, &name, &|_| true)?
            } else {
                connect(&cluster)?
            };
            client.resize(&name, size, shrink)
        }
        VdiCommand::Snapshot { cluster, tag, name } => {
            let _lock = VdiLock::take(host, &name)?;
            connect_unless_mapped(host, &cluster, &name, &|mapping| !mapping.read_only)?
                .snapshot(&name, &tag)?;
            Ok(())
        }
        VdiCommand::Clone {
            cluster,
            source,
            name,
        } => {
            connect(&cluster)?.clone_snapshot(&source, &name)?;
            Ok(())
        }
        VdiCommand::Lock(LockCommand::List { cluster, json }) => {
            locks(&mut connect(&cluster)?, json, output)
        }
        VdiCommand::Lock(LockCommand::Release { cluster, vdi }) => connect(&cluster)?.release(&vdi),
    }
}

/// One VDI as `vdi list --json` shows it; the field names are its documented schema.
#[derive(Debug, Serialize)]
struct VdiRecord {
    name: String,
    vdi_id: String,
    tag: Option<String>,
    snapshot: bool,
    snapshot_id: u32,
    parent_vdi_id: Option<String>,
    size_bytes: u64,
    object_size: Option<u64>,
    redundancy: String,
    hyper: bool,
    created: String,
}

impl VdiRecord {
    fn new(vdi: &Vdi) -> Self {
        Self {
            name: vdi.name.to_string(),
            vdi_id: vdi.vid.to_string(),
            tag: Some(printable(&vdi.tag)).filter(|tag| !tag.is_empty()),
            snapshot: vdi.is_snapshot(),
            snapshot_id: vdi.snap_id,
            parent_vdi_id: vdi.parent.map(|vid| vid.to_string()),
            size_bytes: vdi.size_bytes,
            object_size: vdi.object_size(),
            redundancy: vdi.redundancy().to_string(),
            hyper: vdi.is_hyper(),
            created: time_text(vdi.create_time),
        }
    }

    /// What names a snapshot behind the `@`; a dash for a VDI.
    fn tag_or_id(&self) -> String {
        match &self.tag {
            Some(tag) => tag.clone(),
            None if self.snapshot => format!("#{}", self.snapshot_id),
            None => "-".to_owned(),
        }
    }

    fn object_size_text(&self) -> String {
        self.object_size
            .map_or_else(|| "?".to_owned(), |size| ByteSize(size).to_string())
    }

    fn kind(&self) -> &'static str {
        match (self.snapshot, self.hyper) {
            (true, _) => "snapshot",
            (false, true) => "hyper",
            (false, false) => "vdi",
        }
    }
}

fn list(client: &mut Client, json: bool, output: &mut Output<'_>) -> Outcome<()> {
    let listing = client.list()?;
    let vdis: Vec<VdiRecord> = listing.vdis.iter().map(VdiRecord::new).collect();
    if json {
        output.json(&vdis)?;
    } else if !vdis.is_empty() {
        output.text(&table(vdis))?;
    }
    let Some(first) = listing.failures.first() else {
        return Ok(());
    };
    for failure in &listing.failures {
        eprintln!("sheepctl: {failure}");
    }
    Err(Failure::new(first.errno(), "the list is not complete")
        .advise("what could not be read is named above"))
}

fn table(vdis: Vec<VdiRecord>) -> String {
    let head = [
        "NAME",
        "TAG",
        "ID",
        "KIND",
        "SIZE",
        "OBJECT SIZE",
        "COPIES",
        "CREATED",
    ];
    let rows = vdis.into_iter().map(|vdi| {
        vec![
            vdi.name.clone(),
            vdi.tag_or_id(),
            vdi.vdi_id.clone(),
            vdi.kind().to_owned(),
            ByteSize(vdi.size_bytes).to_string(),
            vdi.object_size_text(),
            vdi.redundancy.clone(),
            vdi.created,
        ]
    });
    columns(&head, rows)
}

/// One VDI as `vdi info --json` shows it.
#[derive(Debug, Serialize)]
struct VdiDetails {
    #[serde(flatten)]
    vdi: VdiRecord,
    objects: Option<u64>,
    own_objects: Option<usize>,
    inherited_objects: Option<usize>,
}

fn details(client: &mut Client, vdi: &Vdi) -> Outcome<VdiDetails> {
    let objects = object_count(vdi.size_bytes, vdi.block_size_shift).filter(|_| !vdi.is_hyper());
    let entries = objects.map(|objects| u32::try_from(objects).unwrap_or(MAX_OBJECTS));
    let map = match entries {
        Some(entries) => Some(client.read_map(vdi.vid, entries)?),
        None => None,
    };
    let count = |is_meant: &dyn Fn(u32) -> bool| {
        let map = map.as_ref()?;
        Some(map.iter().filter(|entry| is_meant(**entry)).count())
    };
    let own = vdi.vid.raw();
    Ok(VdiDetails {
        objects,
        own_objects: count(&|entry| entry == own),
        inherited_objects: count(&|entry| entry != 0 && entry != own),
        vdi: VdiRecord::new(vdi),
    })
}

fn info(client: &mut Client, spec: &VdiSpec, json: bool, output: &mut Output<'_>) -> Outcome<()> {
    let vid = client.find(spec)?;
    let vdi = client.read_found_vdi(vid)?;
    let details = details(client, &vdi)?;
    if json {
        return output.json(&details);
    }
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let number = |number: Option<usize>| or_dash(number.map(|number| number.to_string()));
    let record = &details.vdi;
    output.text(&pairs([
        ("name", record.name.clone()),
        ("tag", or_dash(record.tag.clone())),
        ("id", record.vdi_id.clone()),
        ("kind", record.kind().to_owned()),
        ("parent", or_dash(record.parent_vdi_id.clone())),
        (
            "size",
            format!(
                "{} ({} bytes)",
                ByteSize(record.size_bytes),
                record.size_bytes
            ),
        ),
        ("object size", record.object_size_text()),
        ("copies", record.redundancy.clone()),
        ("created", record.created.clone()),
        ("objects", or_dash(details.objects.map(|n| n.to_string()))),
        ("own objects", number(details.own_objects)),
        ("inherited objects", number(details.inherited_objects)),
    ]))
}

fn delete(host: &Host, cluster: &ClusterArgs, spec: &VdiSpec, yes: bool) -> Outcome<()> {
    let connect = || match spec.snapshot {
        Some(_) => connect(cluster),
        None => connect_unless_mapped(host, cluster, &spec.name, &|_| true),
    };
    let mut confirmed = None;
    if !yes {
        let mut client = connect()?;
        let vid = client.find(spec)?;
        let vdi = client.read_found_vdi(vid)?;
        confirm(spec, &vdi)?;
        confirmed = Some(vid);
    }
    // Taken when nobody is asked any more; it may have been mapped meanwhile.
    let _lock = VdiLock::take(host, &spec.name)?;
    let mut client = connect()?;
    client.delete(spec, confirmed, &*catch_interrupts()?)
}

/// Connects to the cluster, unless this machine uses its working VDI `name` through a mapping that
/// `is_in_the_way`.
fn connect_unless_mapped(
    host: &Host,
    cluster: &ClusterArgs,
    name: &Name,
    is_in_the_way: &dyn Fn(&Mapping) -> bool,
) -> Outcome<Client> {
    let mut mappings = mappings_of(host, name)?;
    mappings.retain(is_in_the_way);
    if mappings.is_empty() {
        return connect(cluster);
    }
    let gateways = resolve_all(&cluster.gateway.gateways, cluster.timeout)?;
    let gateways: Vec<String> = gateways.iter().map(SocketAddr::to_string).collect();
    refuse_mapped(&mappings, &gateways)?;
    // It may be the same VDI all the same, through another node of the cluster.
    let mut client = connect(cluster)?;
    let nodes = client.cluster()?.nodes.into_iter();
    let nodes: Vec<String> = nodes.map(|node| node.address).collect();
    refuse_mapped(&mappings, &nodes)?;
    Ok(client)
}

/// Refuses to change a VDI that this machine uses through one of `mappings` and one of `gateways`.
fn refuse_mapped(mappings: &[Mapping], gateways: &[String]) -> Outcome<()> {
    let Some(mapping) = mappings
        .iter()
        .find(|mapping| mapping.goes_through(gateways))
    else {
        return Ok(());
    };
    let device = mapping.device.as_deref().unwrap_or(&mapping.mapping);
    Err(Failure::new(
        Errno::BUSY,
        format!(
            "VDI `{}` is mapped on this machine as {device}",
            mapping.vdi
        ),
    )
    .advise(format!("unmap it first: `sheepctl unmap {device}`")))
}

/// Asks on the terminal.
fn confirm(spec: &VdiSpec, vdi: &Vdi) -> Outcome<()> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Errno::INVAL,
            format!(
                "{} was not deleted: nobody there to confirm it",
                about(spec)
            ),
        )
        .advise("give --yes"));
    }
    let size = ByteSize(vdi.size_bytes);
    eprint!(
        "Delete {} ({size}, id {}) for ever? [y/N] ",
        about(spec),
        vdi.vid
    );
    let mut answer = String::new();
    io::stderr()
        .flush()
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::from_io(&error, "cannot ask"))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(
        Errno::CANCELED,
        format!("{} was not deleted", about(spec)),
    ))
}

/// One lock as `vdi lock list --json` shows it.
#[derive(Debug, Serialize)]
struct LockRecord {
    name: String,
    tag: Option<String>,
    vdi_id: String,
    r#type: &'static str,
    owners: Vec<String>,
}

impl LockRecord {
    fn new((lock, vdi): &(Lock, Vdi)) -> Self {
        Self {
            name: vdi.name.to_string(),
            tag: Some(printable(&vdi.tag)).filter(|tag| !tag.is_empty()),
            vdi_id: lock.vid.to_string(),
            r#type: match lock.kind {
                LockType::Normal => "normal",
                LockType::Shared => "shared",
            },
            owners: lock.owners.iter().map(SocketAddr::to_string).collect(),
        }
    }
}

fn locks(client: &mut Client, json: bool, output: &mut Output<'_>) -> Outcome<()> {
    let locks: Vec<LockRecord> = client.locks()?.iter().map(LockRecord::new).collect();
    if json {
        return output.json(&locks);
    }
    if locks.is_empty() {
        return Ok(());
    }
    let rows = locks.into_iter().map(|lock| {
        vec![
            lock.name,
            lock.tag.unwrap_or_else(|| "-".to_owned()),
            lock.vdi_id,
            lock.r#type.to_owned(),
            lock.owners.join(","),
        ]
    });
    output.text(&columns(
        &["NAME", "TAG", "ID", "TYPE", "HELD THROUGH"],
        rows,
    ))
}
