// SPDX-License-Identifier: GPL-2.0

//! A stock kernel, made ready to boot quickly. In: a directory with a distribution's `vmlinuz`
//! and `lib/modules/<release>`. Out: the kernel proper, an initramfs, an image of the modules; all
//! kept in the cache. The kernel's code is never changed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use cpio::newc;

use crate::cache::{self, Key};
use crate::modules::Modules;

/// Version of what this file makes; part of the cache key.
const VERSION: u32 = 1;

/// What the initramfs loads: disks, the root image, its overlay, the network.
const BOOT_MODULES: &[&str] = &["virtio_pci", "virtio_blk", "erofs", "overlay", "virtio_net"];

/// The initramfs's process 1.
const INIT: &[u8] = include_bytes!("../guest/init");

/// Where the package busybox-static puts the binary.
const BUSYBOX: &str = "/usr/bin/busybox";

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What `uname -r` will say.
    pub release: String,
    /// For QEMU's `-kernel`.
    pub image: PathBuf,
    /// For `-initrd`.
    pub initramfs: PathBuf,
    /// Image of the directory of modules.
    pub modules: PathBuf,
}

impl Kernel {
    /// Takes a directory with `vmlinuz` and `lib/modules/<release>`.
    pub fn prepare(directory: &Path, cache: &Path) -> Result<Self> {
        let vmlinuz = directory.join("vmlinuz");
        if !vmlinuz.is_file() {
            bail!(
                "{}: no such file; a kernel is given as a directory with `vmlinuz` and \
                 `lib/modules/<release>` in it",
                vmlinuz.display()
            );
        }
        let directory = only_entry(&directory.join("lib/modules"))?;
        let release = directory
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut key = Key::new("kernel", VERSION);
        key.add(release.as_bytes());
        key.add(INIT);
        key.add_file(&vmlinuz)?;
        key.add_file(&directory.join("modules.dep"))?;
        let made = cache::directory(cache, "kernel", key, |target| {
            fs::write(target.join("kernel"), bootable(&fs::read(&vmlinuz)?)?)?;
            initramfs(&target.join("initramfs"), &Modules::open(&directory)?)
                .context("make the initramfs")?;
            cache::erofs(&target.join("modules"), &directory)
        })?;
        Ok(Self {
            release,
            image: made.join("kernel"),
            initramfs: made.join("initramfs"),
            modules: made.join("modules"),
        })
    }
}

/// The one entry of a directory.
fn only_entry(directory: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(directory)
        .with_context(|| format!("{}", directory.display()))?
        .flatten();
    match (entries.next(), entries.next()) {
        (Some(entry), None) => Ok(entry.path()),
        _ => bail!(
            "{}: expected the modules of one kernel",
            directory.display()
        ),
    }
}

/// Takes the kernel proper out of a bzImage, for QEMU to start it directly (PVH): decompressing
/// itself takes an emulated CPU one to two seconds. Anything else is returned as it is.
fn bootable(vmlinuz: &[u8]) -> Result<Vec<u8>> {
    let Some(payload) = payload(vmlinuz) else {
        return Ok(vmlinuz.to_vec());
    };
    let tool = match payload {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "xz",
        [0x1f, 0x8b, ..] => "gzip",
        _ => return Ok(vmlinuz.to_vec()),
    };
    let kernel = decompress(tool, payload).context("decompress the kernel")?;
    if kernel.starts_with(b"\x7fELF") {
        Ok(kernel)
    } else {
        Ok(vmlinuz.to_vec())
    }
}

/// The compressed kernel in a bzImage (Documentation/arch/x86/boot.rst: `setup_sects`,
/// `payload_offset`, `payload_length`). Its last four bytes are the length when decompressed.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = match usize::from(*image.get(0x1f1)?) {
        0 => 4,
        sectors => sectors,
    };
    let start = ((setup_sectors + 1) * 512).checked_add(word(0x248)?)?;
    let length = word(0x24c)?.checked_sub(4)?;
    image.get(start..start.checked_add(length)?)
}

/// Runs a decompressor over `data`.
pub fn decompress(tool: &str, data: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new(tool)
        .args(["-d", "-c", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{tool}: install the package of that name"))?;
    let mut input = child.stdin.take().context("input of the decompressor")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // An early end shows in the exit status.
            let _ = input.write_all(data);
        });
        child.wait_with_output()
    })?;
    if !output.status.success() {
        bail!("{tool}: {}", output.status);
    }
    Ok(output.stdout)
}

fn initramfs(path: &Path, modules: &Modules) -> Result<()> {
    let mut archive = Archive {
        out: BufWriter::new(File::create(path)?),
        inode: 0,
    };
    for directory in ["bin", "dev", "modules", "new", "proc"] {
        archive.add(directory, 0o040_755, &[])?;
    }
    let busybox = fs::read(BUSYBOX)
        .with_context(|| format!("{BUSYBOX}: install the package busybox-static"))?;
    archive.add("bin/busybox", 0o100_755, &busybox)?;
    archive.add("bin/sh", 0o120_777, b"busybox")?;
    archive.add("init", 0o100_755, INIT)?;
    let mut order = String::new();
    for module in modules.closure(BOOT_MODULES)? {
        let name = format!("{}.ko", module.name);
        archive.add(&format!("modules/{name}"), 0o100_644, &module.read()?)?;
        order.push_str(&name);
        order.push('\n');
    }
    archive.add("modules/order", 0o100_644, order.as_bytes())?;
    newc::trailer(archive.out)?.flush()?;
    Ok(())
}

/// An archive as the kernel unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst).
struct Archive {
    out: BufWriter<File>,
    inode: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).context("file too large")?;
        let mut writer = newc::Builder::new(name)
            .ino(self.inode)
            .mode(mode)
            .write(&mut self.out, size);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bz_image(payload_length: u32) -> Vec<u8> {
        let mut image = vec![0; 8192];
        image[0x1f1] = 3;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&100u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&payload_length.to_le_bytes());
        image[2148..2152].copy_from_slice(b"abcd");
        image
    }

    #[test]
    fn the_payload_is_where_the_header_says() {
        assert_eq!(payload(&bz_image(8)), Some(&b"abcd"[..]));
    }

    #[test]
    fn a_payload_beyond_the_end_is_none() {
        assert_eq!(payload(&bz_image(u32::MAX)), None);
        assert_eq!(payload(&bz_image(3)), None);
        assert_eq!(payload(b"MZ"), None);
    }

    #[test]
    fn an_unknown_format_boots_as_it_is() {
        let image = bz_image(8);
        assert_eq!(bootable(&image).unwrap(), image);
    }

    #[test]
    fn a_compressed_kernel_is_taken_out() {
        let kernel = b"\x7fELF and so on";
        let mut gzip = Command::new("gzip")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        gzip.stdin.take().unwrap().write_all(kernel).unwrap();
        let packed = gzip.wait_with_output().unwrap().stdout;
        let mut image = bz_image(u32::try_from(packed.len()).unwrap() + 4);
        image[2148..2148 + packed.len()].copy_from_slice(&packed);
        assert_eq!(bootable(&image).unwrap(), kernel);
    }
}
