//! What a view answered, read value by value.

use ethers_core::abi::Token;
use protocol::amount::{Dgc, U256};
use protocol::id::{Address, Hash32};

use super::{OperateError, Pending};

/// The values of one answer; each reading takes the next one.
#[derive(Debug)]
pub struct Answer {
    function: &'static str,
    tokens: std::vec::IntoIter<Token>,
}

impl Answer {
    pub(super) fn new(function: &'static str, tokens: Vec<Token>) -> Self {
        Self {
            function,
            tokens: tokens.into_iter(),
        }
    }

    /// A number of any size.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is none.
    pub fn uint(&mut self) -> Result<U256, OperateError> {
        self.take("a number", Token::into_uint)
    }

    /// An amount of tokens.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is no number.
    pub fn amount(&mut self) -> Result<Dgc, OperateError> {
        self.uint().map(Dgc)
    }

    /// A number of at most 64 bits, such as a block's; larger ones are cut to
    /// `u64::MAX`, which stands for never.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is no number.
    pub fn number(&mut self) -> Result<u64, OperateError> {
        let number = self.uint()?;
        Ok(u64::try_from(number).unwrap_or(u64::MAX))
    }

    /// A truth value.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is none.
    pub fn truth(&mut self) -> Result<bool, OperateError> {
        self.take("a truth value", Token::into_bool)
    }

    /// An address.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is none.
    pub fn address(&mut self) -> Result<Address, OperateError> {
        self.take("an address", |token| {
            token.into_address().map(|address| Address(address.0))
        })
    }

    /// 32 bytes.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is of another length.
    pub fn hash(&mut self) -> Result<Hash32, OperateError> {
        self.take("32 bytes", |token| {
            token.into_fixed_bytes()?.try_into().ok().map(Hash32)
        })
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is none.
    pub fn text(&mut self) -> Result<String, OperateError> {
        self.take("a text", Token::into_string)
    }

    /// Bytes of any length.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is none.
    pub fn bytes(&mut self) -> Result<Vec<u8>, OperateError> {
        self.take("bytes", Token::into_bytes)
    }

    /// A list of addresses.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is none.
    pub fn addresses(&mut self) -> Result<Vec<Address>, OperateError> {
        self.take("a list of addresses", |token| {
            let tokens = token.into_array()?.into_iter();
            tokens
                .map(|token| token.into_address().map(|address| Address(address.0)))
                .collect()
        })
    }

    /// A list of numbers of at most 64 bits.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next value is none.
    pub fn numbers(&mut self) -> Result<Vec<u64>, OperateError> {
        self.take("a list of numbers", |token| {
            let tokens = token.into_array()?.into_iter();
            tokens
                .map(|token| u64::try_from(token.into_uint()?).ok())
                .collect()
        })
    }

    /// An amount and the block from which it can be had; `None` for nothing.
    ///
    /// # Errors
    ///
    /// [`OperateError::Answer`] when the next values are no numbers.
    pub fn pending(&mut self) -> Result<Option<Pending>, OperateError> {
        let pending = Pending {
            amount: self.amount()?,
            unlock_block: self.number()?,
        };
        Ok(Some(pending).filter(|pending| pending.amount != Dgc::ZERO))
    }

    fn take<T>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(Token) -> Option<T>,
    ) -> Result<T, OperateError> {
        let refused = OperateError::Answer {
            function: self.function,
            expected,
        };
        self.tokens.next().and_then(read).ok_or(refused)
    }
}
