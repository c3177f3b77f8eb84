use axum::http::HeaderValue;
use bytes::Bytes;
use proptest::prelude::*;
use tokio_util::io::StreamReader;

use super::*;

fn proxies() -> Proxies {
    let networks = ["loopback", "10.1.0.0/16", "2001:db8:5::/48"];
    Proxies::new(&networks.map(|text| text.parse().unwrap()))
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let lines = lines.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        (HeaderName::from_static(name), value)
    });
    lines.collect()
}

fn check(remote: &str, lines: &[(&'static str, &str)], client: Option<&str>) {
    let found = proxies().client(remote.parse().ok(), &headers(lines));
    assert_eq!(
        found.map(|ip| ip.to_string()).as_deref(),
        client,
        "{lines:?}"
    );
}

#[test]
fn nobody_but_a_trusted_proxy_says_for_whom_it_asks() {
    let lie = [
        ("x-forwarded-for", "192.0.2.9"),
        ("forwarded", "for=192.0.2.9"),
    ];
    for remote in ["198.51.100.1", "10.2.0.1", "2001:db8:6::1"] {
        check(remote, &lie, Some(remote));
    }
    check("127.0.0.1", &lie, Some("192.0.2.9"));
    check("::ffff:10.1.0.1", &lie, Some("192.0.2.9"));
}

#[test]
fn the_client_is_the_rightmost_that_is_no_trusted_proxy() {
    for list in [
        "192.0.2.9",
        "192.0.2.8, 192.0.2.9",
        "unknown, 192.0.2.9",
        "127.0.0.1, 192.0.2.9,10.1.2.3",
        "192.0.2.9:4711, [2001:db8:5::1]:80, 127.0.0.1",
    ] {
        check("::1", &[("x-forwarded-for", list)], Some("192.0.2.9"));
    }
    for list in [
        "for=192.0.2.9",
        "For=\"192.0.2.9:4711\";proto=https;by=10.1.0.1",
        "for=192.0.2.8;host=\"a,b;for=1.2.3.4\", proto=https;for=192.0.2.9",
        "for=_hidden, for=192.0.2.9, for=\"[2001:db8:5::1]:80\"",
    ] {
        check("127.0.0.1", &[("forwarded", list)], Some("192.0.2.9"));
    }
    let v6 = [("forwarded", "for=\"[2001:db8:7::9]\"")];
    check("127.0.0.1", &v6, Some("2001:db8:7::9"));
    let lines = [
        ("x-forwarded-for", "192.0.2.8"),
        ("x-forwarded-for", "192.0.2.9"),
    ];
    check("127.0.0.1", &lines, Some("192.0.2.9"));
    // Somebody behind the proxy's own network.
    check(
        "127.0.0.1",
        &[("x-forwarded-for", "10.1.9.9, 10.1.0.1")],
        Some("10.1.9.9"),
    );
}

#[test]
fn who_is_hidden_or_invented_is_unknown() {
    check("127.0.0.1", &[], None);
    for list in [
        "unknown",
        "192.0.2.9, unknown",
        "192.0.2.9, ",
        "",
        "192.0.2.9, caf\u{e9}",
    ] {
        check("127.0.0.1", &[("x-forwarded-for", list)], None);
    }
    for list in [
        "for=unknown",
        "for=192.0.2.9, proto=https",
        // An open quote would hide what the proxy wrote behind it.
        "for=192.0.2.7;x=\", for=192.0.2.9",
        "for=192.0.2.7;x=\"\\, for=\"[2001:db8::9]\"",
    ] {
        check("127.0.0.1", &[("forwarded", list)], None);
    }
    let both = [
        ("forwarded", "for=192.0.2.7"),
        ("x-forwarded-for", "192.0.2.9"),
    ];
    check("127.0.0.1", &both, None);
    let both = [
        ("forwarded", "for=192.0.2.9"),
        ("x-forwarded-for", "192.0.2.9"),
    ];
    check("127.0.0.1", &both, Some("192.0.2.9"));
}

/// What comes in pieces of some bytes is read alike.
async fn read(bytes: &[u8], piece: usize) -> io::Result<(Start, Vec<u8>)> {
    let pieces = bytes
        .chunks(piece.max(1))
        .map(|piece| io::Result::Ok(Bytes::copy_from_slice(piece)));
    let mut stream = StreamReader::new(futures::stream::iter(pieces.collect::<Vec<_>>()));
    let (start, mut read) = read_start(&mut stream).await?;
    while stream.read_buf(&mut read).await? > 0 {}
    Ok((start, read.to_vec()))
}

async fn check_header(header: &[u8], client: Option<&str>) {
    let request = b"GET / HTTP/1.1\r\n";
    for piece in [1, 7, 1000] {
        let (start, rest) = read(&[header, request].concat(), piece).await.unwrap();
        assert_eq!(
            start,
            Start::Header(client.map(|text| text.parse().unwrap()))
        );
        assert_eq!(rest, request);
    }
}

fn v2_header(command: v2::Command, addresses: v2::Addresses) -> Vec<u8> {
    let builder =
        v2::Builder::with_addresses(v2::Version::Two | command, v2::Protocol::Stream, addresses);
    let builder = builder.write_tlv(v2::Type::NoOp, b"filler".as_slice());
    builder.unwrap().build().unwrap()
}

#[tokio::test]
async fn both_versions_of_the_proxy_protocol_name_the_client() {
    check_header(
        b"PROXY TCP4 192.0.2.9 127.0.0.1 4711 4000\r\n",
        Some("192.0.2.9"),
    )
    .await;
    check_header(
        b"PROXY TCP6 2001:db8::9 ::1 4711 4000\r\n",
        Some("2001:db8::9"),
    )
    .await;
    check_header(b"PROXY UNKNOWN\r\n", None).await;
    let v4 = v2::IPv4::new([192, 0, 2, 9], [127, 0, 0, 1], 4711, 4000);
    check_header(&v2_header(v2::Command::Proxy, v4.into()), Some("192.0.2.9")).await;
    check_header(&v2_header(v2::Command::Local, v4.into()), None).await;
    let source: std::net::Ipv6Addr = "2001:db8::9".parse().unwrap();
    let v6 = v2::IPv6::new(source, source, 4711, 4000);
    check_header(
        &v2_header(v2::Command::Proxy, v6.into()),
        Some("2001:db8::9"),
    )
    .await;
}

#[tokio::test]
async fn what_is_no_header_is_left_as_it_is() {
    for bytes in [
        "GET / HTTP/1.1\r\n",
        "POST /relay HTTP/1.1\r\n",
        "PROXIES",
        "PR",
        "",
    ] {
        for piece in [1, 1000] {
            let (start, rest) = read(bytes.as_bytes(), piece).await.unwrap();
            assert_eq!(start, Start::Other);
            assert_eq!(rest, bytes.as_bytes());
        }
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_read_is_an_error() {
    let long = [
        b"PROXY TCP4 ".as_slice(),
        &[b'1'; HEADER_BYTES_MAX],
        b"\r\n",
    ]
    .concat();
    let far = [
        v2::PROTOCOL_PREFIX,
        b"\x21\x11\xff\xff",
        &[0; HEADER_BYTES_MAX],
    ]
    .concat();
    for bytes in [
        b"PROXY TCP4 192.0.2.9\r\n".as_slice(),
        b"PROXY TCP4 192.0.2.999 127.0.0.1 4711 4000\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x041234",
        &long,
        &far,
    ] {
        assert!(read(bytes, 1000).await.is_err(), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn what_a_client_writes_does_not_change_what_the_proxy_wrote(text in "[ -~]{0,60}") {
        let line = format!("{text}, 192.0.2.9");
        let found = proxies().client(Some([127, 0, 0, 1].into()), &headers(&[("x-forwarded-for", &line)]));
        prop_assert_eq!(found, Some([192, 0, 2, 9].into()));
        let line = format!("{text}, for=192.0.2.9");
        let found = proxies().client(Some([127, 0, 0, 1].into()), &headers(&[("forwarded", &line)]));
        prop_assert!(found.is_none() || found == Some([192, 0, 2, 9].into()), "{found:?}");
    }

    #[test]
    fn arbitrary_bytes_are_a_header_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0..3usize) {
        let start: &[u8] = [&b""[..], b"PROXY TCP4 1", v2::PROTOCOL_PREFIX][start];
        let bytes = [start, &bytes].concat();
        let _ = client_of(&bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (whole, parts) = runtime.block_on(async { (read(&bytes, 1000).await, read(&bytes, 1).await) });
        prop_assert_eq!(whole.is_ok(), parts.is_ok());
        if let (Ok(whole), Ok(parts)) = (whole, parts) {
            prop_assert!(bytes.ends_with(&whole.1));
            prop_assert_eq!(whole, parts);
        }
    }
}
