//! Where webhooks may go: public addresses, and networks that a setting names. Whoever says where events go shall not make the key server
//! knock at doors that only it can reach (server-side request forgery).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use sealcast_objects::problem::{Kind, Problem};

/// Longest address of a webhook.
const URL_MAX: usize = 2000;

/// IPv4 addresses that are nobody's in public (IANA IPv4 Special-Purpose Address Registry), multicast and what is reserved.
const SPECIAL_V4: [([u8; 4], u8); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];
/// All public IPv6 addresses are in here.
const PUBLIC_V6: ([u16; 2], u8) = ([0x2000, 0], 3);
/// But for these (IANA IPv6 Special-Purpose Address Registry): protocols and tunnels (which would carry an IPv4 address past its check), and
/// documentation.
const SPECIAL_V6: [([u16; 2], u8); 4] = [
    ([0x2001, 0], 23),
    ([0x2001, 0xdb8], 32),
    ([0x2002, 0], 16),
    ([0x3fff, 0], 20),
];

/// Networks that webhooks may reach besides public addresses (`webhook_networks`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Guard {
    allowed: Arc<[IpNet]>,
    /// Nothing else.
    only: bool,
}

/// Nothing is sent there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// An address that is not to be reached.
    Address(IpAddr),
    /// Plain HTTP to an address that is not in the networks.
    Plain,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => write!(
                f,
                "{ip} is no public address, and in none of the networks of the setting webhook_networks: nothing is sent there"
            ),
            Self::Plain => f.write_str(
                "plain HTTP is for addresses in the networks of the setting webhook_networks: take https://",
            ),
        }
    }
}

impl std::error::Error for Refused {}

impl Guard {
    /// Public addresses and these networks.
    pub(super) fn new(allowed: &[IpNet]) -> Self {
        Self {
            allowed: allowed.into(),
            only: false,
        }
    }

    /// These networks alone: for what is not encrypted.
    pub(super) fn only(&self) -> Self {
        Self {
            allowed: Arc::clone(&self.allowed),
            only: true,
        }
    }

    /// Whether something may be sent to this address.
    pub(super) fn check(&self, ip: IpAddr) -> Result<(), Refused> {
        let plain = ip.to_canonical();
        if self.allowed.iter().any(|network| network.contains(&plain)) {
            return Ok(());
        }
        match (self.only, is_public(plain)) {
            (false, true) => Ok(()),
            (true, true) => Err(Refused::Plain),
            (_, false) => Err(Refused::Address(ip)),
        }
    }

    /// The address of a webhook: of a form that can be, and not at once one that is refused. What a name stands for is seen when it is sent to.
    pub(crate) fn check_url(&self, text: &str) -> Result<Url, Problem> {
        let refuse = |why: String| Err(Problem::new(Kind::Invalid, why));
        let url = match Url::parse(text) {
            Ok(url) if text.len() <= URL_MAX => url,
            Ok(_) => return refuse(format!("the address has at most {URL_MAX} characters")),
            Err(error) => {
                return refuse(format!(
                    "{text:?} is no address ({error}): write https://HOST/PATH"
                ));
            }
        };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return refuse(
                "the address holds no user, password or fragment: signatures say who sends"
                    .to_owned(),
            );
        }
        match url.scheme() {
            "https" => {}
            "http" if !self.allowed.is_empty() => {}
            "http" => return refuse(Refused::Plain.to_string()),
            other => return refuse(format!("{other}: webhooks are sent by https")),
        }
        match self.check_host(&url) {
            Ok(()) => Ok(url),
            Err(refused) => refuse(refused.to_string()),
        }
    }

    /// As [`Guard::check`], where the host is an address: no name stands for it that is looked up.
    pub(super) fn check_host(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default();
        match host.trim_matches(['[', ']']).parse() {
            Ok(ip) if url.scheme() == "http" => self.only().check(ip),
            Ok(ip) => self.check(ip),
            Err(_) => Ok(()),
        }
    }
}

/// Addresses are connected to as they were checked: what a name stands for a moment later does not matter.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (mut good, mut refused) = (Vec::<SocketAddr>::new(), None);
            for addr in found {
                match guard.check(addr.ip()) {
                    Ok(()) => good.push(addr),
                    Err(why) => refused = Some(why),
                }
            }
            match refused {
                Some(why) if good.is_empty() => Err(why.into()),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !SPECIAL_V4
            .iter()
            .any(|(base, length)| within_v4(ip, *base, *length)),
        IpAddr::V6(ip) => {
            within_v6(ip, PUBLIC_V6) && !SPECIAL_V6.iter().any(|network| within_v6(ip, *network))
        }
    }
}

fn within_v4(ip: Ipv4Addr, base: [u8; 4], length: u8) -> bool {
    Ipv4Net::new_assert(base.into(), length).contains(&ip)
}

fn within_v6(ip: Ipv6Addr, ([first, second], length): ([u16; 2], u8)) -> bool {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), length).contains(&ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(of: &[&str]) -> Guard {
        let networks: Vec<IpNet> = of.iter().map(|net| net.parse().unwrap()).collect();
        Guard::new(&networks)
    }

    #[test]
    fn only_public_addresses_are_reached() {
        let guard = networks(&[]);
        for good in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(guard.check(good.parse().unwrap()), Ok(()), "{good}");
        }
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.2.3",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let ip: IpAddr = bad.parse().unwrap();
            assert_eq!(guard.check(ip), Err(Refused::Address(ip)), "{bad}");
        }
    }

    #[test]
    fn networks_that_are_named_are_reached_and_plainly_only_they() {
        let guard = networks(&["127.0.0.0/8", "fd00:1::/32"]);
        for good in ["127.0.0.1", "::ffff:127.0.0.1", "fd00:1::5"] {
            let ip: IpAddr = good.parse().unwrap();
            assert_eq!(guard.check(ip), Ok(()));
            assert_eq!(guard.only().check(ip), Ok(()));
        }
        let (public, other) = ("1.1.1.1".parse().unwrap(), "10.0.0.1".parse().unwrap());
        assert_eq!(guard.check(public), Ok(()));
        assert_eq!(guard.only().check(public), Err(Refused::Plain));
        assert_eq!(guard.check(other), Err(Refused::Address(other)));
    }

    #[test]
    fn an_address_of_a_form_that_cannot_be_is_refused_with_the_reason() {
        let (closed, open) = (networks(&[]), networks(&["127.0.0.0/8"]));
        let long = format!("https://shop.example/{}", "x".repeat(URL_MAX));
        for (url, says) in [
            ("shop.example", "no address"),
            ("ftp://shop.example/", "https"),
            ("https://", "no address"),
            ("https://ada:secret@shop.example/", "password"),
            ("https://shop.example/#x", "fragment"),
            (long.as_str(), "2000"),
            ("https://10.0.0.1/", "10.0.0.1"),
            ("https://[::1]:8443/", "::1"),
            ("http://1.1.1.1/", "plain HTTP"),
            // Other ways to write 127.0.0.2 and 169.254.169.254.
            ("https://[::ffff:10.0.0.1]/", "no public"),
            ("https://0xa9fea9fe/", "169.254.169.254"),
            ("https://2852039166/", "169.254.169.254"),
            ("https://0251.0376.0251.0376/", "169.254.169.254"),
        ] {
            for guard in [&closed, &open] {
                let why = guard.check_url(url).unwrap_err().detail;
                assert!(why.contains(says), "{url}: {why}");
            }
        }
        for good in ["https://shop.example/hooks?x=1", "https://1.1.1.1:8443/"] {
            closed.check_url(good).unwrap();
        }
        let why = closed.check_url("http://127.0.0.1/").unwrap_err().detail;
        assert!(why.contains("plain HTTP"), "{why}");
        open.check_url("http://127.0.0.1:8080/").unwrap();
        open.check_url("http://127.1/").unwrap();
        // A name is looked up when something is sent.
        open.check_url("http://localhost:8080/").unwrap();
    }

    /// The resolver that connections are made with gives no address that is refused.
    #[tokio::test]
    async fn a_name_that_stands_for_this_host_is_refused() {
        let resolve = async |guard: Guard| guard.resolve("localhost".parse().unwrap()).await;
        let refused = resolve(networks(&[])).await.err().unwrap();
        assert!(
            refused.to_string().contains("no public address"),
            "{refused}"
        );
        let found = resolve(networks(&["127.0.0.0/8"])).await.ok().unwrap();
        let found: Vec<_> = found.collect();
        assert!(
            !found.is_empty() && found.iter().all(|addr| addr.is_ipv4()),
            "{found:?}"
        );
    }
}
