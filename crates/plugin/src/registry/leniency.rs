//! Which registries may do without TLS and valid certificates: loopback, and those that the
//! operator lists. Decides nothing else.

use error::{Error, Result};
use reqwest::Url;
use std::net::IpAddr;

/// What a registry may do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lenient {
    /// Nothing: https with a valid certificate.
    No,
    /// Listed by the operator: any certificate, and plain HTTP where https fails.
    Listed,
    /// The same, and no proxy either.
    Loopback,
}

/// The operator's list.
#[derive(Debug, Default)]
pub(super) struct Leniency {
    /// Whether loopback is lenient without being listed.
    has_loopback: bool,
    hosts: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
}

impl Leniency {
    /// Reads `host`, `host:port` and CIDR ranges.
    pub(super) fn parse(list: &[String], has_loopback: bool) -> Result<Self> {
        let mut leniency = Self { has_loopback, ..Self::default() };
        for item in list {
            match item.split_once('/') {
                Some((address, bits)) => leniency.networks.push(network(item, address, bits)?),
                None => leniency.hosts.push(item.to_ascii_lowercase()),
            }
        }
        Ok(leniency)
    }

    /// What the server at `url` may do without; asks the resolver only if there are ranges.
    pub(super) async fn of(&self, url: &Url) -> Lenient {
        let Some(host) = url.host_str() else { return Lenient::No };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = bare.parse().ok();
        let is_loopback = host == "localhost" || address.is_some_and(is_loopback);
        if is_loopback && self.has_loopback {
            return Lenient::Loopback;
        }
        let port = url.port_or_known_default().unwrap_or(443);
        let with_port = format!("{host}:{port}");
        let is_named =
            self.hosts.iter().any(|known| [host, bare, &with_port].contains(&known.as_str()));
        if is_named || self.is_in_network(bare, address, port).await {
            return Lenient::Listed;
        }
        Lenient::No
    }

    async fn is_in_network(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        if self.networks.is_empty() {
            return false;
        }
        let addresses: Vec<IpAddr> = match address {
            Some(address) => vec![address],
            None => tokio::net::lookup_host((host, port))
                .await
                .map(|found| found.map(|socket| socket.ip()).collect())
                .unwrap_or_default(),
        };
        // All of them: one address in the range must not open the way to the others.
        !addresses.is_empty()
            && addresses.iter().all(|&ip| self.networks.iter().any(|&net| contains(net, ip)))
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn network(item: &str, address: &str, bits: &str) -> Result<(IpAddr, u8)> {
    let refused =
        || Error::invalid_argument(format!("insecure registry {item:?} is no CIDR range"));
    let address: IpAddr = address.parse().map_err(|_| refused())?;
    let bits: u8 = bits.parse().map_err(|_| refused())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if bits > most { Err(refused()) } else { Ok((address, bits)) }
}

fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(list: &[&str], url: &str) -> Lenient {
        let list: Vec<_> = list.iter().map(|&item| item.to_owned()).collect();
        Leniency::parse(&list, true).unwrap().of(&Url::parse(url).unwrap()).await
    }

    #[tokio::test]
    async fn loopback_and_only_what_is_listed_may_do_without_tls() {
        let list = ["r.example", "s.example:5000", "10.1.0.0/16", "fd00::/8"];
        let cases = [
            ("https://127.8.9.1:5000/", Lenient::Loopback),
            ("https://[::1]/", Lenient::Loopback),
            ("https://localhost:1/", Lenient::Loopback),
            ("https://r.example/", Lenient::Listed),
            ("https://r.example:99/", Lenient::Listed),
            ("https://s.example:5000/", Lenient::Listed),
            ("https://s.example/", Lenient::No),
            ("https://10.1.200.3/", Lenient::Listed),
            ("https://10.2.0.1/", Lenient::No),
            ("https://[fd12::3]/", Lenient::Listed),
            ("https://xr.example/", Lenient::No),
            ("https://127.0.0.1.example/", Lenient::No),
        ];
        for (url, lenient) in cases {
            let list = if url.contains("example") { &list[..2] } else { &list[..] };
            assert_eq!(of(list, url).await, lenient, "{url}");
        }
    }

    #[test]
    fn a_malformed_range_is_refused() {
        for item in ["10.0.0.0/33", "x/8", "fd00::/129", "10.0.0.0/"] {
            assert!(Leniency::parse(&[item.to_owned()], true).is_err(), "{item}");
        }
    }
}
