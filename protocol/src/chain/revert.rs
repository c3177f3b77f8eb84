//! Why a call reverted, in words.

mod words;

use std::fmt;

use ethers_core::abi::{ParamType, Token, decode};

use crate::chain::artifacts::{ContractKind, artifact};

/// A revert, decoded as far as the contracts' ABIs allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    /// The custom error's name, `Error` or `Panic`; empty when nothing is known.
    pub name: String,
    /// The whole of it for people.
    pub text: String,
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Puts a revert's data into words.
#[must_use]
pub fn explain_revert(data: &[u8]) -> Revert {
    let data = &data[..data.len().min(REVERT_BYTES_MAX)];
    let Some((selector, arguments)) = data.split_first_chunk::<4>() else {
        return Revert {
            name: String::new(),
            text: "the contract gave no reason".to_owned(),
        };
    };
    let revert = match selector {
        ERROR_SELECTOR => error_string(arguments),
        PANIC_SELECTOR => panic_code(arguments),
        _ => custom(*selector, arguments),
    };
    revert.unwrap_or_else(|| Revert {
        name: String::new(),
        text: format!("an unknown error 0x{}", hex::encode(selector)),
    })
}

fn error_string(arguments: &[u8]) -> Option<Revert> {
    let tokens = decode(&[ParamType::String], arguments).ok()?;
    Some(Revert {
        name: "Error".to_owned(),
        text: tokens.into_iter().next()?.into_string()?,
    })
}

fn panic_code(arguments: &[u8]) -> Option<Revert> {
    let tokens = decode(&[ParamType::Uint(256)], arguments).ok()?;
    let code = tokens.into_iter().next()?.into_uint()?;
    let meaning = match u64::try_from(code).ok()? {
        0x01 => "a failed assertion",
        0x11 => "an arithmetic overflow",
        0x12 => "a division by zero",
        0x21 => "an unknown enum value",
        0x22 => "broken storage",
        0x31 => "a pop from an empty array",
        0x32 => "an index out of bounds",
        0x41 => "too much memory",
        0x51 => "a call of nothing",
        _ => "an unknown panic",
    };
    Some(Revert {
        name: "Panic".to_owned(),
        text: format!("the contract panicked with {code:#x}: {meaning}"),
    })
}

fn custom(selector: [u8; 4], arguments: &[u8]) -> Option<Revert> {
    let error = ContractKind::ALL
        .into_iter()
        .flat_map(|kind| artifact(kind).abi.errors())
        .find(|error| error.signature().as_bytes().starts_with(&selector))?;
    let tokens = error.decode(arguments).ok()?;
    let values: Vec<(&str, Token)> = error
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .zip(tokens)
        .collect();
    Some(Revert {
        name: error.name.clone(),
        text: words::sentence(&error.name, &values),
    })
}

const ERROR_SELECTOR: &[u8; 4] = &[0x08, 0xc3, 0x79, 0xa0];
const PANIC_SELECTOR: &[u8; 4] = &[0x4e, 0x48, 0x7b, 0x71];

/// Longest revert data that is looked at, in bytes. Chosen: several times a sentence
/// or the parameters of our longest error.
const REVERT_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
