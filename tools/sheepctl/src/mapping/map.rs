// SPDX-License-Identifier: GPL-2.0

//! Mapping a VDI: directory, attributes, `map`, and what the driver made of it.
//!
//! Comes in: what to map and how. Goes out: the disk's name. After a failure the directory is gone
//! again. Never maps a VDI a second time for writing through a gateway it is already mapped
//! through: two writers of one VDI destroy each other's objects (protocol section 8.2).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;

use crate::failure::{errno_text, Failure, Outcome};
use crate::host::kernel_log::KernelLog;
use crate::mapping::status::{self, Mapping};
use crate::mapping::unmap::unmap;
use crate::mapping::{Attribute, Driver};
use crate::name::{MappingName, Name};

/// Gateways of one mapping at most, as the driver has it.
const MAX_GATEWAYS: usize = 16;

/// Mappings of one VDI for which a name is found.
const MAX_NAME_ATTEMPTS: u32 = 1000;

/// What to map, and how. What is `None` is left to the driver's default.
#[derive(Debug, Clone)]
pub struct MapRequest {
    pub vdi: Name,
    pub name: Option<MappingName>,
    pub gateways: Vec<SocketAddr>,
    pub connections: Option<u32>,
    pub queue_depth: Option<u32>,
    pub connect_timeout: Option<Duration>,
    pub reply_timeout: Option<Duration>,
    /// Zero: requests wait for ever.
    pub io_timeout: Option<Duration>,
    pub fence: Option<Duration>,
    pub read_only: bool,
}

impl MapRequest {
    /// The attributes to write, in order.
    fn attributes(&self) -> Vec<(Attribute, Vec<u8>)> {
        let gateways: Vec<String> = self.gateways.iter().map(SocketAddr::to_string).collect();
        let milliseconds = |limit: Duration| limit.as_millis().to_string();
        let mut attributes = vec![
            (Attribute::Gateways, gateways.join(",").into_bytes()),
            (Attribute::Vdi, self.vdi.as_bytes().to_vec()),
        ];
        let options = [
            (
                Attribute::Connections,
                self.connections.map(|n| n.to_string()),
            ),
            (
                Attribute::QueueDepth,
                self.queue_depth.map(|n| n.to_string()),
            ),
            (
                Attribute::ConnectTimeoutMs,
                self.connect_timeout.map(milliseconds),
            ),
            (
                Attribute::ReplyTimeoutMs,
                self.reply_timeout.map(milliseconds),
            ),
            (Attribute::IoTimeoutMs, self.io_timeout.map(milliseconds)),
            (Attribute::FenceMs, self.fence.map(milliseconds)),
            (Attribute::ReadOnly, self.read_only.then(|| "1".to_owned())),
        ];
        for (attribute, value) in options {
            if let Some(value) = value {
                attributes.push((attribute, value.into_bytes()));
            }
        }
        attributes
    }
}

/// Maps and returns the mapping.
///
/// # Errors
///
/// `EBUSY` for a VDI that is mapped, `EEXIST` for a name that is taken, else what the driver says
/// (see the driver's interface description).
pub fn map(
    driver: &dyn Driver,
    log: &mut KernelLog,
    request: &MapRequest,
) -> Outcome<(MappingName, Mapping)> {
    if request.gateways.len() > MAX_GATEWAYS {
        return Err(Failure::new(
            Errno::INVAL,
            format!(
                "{} gateway addresses, but a mapping has at most {MAX_GATEWAYS}",
                request.gateways.len()
            ),
        )
        .advise("give fewer gateways, or addresses in place of names that have many"));
    }
    refuse_second_writer(&status::all(driver)?, request)?;
    let name = create_directory(driver, request)?;
    configure_and_map(driver, &name, request)
        .and_then(|()| status::one(driver, &name))
        .map(|mapping| (name.clone(), mapping))
        .map_err(|mut failure| {
            for line in log.explain(&name) {
                failure = failure.advise(line);
            }
            undo(driver, &name, failure)
        })
}

/// Ends and removes the mapping after `failure`; says so when that is not possible. udev may have
/// begun to look at the disk, and is waited for.
pub fn undo(driver: &dyn Driver, name: &MappingName, failure: Failure) -> Failure {
    match unmap(driver, name, false, &Vec::new) {
        Ok(()) => failure,
        Err(second) => failure.advise(format!(
            "the mapping `{name}` could not be removed ({}): `sheepctl unmap {name}`",
            errno_text(second.errno())
        )),
    }
}

fn refuse_second_writer(mappings: &[Mapping], request: &MapRequest) -> Outcome<()> {
    let gateways: Vec<String> = request.gateways.iter().map(SocketAddr::to_string).collect();
    let vdi = request.vdi.to_string();
    let conflict = mappings.iter().find(|mapping| {
        mapping.vdi == vdi
            && mapping.state != "new"
            && mapping.state != "failed"
            && !(mapping.read_only && request.read_only)
            && mapping.goes_through(&gateways)
    });
    match conflict {
        None => Ok(()),
        Some(mapping) => Err(Failure::new(
            Errno::BUSY,
            format!(
                "VDI `{vdi}` is already mapped, as {}",
                mapping.device.as_deref().unwrap_or(&mapping.mapping)
            ),
        )
        .advise("two writers of one VDI destroy its data: use that device, or unmap it first")),
    }
}

fn create_directory(driver: &dyn Driver, request: &MapRequest) -> Outcome<MappingName> {
    let failed = |error: io::Error, name: &MappingName| {
        Failure::from_io(&error, format!("cannot create the mapping `{name}`"))
    };
    if let Some(name) = &request.name {
        return match driver.create(name) {
            Ok(()) => Ok(name.clone()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(failed(error, name)
                .advise(format!(
                    "choose another --name, or remove that mapping with `sheepctl unmap {name}`"
                ))),
            Err(error) => Err(failed(error, name)),
        };
    }
    for attempt in 1..=MAX_NAME_ATTEMPTS {
        let name = MappingName::for_vdi(&request.vdi, attempt);
        match driver.create(&name) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error, &name)),
        }
    }
    Err(Failure::new(
        Errno::EXIST,
        format!("VDI `{}` has too many mappings", request.vdi),
    )
    .advise("choose a name with --name"))
}

fn configure_and_map(driver: &dyn Driver, name: &MappingName, request: &MapRequest) -> Outcome<()> {
    for (attribute, value) in request.attributes() {
        driver.write(name, attribute, &value).map_err(|error| {
            let file = attribute.file_name();
            let value = String::from_utf8_lossy(&value).into_owned();
            Failure::from_io(&error, format!("the driver refuses {file} `{value}`"))
        })?;
    }
    driver
        .write(name, Attribute::Map, b"1")
        .map_err(|error| explain(&error, request))
}

/// What the errno of `map` means for the user.
fn explain(error: &io::Error, request: &MapRequest) -> Failure {
    let vdi = &request.vdi;
    let gateways: Vec<String> = request.gateways.iter().map(SocketAddr::to_string).collect();
    let gateways = gateways.join(", ");
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    let cannot = |reason: &str| Failure::new(errno, format!("cannot map VDI `{vdi}`: {reason}"));
    match errno {
        Errno::NOENT => cannot(&format!("there is no such VDI at {gateways}"))
            .advise("`sheepctl vdi list` shows the VDIs; snapshots cannot be mapped"),
        Errno::TIMEDOUT | Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH => {
            cannot(&format!("no gateway answers ({gateways}): {}", errno_text(errno)))
                .advise("check that a sheep runs there: `sheepctl cluster info --gateway ADDR:PORT`")
        }
        Errno::PROTO => cannot(&format!("what {gateways} answers makes no sense"))
            .advise("check that the port is a sheep's, not another service's"),
        Errno::OPNOTSUPP => cannot("the driver does not handle this kind of VDI")
            .advise("`sheepctl vdi info` shows what it is"),
        Errno::NOMEM => cannot("the kernel has not enough memory")
            .advise("each mapping needs 4 bytes per object, and buffers: use fewer or larger objects, or a lower --queue-depth"),
        Errno::AGAIN => cannot("the kernel cannot start another thread")
            .advise("there are too many threads, or too little memory: `sysctl kernel.threads-max kernel.pid_max`, `free`"),
        Errno::INTR => cannot("interrupted"),
        _ => cannot(&errno_text(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::mapping::model::ModelDriver;

    fn request(vdi: &str) -> MapRequest {
        MapRequest {
            vdi: Name::new(vdi.as_bytes()).unwrap(),
            name: None,
            gateways: vec!["127.0.0.1:7000".parse().unwrap()],
            connections: None,
            queue_depth: None,
            connect_timeout: None,
            reply_timeout: None,
            io_timeout: None,
            fence: None,
            read_only: false,
        }
    }

    fn run(driver: &ModelDriver, request: &MapRequest) -> Outcome<(MappingName, Mapping)> {
        let nowhere = tempfile::tempdir().unwrap();
        map(
            driver,
            &mut KernelLog::here(&Host::new(nowhere.path())),
            request,
        )
    }

    #[test]
    fn mapping_writes_the_attributes_and_returns_the_device() {
        let driver = ModelDriver::default();
        let mut request = request("vm0");
        request.gateways.push("[2001:db8::1]:7001".parse().unwrap());
        request.connections = Some(4);
        request.queue_depth = Some(128);
        request.reply_timeout = Some(Duration::from_millis(1500));
        request.io_timeout = Some(Duration::from_secs(5));
        request.fence = Some(Duration::ZERO);
        request.read_only = true;
        let (name, mapping) = run(&driver, &request).unwrap();
        assert_eq!(name.as_str(), "vm0");
        assert_eq!(mapping.device.as_deref(), Some("/dev/sheepa"));
        assert_eq!(mapping.gateways, ["127.0.0.1:7000", "[2001:db8::1]:7001"]);
        assert_eq!((mapping.connections, mapping.queue_depth), (4, 128));
        assert_eq!(
            (mapping.connect_timeout_ms, mapping.io_timeout_ms),
            (10000, 5000)
        );
        assert_eq!(
            (mapping.reply_timeout_ms, mapping.fence_ms),
            (Some(1500), Some(0))
        );
        assert!(mapping.read_only);
    }

    #[test]
    fn a_failed_mapping_leaves_nothing_behind() {
        for (errno, words) in [
            (Errno::NOENT, "no such VDI"),
            (
                Errno::CONNREFUSED,
                "no gateway answers (127.0.0.1:7000): Connection refused",
            ),
            (Errno::PROTO, "makes no sense"),
            (Errno::OPNOTSUPP, "does not handle"),
            (Errno::NOMEM, "not enough memory"),
            (Errno::AGAIN, "another thread"),
            (Errno::INTR, "interrupted"),
        ] {
            let driver = ModelDriver {
                map_error: Some(errno),
                ..ModelDriver::default()
            };
            let failure = run(&driver, &request("vm0")).unwrap_err();
            assert_eq!(failure.errno(), errno);
            assert!(failure.to_string().contains(words), "{failure}");
            assert!(failure.to_string().contains("dmesg"), "{failure}");
            assert_eq!(driver.mappings().unwrap(), []);
        }
    }

    #[test]
    fn udev_does_not_keep_a_mapping_that_is_undone() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        *driver.busy_unmaps.borrow_mut() = 2;
        let interrupted = Failure::new(Errno::INTR, "interrupted");
        let failure = undo(&driver, &"vm0".parse().unwrap(), interrupted.clone());
        assert_eq!(failure, interrupted);
        assert_eq!(driver.mappings().unwrap(), []);
    }

    #[test]
    fn a_refused_attribute_is_named_and_leaves_nothing_behind() {
        let driver = ModelDriver {
            refused: Some((Attribute::QueueDepth, Errno::INVAL)),
            ..ModelDriver::default()
        };
        let mut request = request("vm0");
        request.queue_depth = Some(5000);
        let failure = run(&driver, &request).unwrap_err();
        assert!(
            failure
                .to_string()
                .starts_with("the driver refuses queue_depth `5000`"),
            "{failure}"
        );
        assert_eq!(driver.mappings().unwrap(), []);
    }

    #[test]
    fn a_second_writer_is_refused() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        let failure = run(&driver, &request("vm0")).unwrap_err();
        assert_eq!(failure.errno(), Errno::BUSY);
        assert!(failure.to_string().contains("/dev/sheepa"), "{failure}");

        let mut reader = request("vm0");
        reader.read_only = true;
        assert_eq!(run(&driver, &reader).unwrap_err().errno(), Errno::BUSY);
    }

    #[test]
    fn readers_and_other_clusters_get_names_of_their_own() {
        let driver = ModelDriver::with_live("vm0", "vm0", "sheepa");
        let mut elsewhere = request("vm0");
        elsewhere.gateways = vec!["127.0.0.1:7100".parse().unwrap()];
        assert_eq!(run(&driver, &elsewhere).unwrap().0.as_str(), "vm0-2");

        driver.set("vm0", Attribute::ReadOnly, "1");
        let mut reader = request("vm0");
        reader.read_only = true;
        assert_eq!(run(&driver, &reader).unwrap().0.as_str(), "vm0-3");
    }

    #[test]
    fn a_taken_name_is_an_error_and_stays() {
        let driver = ModelDriver::with_live("disk", "other", "sheepa");
        let mut request = request("vm0");
        request.name = Some("disk".parse().unwrap());
        let failure = run(&driver, &request).unwrap_err();
        assert_eq!(failure.errno(), Errno::EXIST);
        assert_eq!(driver.get("disk", Attribute::State), "live");
    }
}
