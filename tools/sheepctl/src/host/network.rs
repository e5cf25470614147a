// SPDX-License-Identifier: GPL-2.0

//! Which addresses are this machine's, and which sockets listen.
//!
//! Comes in: tables of `/proc/net`, of the initial network namespace as far as the driver is concerned.
//! Goes out: answers; nothing is sent.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::host::Host;

/// State of a listening socket in `/proc/net/tcp` (TCP_LISTEN).
const LISTENING: &str = "0A";

/// Whether packets to `address` stay on this machine.
pub fn is_local(host: &Host, address: IpAddr) -> bool {
    address.is_loopback() || addresses(host).contains(&address)
}

fn addresses(host: &Host) -> HashSet<IpAddr> {
    let mut found = HashSet::new();
    let read = |path| fs::read_to_string(host.path(path)).unwrap_or_default();
    // The routing table: a line with an address, and below it what the address is.
    let mut last = None;
    for line in read("/proc/net/fib_trie").lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.trim() == "/32 host LOCAL" {
            found.extend(last.map(IpAddr::V4));
        }
    }
    for line in read("/proc/net/if_inet6").lines() {
        let address = line.split(' ').next().unwrap_or_default();
        let number = u128::from_str_radix(address, 16);
        found.extend(number.map(|number| IpAddr::V6(Ipv6Addr::from(number))));
    }
    found
}

/// The inode of a socket, and where it listens.
pub fn listeners(host: &Host) -> Vec<(u64, SocketAddr)> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(host.path(table)).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(listener));
    }
    found
}

/// A line of `tcp` or `tcp6`: number, local address, remote address, state, five more, inode.
fn listener(line: &str) -> Option<(u64, SocketAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTENING {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((
        fields.get(9)?.parse().ok()?,
        SocketAddr::new(ip(address)?, port),
    ))
}

/// An address as the kernel prints it: words of 32 bits in the machine's order of bytes.
fn ip(text: &str) -> Option<IpAddr> {
    let words: Option<Vec<u8>> = (0..text.len() / 8)
        .map(|word| u32::from_str_radix(text.get(word * 8..word * 8 + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()
        .map(|words| words.iter().flat_map(|word| word.to_ne_bytes()).collect());
    let bytes = words?;
    if let Ok(four) = <[u8; 4]>::try_from(&bytes[..]) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(&bytes[..]).ok().map(IpAddr::from)
}

/// Whether a connection to `gateway`, an address of this machine, may reach the socket at `listener`.
pub fn reaches(gateway: SocketAddr, listener: SocketAddr) -> bool {
    gateway.port() == listener.port()
        && (listener.ip().is_unspecified() || listener.ip().to_canonical() == gateway.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn put(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn addresses_of_interfaces_are_local() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "proc/net/fib_trie",
            "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
             Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.7\n        /32 host LOCAL\n     \
             |-- 192.0.2.255\n        /32 link BROADCAST\n",
        );
        put(
            root.path(),
            "proc/net/if_inet6",
            "20010db8000000000000000000000001 02 40 00 80     eth0\n",
        );
        let host = Host::new(root.path());
        for (address, local) in [
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("192.0.2.255", false),
            ("127.0.0.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("::1", true),
        ] {
            assert_eq!(
                is_local(&host, address.parse().unwrap()),
                local,
                "{address}"
            );
        }
    }

    #[test]
    fn listening_sockets_are_found() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "proc/net/tcp",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3101 1 0\n   \
             1: 0100007F:1B58 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3102 1 0\n",
        );
        put(
            root.path(),
            "proc/net/tcp6",
            "  sl  local_address                         remote_address                        st\n   \
             0: 00000000000000000000000000000000:1B59 00000000000000000000000000000000:0000 0A \
             00000000:00000000 00:00000000 00000000     0        0 3103 1 0\n",
        );
        let found = listeners(&Host::new(root.path()));
        let expected = [(3101, "127.0.0.1:7000"), (3103, "[::]:7001")];
        assert_eq!(
            found,
            expected.map(|(inode, at)| (inode, at.parse().unwrap()))
        );
    }

    #[test]
    fn a_gateway_reaches_its_own_address_and_all_addresses() {
        let reach = |gateway: &str, listener: &str| {
            reaches(gateway.parse().unwrap(), listener.parse().unwrap())
        };
        assert!(reach("192.0.2.7:7000", "0.0.0.0:7000"));
        assert!(reach("192.0.2.7:7000", "[::]:7000"));
        assert!(reach("127.0.0.1:7000", "[::ffff:127.0.0.1]:7000"));
        assert!(!reach("192.0.2.7:7000", "127.0.0.1:7000"));
        assert!(!reach("192.0.2.7:7000", "0.0.0.0:7001"));
    }
}
