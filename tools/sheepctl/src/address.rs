// SPDX-License-Identifier: GPL-2.0

//! Gateways as people write them, and the addresses behind them.
//!
//! Comes in: `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`. Goes out: socket addresses, names
//! resolved by the C library's resolver. The kernel resolves no names, so this is done here for
//! mappings as well.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::failure::{Failure, Outcome};

/// The port that a sheep listens on by default (protocol section 1).
pub const DEFAULT_PORT: u16 = 7000;

/// One gateway: a host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    host: String,
    port: u16,
}

/// Why a text is not a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    #[error("expected HOST, HOST:PORT, [IPV6] or [IPV6]:PORT, such as 192.0.2.1:7000")]
    Syntax,
    #[error("the port must be a number from 1 to 65535")]
    Port,
    #[error("an IPv6 address goes in brackets: [{0}]:7000")]
    Brackets(String),
}

impl FromStr for Gateway {
    type Err = GatewayError;

    fn from_str(text: &str) -> Result<Self, GatewayError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or(GatewayError::Syntax)?;
                host.parse::<Ipv6Addr>().map_err(|_| GatewayError::Syntax)?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or(GatewayError::Syntax)?),
                };
                (host, port)
            }
            None if text.parse::<Ipv6Addr>().is_ok() => {
                return Err(GatewayError::Brackets(text.to_owned()));
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let unusable = |c: char| c.is_whitespace() || c.is_control() || "[]/@,".contains(c);
        if host.is_empty() || host.contains(unusable) {
            return Err(GatewayError::Syntax);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or(GatewayError::Port)?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Gateway {
    /// All addresses of the gateway, in the resolver's order.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` when the name has no address or cannot be resolved.
    pub fn resolve(&self) -> Outcome<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| self.unresolved(&error.to_string()))?
            .collect();
        if addresses.is_empty() {
            return Err(self.unresolved("the name has no address"));
        }
        Ok(addresses)
    }

    fn unresolved(&self, reason: &str) -> Failure {
        Failure::new(
            Errno::HOSTUNREACH,
            format!("cannot resolve the gateway `{}`: {reason}", self.host),
        )
        .advise("check the name, or give an address such as 192.0.2.1:7000")
    }
}

/// The addresses of all `gateways`, each once, in order. Names that are not resolved within `limit`
/// are left out with a warning, if others are.
///
/// # Errors
///
/// As [`Gateway::resolve`], for the first one, when all fail.
pub fn resolve_all(gateways: &[Gateway], limit: Duration) -> Outcome<Vec<SocketAddr>> {
    let deadline = Instant::now() + limit;
    let lookups: Vec<_> = gateways.iter().map(start_lookup).collect();
    let mut all = Vec::new();
    let mut failures = Vec::new();
    for (gateway, lookup) in gateways.iter().zip(lookups) {
        let left = deadline.saturating_duration_since(Instant::now());
        let resolved = lookup.recv_timeout(left).unwrap_or_else(|_| {
            Err(gateway.unresolved(&format!("the resolver has not answered within {limit:?}")))
        });
        match resolved {
            Err(failure) => failures.push(failure),
            Ok(addresses) => {
                for address in addresses {
                    if !all.contains(&address) {
                        all.push(address);
                    }
                }
            }
        }
    }
    match failures.into_iter() {
        mut failures if all.is_empty() => failures.next().map_or(Ok(all), Err),
        failures => {
            failures.for_each(|failure| eprintln!("sheepctl: warning: {failure}"));
            Ok(all)
        }
    }
}

/// Resolves in a thread, which is left alone when it takes too long: the resolver has limits of its
/// own only.
fn start_lookup(gateway: &Gateway) -> Receiver<Outcome<Vec<SocketAddr>>> {
    let (tell, told) = channel();
    let gateway = gateway.clone();
    thread::spawn(move || tell.send(gateway.resolve()));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, GatewayError> {
        text.parse::<Gateway>().map(|gateway| gateway.to_string())
    }

    #[test]
    fn the_port_defaults_to_7000() {
        assert_eq!(shown("sheep1"), Ok("sheep1:7000".to_owned()));
        assert_eq!(shown("192.0.2.1:7001"), Ok("192.0.2.1:7001".to_owned()));
        assert_eq!(shown("[2001:db8::1]"), Ok("[2001:db8::1]:7000".to_owned()));
        assert_eq!(shown("[::1]:7002"), Ok("[::1]:7002".to_owned()));
    }

    #[test]
    fn bad_gateways_are_refused() {
        for text in [
            "",
            ":7000",
            "[::1",
            "[::1]7000",
            "[sheep1]:7000",
            "a b",
            "a/b:1",
        ] {
            assert_eq!(shown(text), Err(GatewayError::Syntax), "{text}");
        }
        for text in ["sheep1:", "sheep1:0", "sheep1:65536", "sheep1:x", "[::1]:"] {
            assert_eq!(shown(text), Err(GatewayError::Port), "{text}");
        }
        assert_eq!(
            shown("fe80::1"),
            Err(GatewayError::Brackets("fe80::1".to_owned()))
        );
    }

    #[test]
    fn addresses_resolve_to_themselves_once() {
        let gateways = ["127.0.0.1", "[::1]:7001", "127.0.0.1:7000"].map(|g| g.parse().unwrap());
        let addresses = resolve_all(&gateways, Duration::from_secs(30)).unwrap();
        assert_eq!(
            addresses,
            ["127.0.0.1:7000", "[::1]:7001"].map(|a| a.parse().unwrap())
        );
    }

    #[test]
    fn names_without_address_are_left_out_if_others_have_one() {
        let limit = Duration::from_secs(60);
        let gateways = ["no-such-host.invalid", "127.0.0.1"].map(|g| g.parse().unwrap());
        let addresses = resolve_all(&gateways, limit).unwrap();
        assert_eq!(addresses, ["127.0.0.1:7000".parse().unwrap()]);
        let failure = resolve_all(&gateways[..1], limit).unwrap_err();
        assert_eq!(failure.errno(), Errno::HOSTUNREACH);
    }

    #[test]
    fn a_name_without_address_says_which() {
        let gateway: Gateway = "no-such-host.invalid".parse().unwrap();
        let failure = gateway.resolve().unwrap_err();
        assert_eq!(failure.errno(), Errno::HOSTUNREACH);
        assert!(failure.to_string().contains("no-such-host.invalid"));
    }
}
