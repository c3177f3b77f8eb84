//! What goes over the wire. Responses are read and written by hand, so that
//! megabytes of blocks are neither copied nor encoded twice.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use cid::Cid;
use serde::{Deserialize, Serialize};

use super::{CIDS_MAX, PAYLOAD_BYTES_MAX};
use crate::codec::{self, DecodeError};
use crate::unixfs::BLOCK_BYTES_MAX;
use crate::wire::{Protocol, ProtocolLimits};

/// Asks for blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// 1 to [`CIDS_MAX`] different blocks, the most urgent first.
    pub cids: Vec<Cid>,
}

/// Answers a prefix of a request's CIDs, in their order. What is not answered
/// did not fit and may be asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// One answer per CID of the prefix.
    pub answers: Vec<Answer>,
}

/// What a peer says about one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its bytes, not yet checked.
    Data(Bytes),
    /// The peer does not have it.
    Missing,
    /// The peer does not want to say yet; ask again later.
    Busy,
}

impl Request {
    /// Writes the request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it is too long, malformed, empty, or repeats a CID.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let request: Self = codec::from_bytes(REQUEST, bytes, LIMITS.request_bytes_max)?;
        if request.cids.len() > CIDS_MAX {
            return Err(DecodeError::TooLarge {
                what: "number of CIDs in a block request",
                size: request.cids.len(),
                limit: CIDS_MAX,
            });
        }
        let distinct: BTreeSet<&Cid> = request.cids.iter().collect();
        if distinct.is_empty() || distinct.len() != request.cids.len() {
            return Err(DecodeError::Invalid {
                what: REQUEST,
                reason: "its CIDs are none or not all different".to_owned(),
            });
        }
        Ok(request)
    }
}

impl Response {
    /// The same answer to `count` blocks.
    #[must_use]
    pub fn all(answer: &Answer, count: usize) -> Self {
        Self {
            answers: vec![answer.clone(); count],
        }
    }

    /// Bytes of the blocks in it.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.answers.iter().map(Answer::payload_bytes).sum()
    }

    /// Writes the response.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let size = self.payload_bytes() + 16 * (self.answers.len() + 1);
        let mut out = BytesMut::with_capacity(size);
        out.put_slice(HEADER);
        put_header(&mut out, ARRAY, self.answers.len());
        for answer in &self.answers {
            match answer {
                Answer::Data(data) => {
                    put_header(&mut out, BYTES, data.len());
                    out.put_slice(data);
                }
                Answer::Missing => put_text(&mut out, MISSING),
                Answer::Busy => put_text(&mut out, BUSY),
            }
        }
        out.freeze()
    }

    /// Reads a response without copying the blocks.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it is too long, malformed or not canonical, or has
    /// more than [`CIDS_MAX`] answers or [`PAYLOAD_BYTES_MAX`] of blocks.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let limit = LIMITS.response_bytes_max;
        if bytes.len() > limit {
            return Err(too_large(RESPONSE, bytes.len(), limit));
        }
        let mut rest = bytes.clone();
        if !rest.starts_with(HEADER) {
            return Err(invalid("it does not start with `blocks`"));
        }
        let _ = rest.split_to(HEADER.len());
        let (kind, count) = take_header(&mut rest)?;
        if kind != ARRAY || count > CIDS_MAX {
            return Err(invalid("its blocks are not a list of at most 64"));
        }
        let mut answers = Vec::with_capacity(count);
        let mut payload = 0;
        for _ in 0..count {
            let answer = take_answer(&mut rest)?;
            payload += answer.payload_bytes();
            if payload > PAYLOAD_BYTES_MAX {
                return Err(too_large(
                    "payload of a block response",
                    payload,
                    PAYLOAD_BYTES_MAX,
                ));
            }
            answers.push(answer);
        }
        if rest.is_empty() {
            Ok(Self { answers })
        } else {
            Err(invalid("other bytes follow it"))
        }
    }
}

impl Answer {
    fn payload_bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Missing | Self::Busy => 0,
        }
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    put_header(out, TEXT, text.len());
    out.put_slice(text.as_bytes());
}

/// Writes the shortest CBOR header of a major type and a length.
fn put_header(out: &mut BytesMut, kind: u8, length: usize) {
    let length = u32::try_from(length).expect("a response is far smaller than 4 GiB");
    match length {
        0..24 => out.put_u8(kind | u8::try_from(length).expect("below 24")),
        24..=0xff => {
            out.put_u8(kind | 24);
            out.put_u8(u8::try_from(length).expect("at most 255"));
        }
        0x100..=0xffff => {
            out.put_u8(kind | 25);
            out.put_u16(u16::try_from(length).expect("at most 65,535"));
        }
        _ => {
            out.put_u8(kind | 26);
            out.put_u32(length);
        }
    }
}

fn take_answer(rest: &mut Bytes) -> Result<Answer, DecodeError> {
    let (kind, length) = take_header(rest)?;
    if length > rest.len() {
        return Err(invalid("a block is cut off"));
    }
    let content = rest.split_to(length);
    match (kind, &content[..]) {
        (BYTES, _) if length > BLOCK_BYTES_MAX => {
            Err(too_large("block in a response", length, BLOCK_BYTES_MAX))
        }
        (BYTES, _) => Ok(Answer::Data(content)),
        (TEXT, text) if text == MISSING.as_bytes() => Ok(Answer::Missing),
        (TEXT, text) if text == BUSY.as_bytes() => Ok(Answer::Busy),
        _ => Err(invalid(
            "an answer is neither bytes nor `missing` nor `busy`",
        )),
    }
}

fn take_header(rest: &mut Bytes) -> Result<(u8, usize), DecodeError> {
    let first = *rest.first().ok_or_else(|| invalid("it is cut off"))?;
    let (width, smallest) = match first & 0x1f {
        length @ 0..24 => {
            let _ = rest.split_to(1);
            return Ok((first & 0xe0, usize::from(length)));
        }
        24 => (1, 24),
        25 => (2, 0x100),
        26 => (4, 0x1_0000),
        _ => return Err(invalid("a length is not one of DAG-CBOR")),
    };
    if rest.len() <= width {
        return Err(invalid("it is cut off"));
    }
    let header = rest.split_to(1 + width);
    let length = header[1..]
        .iter()
        .fold(0usize, |length, byte| length << 8 | usize::from(*byte));
    if length < smallest {
        return Err(DecodeError::NotCanonical { what: RESPONSE });
    }
    Ok((first & 0xe0, length))
}

fn invalid(reason: &str) -> DecodeError {
    DecodeError::Invalid {
        what: RESPONSE,
        reason: reason.to_owned(),
    }
}

const fn too_large(what: &'static str, size: usize, limit: usize) -> DecodeError {
    DecodeError::TooLarge { what, size, limit }
}

const LIMITS: ProtocolLimits = Protocol::Blocks.limits();

const REQUEST: &str = "block request";
const RESPONSE: &str = "block response";
const MISSING: &str = "missing";
const BUSY: &str = "busy";

/// A map of one key, `blocks`.
const HEADER: &[u8] = b"\xa1\x66blocks";

const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;
