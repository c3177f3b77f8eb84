//! When the wallets are looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Identity, LookId, Note, Output, WalletSeen};
use crate::id::Address;
use crate::time::Moment;

/// Looks at the wallets, one at a time for each: an answer is never older than the
/// one before it.
#[derive(Debug)]
pub(super) struct Wallets {
    looks: BTreeMap<Address, Look>,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Look {
    /// The look that is under way, and when it began.
    asked: Option<(LookId, Moment)>,
    /// True when something may have changed since it began.
    is_due: bool,
    /// The owner was told once that the wallet is empty.
    is_empty_told: bool,
}

impl Wallets {
    pub(super) fn new(wallets: &[Address]) -> Self {
        let looks = wallets.iter().map(|wallet| (*wallet, Look::default()));
        Self {
            looks: looks.collect(),
            next_id: 0,
        }
    }

    /// Who would pay for something that is only tried.
    pub(super) fn first(&self) -> Address {
        self.looks.keys().next().copied().unwrap_or_default()
    }
}

impl Identity {
    pub(super) fn look_at_wallets(&mut self, now: Moment) {
        let wallets: Vec<Address> = self.wallets.looks.keys().copied().collect();
        for wallet in wallets {
            self.look_at_wallet(wallet, now);
        }
    }

    fn look_at_wallet(&mut self, wallet: Address, now: Moment) {
        let Some(look) = self.wallets.looks.get_mut(&wallet) else {
            return;
        };
        look.is_due = look.asked.is_some_and(|(_, at)| now < at + LOOK_PATIENCE);
        if look.is_due {
            return;
        }
        let id = LookId(self.wallets.next_id);
        self.wallets.next_id += 1;
        look.asked = Some((id, now));
        self.outputs.push_back(Output::LookAtWallet {
            id,
            wallet,
            final_block: self.chain.final_block,
        });
    }

    pub(super) fn handle_wallet(&mut self, id: LookId, seen: Option<WalletSeen>, now: Moment) {
        let mut looks = self.wallets.looks.iter_mut();
        let is_asked = |look: &Look| look.asked.is_some_and(|(asked, _)| asked == id);
        let Some((wallet, look)) = looks.find(|(_, look)| is_asked(look)) else {
            return;
        };
        let wallet = *wallet;
        look.asked = None;
        let is_due = look.is_due;
        if let Some(seen) = seen {
            if !seen.is_funded && !look.is_empty_told {
                let note = Note::WalletEmpty(wallet);
                self.outputs.push_back(Output::Note(note));
            }
            look.is_empty_told = !seen.is_funded;
            self.relayer
                .handle_wallet(wallet, seen.nonces, seen.is_funded);
        }
        if is_due {
            self.look_at_wallet(wallet, now);
        }
    }
}

/// A look without an end is given up after this long, and another begins at the
/// next block: chosen, longer than an endpoint is waited for.
const LOOK_PATIENCE: Duration = Duration::from_secs(60);
