//! Proxies before the server: whom they ask for.
//!
//! `Forwarded` (RFC 7239) and `X-Forwarded-For` are read from the right, as far as
//! trusted proxies wrote them; what stands further left a client may have invented.

use std::io;
use std::net::IpAddr;

use axum::http::header::FORWARDED;
use axum::http::{HeaderMap, HeaderName};
use bytes::BytesMut;
use ipnet::IpNet;
use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::ProxyNetwork;

/// The proxies that are believed.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies(Vec<IpNet>);

/// Addresses from the client to the last proxy; `None` is one that is hidden.
type Chain = Vec<Option<IpAddr>>;

impl Proxies {
    pub(super) fn new(networks: &[ProxyNetwork]) -> Self {
        Self(networks.iter().flat_map(ProxyNetwork::networks).collect())
    }

    /// True when somebody with this address is believed.
    pub(super) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// The client that a request comes from, when the proxies on its way say so.
    pub(super) fn client(&self, remote: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let remote = remote?;
        if !self.trusts(remote) {
            return Some(remote);
        }
        let told = [
            chain(headers, &FORWARDED, forwarded),
            chain(headers, &X_FORWARDED_FOR, forwarded_for),
        ];
        let chain = match told {
            [Some(one), None] | [None, Some(one)] => one,
            // A proxy that writes one of them passes on what a client put into the other.
            [Some(one), Some(other)] if one == other => one,
            [Some(_), Some(_)] | [None, None] => return None,
        };
        let mut client = None;
        for hop in chain.into_iter().rev() {
            client = Some(hop?.to_canonical());
            if !self.trusts(hop?) {
                break;
            }
        }
        client
    }
}

/// All lines of one header; a line that cannot be read hides everybody.
fn chain(headers: &HeaderMap, name: &HeaderName, read: fn(&str) -> Option<Chain>) -> Option<Chain> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    let lines: Option<Vec<Chain>> = lines.map(|line| read(line.to_str().ok()?)).collect();
    Some(lines.map_or_else(|| vec![None], |lines| lines.concat()))
}

fn forwarded_for(line: &str) -> Option<Chain> {
    Some(line.split(',').map(node).collect())
}

fn forwarded(line: &str) -> Option<Chain> {
    let elements = split(line, ',')?.into_iter().map(|element| {
        let pairs = split(element, ';')?;
        let mut pairs = pairs.into_iter().filter_map(|pair| pair.split_once('='));
        let (_, shown) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        node(shown)
    });
    Some(elements.collect())
}

/// The address of a node, with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    let without_port = || text.rsplit_once(':')?.0.parse().ok();
    text.parse().ok().or_else(without_port)
}

/// Splits outside of quotes; `None` when one is left open.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if letter == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

/// How a connection of a trusted proxy begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With a header of the PROXY protocol, which names the client, unless the proxy
    /// asks for itself or does not know.
    Header(Option<IpAddr>),
    /// With something else.
    Other,
}

/// Reads the header of the PROXY protocol, version 1 or 2, if the connection begins
/// with one; hands back the bytes that were read and belong to no header.
///
/// # Errors
///
/// What the stream says, and `InvalidData` when the header cannot be read.
pub(super) async fn read_start<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> io::Result<(Start, BytesMut)> {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES_MAX);
    loop {
        let begins_like = |prefix: &[u8]| bytes.iter().zip(prefix).all(|(one, other)| one == other);
        let (is_v1, is_v2) = (begins_like(V1_PREFIX), begins_like(v2::PROTOCOL_PREFIX));
        if !is_v1 && !is_v2 {
            return Ok((Start::Other, bytes));
        }
        let length = match bytes.get(V2_BYTES_MIN - 2..V2_BYTES_MIN) {
            Some(rest) if is_v2 => {
                Some(V2_BYTES_MIN + usize::from(rest[0]) * 256 + usize::from(rest[1]))
            }
            _ if is_v1 => bytes
                .iter()
                .position(|byte| *byte == b'\n')
                .map(|at| at + 1),
            _ => None,
        };
        if length.is_some_and(|length| length <= bytes.len()) {
            let header = bytes.split_to(length.unwrap_or_default());
            let client = client_of(&header).ok_or_else(unreadable)?;
            return Ok((Start::Header(client), bytes));
        }
        if bytes.len() == HEADER_BYTES_MAX {
            return Err(unreadable());
        }
        let room = HEADER_BYTES_MAX - bytes.len();
        let count = stream.take(room as u64).read_buf(&mut bytes).await?;
        if count == 0 {
            return Ok((Start::Other, bytes));
        }
    }
}

fn unreadable() -> io::Error {
    let message = "the header of the PROXY protocol cannot be read";
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The client that a whole header names; `None` when it is no header.
fn client_of(header: &[u8]) -> Option<Option<IpAddr>> {
    Some(match HeaderResult::parse(header) {
        HeaderResult::V1(header) => match header.ok()?.addresses {
            v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
            v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
            v1::Addresses::Unknown => None,
        },
        HeaderResult::V2(header) => {
            let header = header.ok()?;
            match header.addresses {
                _ if header.command == v2::Command::Local => None,
                v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
                v2::Addresses::IPv6(addresses) => Some(addresses.source_address.into()),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
            }
        }
    })
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

const V1_PREFIX: &[u8] = b"PROXY ";

/// The fixed part of a header of version 2, whose last two bytes count the rest.
const V2_BYTES_MIN: usize = 16;

/// Longest header. Chosen: version 1 has 107 bytes at most, version 2 some hundred when
/// it tells of TLS.
const HEADER_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
