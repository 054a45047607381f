use proptest::prelude::*;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as DeError, StrDeserializer};

use super::*;

fn input(text: &str) -> Input {
    text.parse().unwrap()
}

fn options(text: &str) -> UdpOptions {
    match input(text) {
        Input::Udp(options) => options,
        other => panic!("{other:?}"),
    }
}

fn file(path: &str, repeat: bool) -> Input {
    let path = path.into();
    Input::File { path, repeat }
}

#[test]
fn sockets_as_people_write_them() {
    let all = options(
        "udp://239.1.1.1:5000?iface=eth0&ttl=4&source=10.0.0.5&dscp=34&loop=1&buffer=8388608",
    );
    let expected = UdpOptions {
        addr: "239.1.1.1:5000".parse().unwrap(),
        source: Some([10, 0, 0, 5].into()),
        iface: Some("eth0".into()),
        ttl: Some(4),
        dscp: Some(34),
        loopback: Some(true),
        buffer: Some(8_388_608),
    };
    assert_eq!(all, expected);
    for (text, addr) in [
        ("udp://@239.1.1.1:5000", "239.1.1.1:5000"),
        ("udp://@:5000", "0.0.0.0:5000"),
        ("udp://:5000", "0.0.0.0:5000"),
        ("udp://239.1.1.1:5000/", "239.1.1.1:5000"),
        ("udp://[ff15::1]:5000", "[ff15::1]:5000"),
        ("udp://@[::]:5000", "[::]:5000"),
    ] {
        assert_eq!(
            options(text).addr,
            addr.parse::<SocketAddr>().unwrap(),
            "{text}"
        );
    }
    let rtp = |text| match input(text) {
        Input::Rtp { header, .. } => header,
        other => panic!("{other:?}"),
    };
    assert_eq!(rtp("rtp://239.1.1.1:5000?header=strip"), RtpHeader::Strip);
    assert_eq!(rtp("rtp://239.1.1.1:5000?ttl=3"), RtpHeader::Keep);
}

#[test]
fn files_as_people_write_them() {
    assert_eq!(input("-"), Input::Stdin);
    assert_eq!(
        input("/a/b?c%20:d.ts"),
        file("/a/b?c%20:d.ts", false),
        "plain"
    );
    assert_eq!(input("file:a.ts"), file("a.ts", false));
    assert_eq!(input("file:///a.ts?loop=1"), file("/a.ts", true));
    assert_eq!(
        input("file:///a%20b%3F+100%.ts"),
        file("/a b?+100%.ts", false)
    );
    let pcap = Input::Pcap {
        path: "x.pcap".into(),
        dst: Some("239.1.1.1:5000".parse().unwrap()),
        repeat: true,
    };
    assert_eq!(input("pcap:x.pcap?dst=239.1.1.1:5000&loop=1"), pcap);
    let strip = Output::Stdout { strip: true };
    assert_eq!("-?header=strip".parse(), Ok(strip));
    let file = Output::File {
        path: "o.ts".into(),
        strip: true,
    };
    assert_eq!("file:o.ts?header=strip".parse(), Ok(file));
}

#[test]
fn rates_take_a_suffix_and_a_fraction() {
    let rate = |text: &str| match format!("gen:?rate={text}").parse() {
        Ok(Input::Generated { rate, .. }) => Some(rate),
        _ => None,
    };
    let cases = [
        ("4M", 4_000_000),
        ("250k", 250_000),
        ("1G", 1_000_000_000),
        ("1.5M", 1_500_000),
        ("3800000", 3_800_000),
    ];
    for (text, bits) in cases {
        assert_eq!(rate(text), Some(bits), "{text}");
    }
    for text in [
        "",
        "fast",
        "M",
        "-4M",
        "+4M",
        "4MM",
        "1.M",
        ".5M",
        "100000.5",
        "99k",
        "99999999999G",
        "1.00000000000000000000000M",
    ] {
        assert_eq!(rate(text), None, "{text}");
    }
    let plain = Input::Generated {
        rate: 4_000_000,
        seconds: None,
        seed: 1,
    };
    assert_eq!(input("gen:"), plain);
    let all = Input::Generated {
        rate: 1_000_000,
        seconds: Some(10),
        seed: 7,
    };
    assert_eq!(input("gen:?rate=1M&seconds=10&seed=7"), all);
}

#[test]
fn wrong_inputs_say_why_and_what_to_do() {
    let cases = [
        (
            "udp://239.1.1.1",
            "a port is missing: write udp://ADDRESS:PORT",
        ),
        ("rtp://239.1.1.1", "write rtp://ADDRESS:PORT"),
        ("udp://239.1.1.1:0", "a port is 1 to 65535"),
        ("udp://239.1.1.1:5000/x", "is no port"),
        ("udp://ff15::1:5000", "in brackets"),
        ("udp://[ff15::1]", "a port is missing"),
        ("udp://example.org:5000", "names are not looked up"),
        (
            "udp://239.1.1.1:5000?colour=red",
            "there are iface, source, ttl, dscp, loop, buffer",
        ),
        ("udp://239.1.1.1:5000?header=strip", "no option \"header\""),
        ("udp://239.1.1.1:5000?localaddr=10.0.0.1", "write iface="),
        ("udp://239.1.1.1:5000?ttl=300", "ttl=300"),
        ("udp://239.1.1.1:5000?ttl=3&ttl=4", "twice"),
        ("udp://239.1.1.1:5000?iface=", "no value"),
        ("udp://239.1.1.1:5000?dscp=64", "0 to 63"),
        ("udp://239.1.1.1:5000?loop=maybe", "write 1 or 0"),
        (
            "udp://10.1.1.1:5000?source=10.0.0.1",
            "needs a multicast group",
        ),
        ("udp://239.1.1.1:5000?source=fd00::1", "same address family"),
        ("rtp://239.1.1.1:5000?header=lose", "write keep or strip"),
        ("http://x/", "there are udp://"),
        ("", "there are udp://"),
        ("file:", "a path is missing"),
        ("file:%FF", "UTF-8"),
        ("file:a.ts?repeat=1", "there are loop"),
        ("-?loop=1", "there are none"),
        ("pcap:x?dst=239.1.1.1", "write ADDRESS:PORT"),
        ("gen:?rate=fast", "for example 4M"),
        ("gen:4M", "write gen:?rate=4M"),
    ];
    for (text, why) in cases {
        let error = text.parse::<Input>().unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(text), "{error}");
    }
}

#[test]
fn wrong_outputs_and_groups_say_why_and_what_to_do() {
    let outputs = [
        ("gen:", "there are udp://"),
        ("pcap:x", "there are udp://"),
        ("srt://1.2.3.4:5", "there are udp://"),
        ("udp://@:5000", "an address to send to is missing"),
        ("file:o.ts?header=lose", "write keep or strip"),
    ];
    for (text, why) in outputs {
        let error = text.parse::<Output>().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let groups = [
        ("udp://10.1.1.1:5000", "is no multicast address"),
        ("udp://[fd00::1]:5000", "for example ff15::1"),
        ("239.1.1.1:5000", "is written udp://GROUP:PORT"),
        ("udp://239.1.1.1:5000?color=1", "no option"),
    ];
    for (text, why) in groups {
        let error = text.parse::<Group>().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn they_are_deserialised_from_strings() {
    let from = |text: &'static str| -> StrDeserializer<'_, DeError> { text.into_deserializer() };
    let group = Group::deserialize(from("udp://239.1.1.1:5000?ttl=2")).unwrap();
    assert_eq!(group.options().ttl, Some(2));
    let error = Input::deserialize(from("udp://239.1.1.1")).unwrap_err();
    assert!(error.to_string().contains("a port is missing"));
}

prop_compose! {
    fn any_udp()(
        (ip, port, multicast) in (any::<IpAddr>(), 1_u16.., any::<bool>()),
        source in any::<Option<IpAddr>>(),
        iface in prop::option::of("[a-z0-9@&=?+% .:-]{1,12}"),
        (ttl, dscp, loopback) in (any::<Option<u8>>(), prop::option::of(0_u8..64), any::<Option<bool>>()),
        buffer in any::<Option<usize>>(),
    ) -> UdpOptions {
        let ip = match ip {
            IpAddr::V4(_) if multicast => IpAddr::from([239, 1, 2, 3]),
            ip if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            ip => ip,
        };
        let source = source.filter(|source| source.is_ipv4() == ip.is_ipv4() && ip.is_multicast());
        UdpOptions { addr: SocketAddr::new(ip, port), source, iface, ttl, dscp, loopback, buffer }
    }
}

fn any_path() -> impl Strategy<Value = PathBuf> {
    "[ -~äß]{1,20}".prop_map(PathBuf::from)
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        any_udp().prop_map(Input::Udp),
        (any_udp(), any::<bool>()).prop_map(|(options, strip)| {
            let header = if strip {
                RtpHeader::Strip
            } else {
                RtpHeader::Keep
            };
            Input::Rtp { options, header }
        }),
        (any_path(), any::<bool>()).prop_map(|(path, repeat)| Input::File { path, repeat }),
        Just(Input::Stdin),
        (
            any_path(),
            any::<Option<(std::net::Ipv6Addr, u16)>>(),
            any::<bool>()
        )
            .prop_map(|(path, dst, repeat)| Input::Pcap {
                path,
                dst: dst.map(Into::into),
                repeat
            }),
        (100_000_u64.., any::<Option<u64>>(), any::<u64>()).prop_map(|(rate, seconds, seed)| {
            Input::Generated {
                rate,
                seconds,
                seed,
            }
        }),
    ]
}

fn any_udp_output() -> impl Strategy<Value = UdpOutput> {
    (any_udp(), 0_u64..=1000).prop_map(|(options, smooth)| UdpOutput {
        options,
        smooth: Duration::from_millis(smooth),
    })
}

fn any_output() -> impl Strategy<Value = Output> {
    prop_oneof![
        any_udp_output().prop_map(Output::Udp),
        any_udp_output().prop_map(Output::Rtp),
        (any_path(), any::<bool>()).prop_map(|(path, strip)| Output::File { path, strip }),
        any::<bool>().prop_map(|strip| Output::Stdout { strip }),
    ]
}

#[test]
fn outputs_are_smoothed_unless_it_is_said() {
    let smooth = |text: &str| match text.parse() {
        Ok(Output::Udp(output) | Output::Rtp(output)) => output.smooth,
        other => panic!("{other:?}"),
    };
    assert_eq!(smooth("udp://239.1.1.1:5000"), SMOOTH_DEFAULT);
    assert_eq!(smooth("rtp://239.1.1.1:5000?smooth=0"), Duration::ZERO);
    assert_eq!(
        smooth("udp://239.1.1.1:5000?ttl=3&smooth=25"),
        Duration::from_millis(25)
    );
    for wrong in ["1001", "-1", "10ms"] {
        let error = format!("udp://239.1.1.1:5000?smooth={wrong}").parse::<Output>();
        let error = error.unwrap_err().to_string();
        assert!(error.contains("write milliseconds, 0 to 1000"), "{error}");
    }
}

#[test]
fn a_scope_is_shown_so_that_it_is_read_again() {
    let scoped = input("pcap:x.pcap?dst=[fe80::1%2512]:5000");
    assert_eq!(input(&scoped.to_string()), scoped);
}

proptest! {
    #[test]
    fn what_is_shown_is_what_is_parsed(input in any_input(), output in any_output(), group in any_udp()) {
        prop_assert_eq!(input.to_string().parse(), Ok(input));
        prop_assert_eq!(output.to_string().parse(), Ok(output));
        if group.addr.ip().is_multicast() {
            let group = Group(group);
            prop_assert_eq!(group.to_string().parse(), Ok(group));
        }
    }

    #[test]
    fn any_text_is_survived(text in "(udp|rtp|gen|pcap|file)?:?(//)?[ -~]{0,40}") {
        let _ = (text.parse::<Input>(), text.parse::<Output>(), text.parse::<Group>());
    }
}
