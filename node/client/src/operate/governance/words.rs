//! A contract's function and its arguments, written as people write them.

use std::fmt;

use ethers_core::abi::{HumanReadableParser, ParamType, Token, decode, encode};
use protocol::amount::{Dgc, U256};
use protocol::chain::{ContractKind, Contracts};
use protocol::id::{Address, Hash32};

/// A function with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionCall {
    signature: String,
    types: Vec<ParamType>,
    arguments: Vec<Token>,
}

impl Eq for FunctionCall {}

/// Why words are not a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// The function is not written as one.
    #[error(
        "`{text}` is not a function: write its name and types, such as `slash(uint256,address)`"
    )]
    Function {
        /// What was written.
        text: String,
    },
    /// Too many or too few arguments.
    #[error("{function} takes {expected} arguments, {found} were given")]
    Count {
        /// The function that was named.
        function: String,
        /// How many it takes.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An argument is not of its type.
    #[error("argument {number}, `{text}`, is not {expected}")]
    Argument {
        /// Which one, from 1.
        number: usize,
        /// What was written, cut to 80 characters.
        text: String,
        /// What it should be.
        expected: String,
    },
}

impl FunctionCall {
    /// Reads a function such as `slash(uint256,address)` and its arguments.
    ///
    /// Numbers may be written as amounts (`1000 DGC`), addresses as names of
    /// contracts (`Staking`), 32 bytes as short texts (`content-node`), lists
    /// as `[a,b]`.
    ///
    /// # Errors
    ///
    /// [`WordsError`] names what cannot be read, and what it should be.
    pub fn parse(
        function: &str,
        arguments: &[String],
        contracts: &Contracts,
    ) -> Result<Self, WordsError> {
        let (signature, types) = read_signature(function)?;
        if types.len() != arguments.len() {
            return Err(WordsError::Count {
                function: signature,
                expected: types.len(),
                found: arguments.len(),
            });
        }
        let tokens = types.iter().zip(arguments).enumerate();
        let tokens = tokens.map(|(idx, (kind, text))| {
            let token = read_argument(kind, text.trim(), contracts);
            token.ok_or_else(|| WordsError::Argument {
                number: idx + 1,
                text: text.chars().take(80).collect(),
                expected: expectation(kind),
            })
        });
        Ok(Self {
            arguments: tokens.collect::<Result<_, _>>()?,
            signature,
            types,
        })
    }

    /// Reads a call that somebody else encoded; `None` when it does not fit.
    #[must_use]
    pub fn decode(function: &str, call_data: &[u8]) -> Option<Self> {
        let (signature, types) = read_signature(function).ok()?;
        let arguments = decode(&types, call_data).ok()?;
        Some(Self {
            signature,
            types,
            arguments,
        })
    }

    /// The canonical signature.
    #[must_use]
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// The encoded arguments, without a selector.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.arguments)
    }

    /// The arguments for people.
    #[must_use]
    pub fn arguments_in_words(&self) -> Vec<String> {
        self.arguments.iter().map(in_words).collect()
    }

    /// The first four bytes of the call.
    #[must_use]
    pub fn selector(&self) -> [u8; 4] {
        let hash = ethers_core::utils::keccak256(&self.signature);
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

impl fmt::Display for FunctionCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = self.signature.split_once('(').unwrap_or_default();
        write!(f, "{name}({})", self.arguments_in_words().join(", "))
    }
}

fn read_signature(text: &str) -> Result<(String, Vec<ParamType>), WordsError> {
    let refused = || WordsError::Function {
        text: text.chars().take(120).collect(),
    };
    if !text.contains('(') || !text.trim_end().ends_with(')') {
        return Err(refused());
    }
    let function = HumanReadableParser::parse_function(text).map_err(|_| refused())?;
    let types: Vec<ParamType> = function
        .inputs
        .into_iter()
        .map(|input| input.kind)
        .collect();
    let names: Vec<String> = types.iter().map(ToString::to_string).collect();
    Ok((format!("{}({})", function.name, names.join(",")), types))
}

fn read_argument(kind: &ParamType, text: &str, contracts: &Contracts) -> Option<Token> {
    match kind {
        ParamType::Uint(bits) => {
            let number = read_number(text)?;
            (number.bits() <= *bits).then_some(Token::Uint(number))
        }
        ParamType::Int(bits) => {
            let (digits, is_negative) = match text.strip_prefix('-') {
                Some(digits) => (digits, true),
                None => (text, false),
            };
            let number = read_number(digits)?;
            if number.bits() >= *bits {
                return None;
            }
            let number = if is_negative {
                U256::zero().overflowing_sub(number).0
            } else {
                number
            };
            Some(Token::Int(number))
        }
        ParamType::Address => {
            read_address(text, contracts).map(|address| Token::Address(address.0.into()))
        }
        ParamType::Bool => match text {
            "true" | "yes" => Some(Token::Bool(true)),
            "false" | "no" => Some(Token::Bool(false)),
            _ => None,
        },
        ParamType::String => Some(Token::String(text.to_owned())),
        ParamType::Bytes => read_hex(text).map(Token::Bytes),
        ParamType::FixedBytes(size) => {
            let mut bytes = match read_hex(text) {
                Some(bytes) => bytes,
                None if !text.starts_with("0x") => text.as_bytes().to_vec(),
                None => return None,
            };
            if bytes.len() > *size || bytes.is_empty() {
                return None;
            }
            bytes.resize(*size, 0);
            Some(Token::FixedBytes(bytes))
        }
        ParamType::Array(inner) => read_list(inner, text, contracts).map(Token::Array),
        ParamType::FixedArray(inner, size) => {
            let items = read_list(inner, text, contracts)?;
            (items.len() == *size).then_some(Token::FixedArray(items))
        }
        ParamType::Tuple(_) => None,
    }
}

/// Decimal digits, hexadecimal ones after `0x`, or an amount with its unit.
fn read_number(text: &str) -> Option<U256> {
    if let Some(amount) = text.strip_suffix("DGC") {
        return amount.trim_end().parse::<Dgc>().ok().map(|amount| amount.0);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return U256::from_str_radix(digits, 16).ok();
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    U256::from_dec_str(text).ok()
}

fn read_address(text: &str, contracts: &Contracts) -> Option<Address> {
    let named = ContractKind::ALL
        .into_iter()
        .find(|kind| kind.name() == text);
    if let Some(kind) = named {
        return super::super::address_in(contracts, kind);
    }
    text.strip_prefix("0x")?;
    text.parse().ok()
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x")?).ok()
}

fn read_list(kind: &ParamType, text: &str, contracts: &Contracts) -> Option<Vec<Token>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    if inner.trim().is_empty() {
        return Some(Vec::new());
    }
    let items = inner.split(',');
    items
        .map(|item| read_argument(kind, item.trim(), contracts))
        .collect()
}

fn expectation(kind: &ParamType) -> String {
    match kind {
        ParamType::Uint(bits) => {
            format!("a number of at most {bits} bits: digits, or an amount such as `1000 DGC`")
        }
        ParamType::Int(bits) => format!("a whole number of at most {bits} bits"),
        ParamType::Address => {
            "an address (40 hexadecimal digits after `0x`) or the name of a contract".to_owned()
        }
        ParamType::Bool => "`true` or `false`".to_owned(),
        ParamType::String => "a text".to_owned(),
        ParamType::Bytes => "bytes: hexadecimal digits after `0x`".to_owned(),
        ParamType::FixedBytes(size) => {
            format!("at most {size} bytes: hexadecimal digits after `0x`, or a short text")
        }
        ParamType::Array(inner) => format!("a list such as `[a,b]`, each {}", expectation(inner)),
        ParamType::FixedArray(inner, size) => {
            format!("a list of {size}, each {}", expectation(inner))
        }
        ParamType::Tuple(_) => "of a type that can be written here".to_owned(),
    }
}

/// Large numbers are shown in DGC too.
fn in_words(token: &Token) -> String {
    match token {
        Token::Uint(number) if *number >= U256::exp10(15) => {
            format!("{number} ({} DGC)", Dgc(*number))
        }
        Token::Uint(number) => number.to_string(),
        Token::Int(number) if number.bit(255) => {
            format!("-{}", U256::zero().overflowing_sub(*number).0)
        }
        Token::Int(number) => number.to_string(),
        Token::Address(address) => Address(address.0).to_string(),
        Token::Bool(truth) => truth.to_string(),
        Token::String(text) => format!("{text:?}"),
        Token::FixedBytes(bytes) => match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(bytes) => super::label(&Hash32(bytes)),
            Err(_) => format!("0x{}", hex::encode(bytes)),
        },
        Token::Bytes(bytes) => format!("0x{}", hex::encode(bytes)),
        Token::Array(items) | Token::FixedArray(items) | Token::Tuple(items) => {
            let items: Vec<String> = items.iter().map(in_words).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// A short text in the first of 32 bytes, as the registry names contracts.
pub(super) fn padded(text: &str) -> Hash32 {
    let mut bytes = [0; 32];
    let length = text.len().min(32);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    Hash32(bytes)
}

#[cfg(test)]
mod tests;
