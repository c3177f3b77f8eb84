//! What the chain answers to those who act on it.

use std::collections::BTreeSet;

use cid::Cid;
use protocol::action::SignedAction;
use protocol::author::{Landing, Wanted};
use protocol::content::UserFacts;
use protocol::exchange::{Around, OTHERS_MAX};
use protocol::id::{Address, Hash32, Role, UserId};
use protocol::identity::Unsent;
use protocol::placement::{Placing as _, REPLICAS_TARGET};
use protocol::relayer::{Account, Receipt, Slot};
use protocol::time::UnixSeconds;

use super::{Block, Chain, Fees, RegistryAt, SubmitError, Tx};

impl Chain {
    /// What a holder of uploads hears of a user for whom `signer` acts.
    #[must_use]
    pub fn user_facts(&self, user: UserId, signer: Address) -> Option<UserFacts> {
        (self.wallet_of(user)? == signer).then_some(UserFacts {
            created: UnixSeconds(0),
            stored_bytes: 0,
            extra_bytes: 0,
        })
    }

    /// What a relayer hears of a user for whom `signer` acts.
    #[must_use]
    pub fn account(&self, user: UserId, signer: Address) -> Option<Account> {
        let owner = self.wallet_of(user)?;
        Some(Account {
            owner,
            created: UnixSeconds(0),
            may_act: owner == signer,
        })
    }

    /// Those of the wanted actions that landed.
    #[must_use]
    pub fn receipts(&self, wanted: &[(Hash32, Address)]) -> Vec<(Hash32, Receipt)> {
        let landed = |(digest, _): &(Hash32, Address)| Some((*digest, self.receipt(digest)?));
        wanted.iter().filter_map(landed).collect()
    }

    pub(super) fn receipt(&self, digest: &Hash32) -> Option<Receipt> {
        let (block_number, tx_hash) = self.burned(digest)?;
        let block = self.block(block_number);
        Some(Receipt {
            tx_hash,
            block_number,
            block_hash: block.map(|block| block.hash).unwrap_or_default(),
        })
    }

    /// Those of the wanted actions that landed up to a block.
    #[must_use]
    pub fn landings(&self, wanted: &[Wanted], last: u64) -> Vec<Landing> {
        let landing = |wanted: &Wanted| {
            let (block_number, tx_hash) = self.burned(&wanted.digest)?;
            (block_number <= last).then_some(Landing {
                digest: wanted.digest,
                tx_hash,
                block_number,
                rejected: None,
            })
        };
        wanted.iter().filter_map(landing).collect()
    }

    /// The next nonce of a wallet after a block.
    #[must_use]
    pub fn nonce_at(&self, wallet: &Address, number: u64) -> u64 {
        let above = self.blocks.iter().rev();
        let above = above.take_while(|block| block.number > number);
        let txs = above.flat_map(|block| &block.txs);
        let later = txs.filter(|mined| mined.tx.wallet == *wallet).count();
        self.nonce(wallet) - later as u64
    }

    /// The block of a transaction, and whether it did what it was sent for.
    #[must_use]
    pub fn tx(&self, hash: &Hash32) -> Option<(&Block, bool)> {
        self.blocks.iter().rev().find_map(|block| {
            let mut txs = block.txs.iter();
            let mined = txs.find(|mined| mined.hash == *hash)?;
            Some((block, mined.is_success))
        })
    }

    /// Takes a relayer's transaction.
    ///
    /// # Errors
    ///
    /// [`Unsent::Rejected`] in the words of an endpoint.
    pub fn send(
        &mut self,
        slot: Slot,
        bumps: u32,
        action: Option<SignedAction>,
    ) -> Result<Hash32, Unsent> {
        if !self.is_funded(&slot.wallet) {
            let message = "insufficient funds for gas * price + value".to_owned();
            return Err(Unsent::Rejected { message });
        }
        let tx = Tx {
            wallet: slot.wallet,
            nonce: slot.nonce,
            fees: Fees::offered(self.tip().base_fee, bumps),
            action,
        };
        self.submit(tx).map_err(|refused| {
            let message = match refused {
                SubmitError::NonceUsed => "nonce too low",
                SubmitError::Underpriced => "replacement transaction underpriced",
                SubmitError::BelowBaseFee => "max fee per gas less than block base fee",
                SubmitError::PoolFull => "txpool is full",
            };
            Unsent::Rejected {
                message: message.to_owned(),
            }
        })
    }
}

impl RegistryAt {
    /// Who may hold a root. Nobody is connected to anybody here, and leases are
    /// what the roles tell a fetch.
    #[must_use]
    pub fn around(&self, root: &Cid) -> Around {
        let staked = self.placement.inner().peers(Role::Content);
        Around {
            placed: self
                .placement
                .place(root, REPLICAS_TARGET, &BTreeSet::new()),
            staked: staked.take(OTHERS_MAX).collect(),
            ..Around::default()
        }
    }
}
