//! The accounts of the chain on persistent maps: a clone shares everything, so
//! every block keeps its own post-state and a reorganisation is a truncation.

use std::collections::BTreeMap;
use std::convert::Infallible;

use revm::primitives::{
    Address, AddressMap, B256, Bytes, StorageKey, StorageValue, U256, keccak256,
};
use revm::state::{Account, AccountInfo, Bytecode};
use revm::{DatabaseCommit, DatabaseRef};

/// Every account after some block.
#[derive(Debug, Clone, Default)]
pub struct World {
    accounts: imbl::HashMap<Address, Slot>,
    digest: B256,
}

/// A world together with the block hashes that `BLOCKHASH` may ask for.
#[derive(Debug)]
pub struct WorldAt<'a, F> {
    /// The accounts and their storage.
    pub world: &'a World,
    /// The hash of a block by its number, zero when there is none.
    pub block_hash: F,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    // The code lies inline: `Bytecode` is shared, so the info stays cheap to clone.
    info: AccountInfo,
    storage: imbl::HashMap<U256, U256>,
}

impl World {
    /// A commitment to every change since the first block.
    ///
    /// It stands where other chains have the root of a Merkle-Patricia trie, and
    /// makes a replay that reaches another state reach another block hash too.
    #[must_use]
    pub fn digest(&self) -> B256 {
        self.digest
    }

    /// What `address` holds.
    #[must_use]
    pub fn balance(&self, address: Address) -> U256 {
        self.accounts
            .get(&address)
            .map_or(U256::ZERO, |slot| slot.info.balance)
    }

    /// The next nonce of `address`.
    #[must_use]
    pub fn nonce(&self, address: Address) -> u64 {
        self.accounts
            .get(&address)
            .map_or(0, |slot| slot.info.nonce)
    }

    /// The code at `address`, empty for a wallet.
    #[must_use]
    pub fn code(&self, address: Address) -> &[u8] {
        self.accounts
            .get(&address)
            .and_then(|slot| slot.info.code.as_ref())
            .map_or(&[], Bytecode::original_byte_slice)
    }

    /// One storage word of `address`.
    #[must_use]
    pub fn word(&self, address: Address, key: U256) -> U256 {
        self.accounts
            .get(&address)
            .and_then(|slot| slot.storage.get(&key).copied())
            .unwrap_or_default()
    }

    /// Sets what `address` holds.
    pub fn set_balance(&mut self, address: Address, balance: U256) {
        self.accounts.entry(address).or_default().info.balance = balance;
        let mut trace = self.digest.to_vec();
        trace.extend(address.as_slice());
        trace.extend(balance.to_be_bytes::<32>());
        self.digest = keccak256(trace);
    }

    /// Sets the next nonce of `address`.
    pub fn set_nonce(&mut self, address: Address, nonce: u64) {
        self.accounts.entry(address).or_default().info.nonce = nonce;
        self.trace(&[b"nonce", address.as_slice(), &nonce.to_be_bytes()]);
    }

    /// Sets the code at `address`.
    pub fn set_code(&mut self, address: Address, code: Bytes) {
        self.trace(&[b"code", address.as_slice(), &code]);
        let info = &mut self.accounts.entry(address).or_default().info;
        info.code_hash = keccak256(&code);
        info.code = Some(Bytecode::new_legacy(code));
    }

    /// Sets one storage word of `address`.
    pub fn set_word(&mut self, address: Address, key: U256, word: U256) {
        let storage = &mut self.accounts.entry(address).or_default().storage;
        if word.is_zero() {
            storage.remove(&key);
        } else {
            storage.insert(key, word);
        }
        let (key, word) = (key.to_be_bytes::<32>(), word.to_be_bytes::<32>());
        self.trace(&[b"word", address.as_slice(), &key, &word]);
    }

    fn trace(&mut self, parts: &[&[u8]]) {
        let mut trace = self.digest.to_vec();
        for part in parts {
            trace.extend_from_slice(part);
        }
        self.digest = keccak256(trace);
    }

    fn apply(&mut self, address: Address, account: Account, trace: &mut Vec<u8>) {
        trace.extend(address.as_slice());
        if account.is_selfdestructed() || (account.is_empty() && account.storage.is_empty()) {
            self.accounts.remove(&address);
            return;
        }
        let slot = self.accounts.entry(address).or_default();
        if account.is_created() {
            slot.storage = imbl::HashMap::default();
        }
        trace.extend(account.info.balance.to_be_bytes::<32>());
        trace.extend(account.info.nonce.to_be_bytes());
        trace.extend(account.info.code_hash.as_slice());
        slot.info = account.info;
        let changes: BTreeMap<U256, U256> = account
            .storage
            .into_iter()
            .filter(|(_, word)| word.is_changed())
            .map(|(key, word)| (key, word.present_value()))
            .collect();
        for (key, value) in changes {
            trace.extend(key.to_be_bytes::<32>());
            trace.extend(value.to_be_bytes::<32>());
            if value.is_zero() {
                slot.storage.remove(&key);
            } else {
                slot.storage.insert(key, value);
            }
        }
    }
}

impl DatabaseCommit for World {
    fn commit(&mut self, changes: AddressMap<Account>) {
        let mut trace = self.digest.to_vec();
        let touched: BTreeMap<Address, Account> = changes
            .into_iter()
            .filter(|(_, account)| account.is_touched())
            .collect();
        for (address, account) in touched {
            self.apply(address, account, &mut trace);
        }
        self.digest = keccak256(trace);
    }
}

impl<F: Fn(u64) -> B256> DatabaseRef for WorldAt<'_, F> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self
            .world
            .accounts
            .get(&address)
            .map(|slot| slot.info.clone()))
    }

    fn code_by_hash_ref(&self, _hash: B256) -> Result<Bytecode, Infallible> {
        // Never asked: every account with code carries it inline.
        Ok(Bytecode::default())
    }

    fn storage_ref(&self, address: Address, key: StorageKey) -> Result<StorageValue, Infallible> {
        Ok(self.world.word(address, key))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        Ok((self.block_hash)(number))
    }
}
