// SPDX-License-Identifier: GPL-2.0

//! What the driver logged while a command ran.
//!
//! The driver explains every refusal in the kernel log. A [`KernelLog`] is opened before the
//! command writes to the driver and read when that failed. Without the right to read `/dev/kmsg`
//! the user is sent to `dmesg`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use crate::host::Host;
use crate::name::MappingName;

/// Lines shown at most: the last ones, which are about this command.
const MAX_LINES: usize = 5;

/// Longest record that `/dev/kmsg` returns (`PRINTK_MESSAGE_MAX` in the kernel, rounded up).
const RECORD_BYTES: usize = 8192;

/// A place in the kernel log.
#[derive(Debug)]
pub struct KernelLog {
    file: Option<File>,
}

impl KernelLog {
    /// The log's present end.
    pub fn here(host: &Host) -> Self {
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nonblocking)
            .open(host.path("/dev/kmsg"))
            .and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file));
        Self { file: file.ok() }
    }

    /// What to tell the user after a failure: the driver's lines about `mapping` since
    /// [`Self::here`], or where to look for them.
    pub fn explain(&mut self, mapping: &MappingName) -> Vec<String> {
        let Some(file) = &mut self.file else {
            return vec!["`dmesg | grep sheep` as root shows the driver's reason".to_owned()];
        };
        let mut lines = Vec::new();
        let mut record = vec![0; RECORD_BYTES];
        loop {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    lines.extend(messages(&text).filter(|line| concerns(line, mapping)));
                }
                Err(error) if overwritten(&error) => {}
                Err(_) => break,
            }
        }
        let surplus = lines.len().saturating_sub(MAX_LINES);
        lines
            .into_iter()
            .skip(surplus)
            .map(|line| format!("kernel: {line}"))
            .collect()
    }
}

/// Records were overwritten before they were read; the next read goes on after the gap.
fn overwritten(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error())
}

/// The texts of records as `/dev/kmsg` returns them: `6,1234,5678,-;text`, then lines that start
/// with a space and hold key-value pairs.
fn messages(records: &str) -> impl Iterator<Item = String> + '_ {
    records
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_once(';'))
        .map(|(_, text)| text.to_owned())
}

/// Whether the driver wrote `line`, about this mapping or about a disk.
fn concerns(line: &str, mapping: &MappingName) -> bool {
    line.starts_with("sheep") || line.contains(&format!("{mapping}:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn mapping() -> MappingName {
        "vm0".parse().unwrap()
    }

    #[test]
    fn only_the_drivers_lines_since_the_start_are_shown() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("dev")).unwrap();
        let path = root.path().join("dev/kmsg");
        std::fs::write(&path, "6,1,10,-;sheepdog: vm0: an old line\n").unwrap();
        let mut log = KernelLog::here(&Host::new(root.path()));
        let mut kernel = OpenOptions::new().append(true).open(&path).unwrap();
        kernel
            .write_all(
                b"6,2,20,-;usb 1-1: new device\n SUBSYSTEM=usb\n\
                  3,3,30,-;sheepdog: vm0: 192.0.2.1:7000: Connection refused; is a sheep there?\n\
                  4,4,40,-;vm0: giving up\n",
            )
            .unwrap();
        assert_eq!(
            log.explain(&mapping()),
            [
                "kernel: sheepdog: vm0: 192.0.2.1:7000: Connection refused; is a sheep there?",
                "kernel: vm0: giving up"
            ]
        );
    }

    #[test]
    fn a_flood_leaves_the_last_lines() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("dev")).unwrap();
        let path = root.path().join("dev/kmsg");
        std::fs::write(&path, "").unwrap();
        let mut log = KernelLog::here(&Host::new(root.path()));
        let flood: Vec<String> = (0..40)
            .map(|n| format!("4,{n},1,-;sheepa: line {n}\n"))
            .collect();
        std::fs::write(&path, flood.concat()).unwrap();
        let lines = log.explain(&mapping());
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[MAX_LINES - 1], "kernel: sheepa: line 39");
    }

    #[test]
    fn without_permission_the_user_is_sent_to_dmesg() {
        let root = tempfile::tempdir().unwrap();
        let lines = KernelLog::here(&Host::new(root.path())).explain(&mapping());
        assert!(lines[0].contains("dmesg"), "{lines:?}");
    }
}
