//! What a light peer's facts and wishes are in this process: its index comes from
//! gossip alone and from what discovery peers answer.
//!
//! The machine is [`gossip::catch_up`]; it runs in a [`shell`].

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use gossip::catch_up::{CatchUp, Input, Note, Output};
use gossip::discovery::IndexFailure;
use gossip::spread::HeldEntries;
use protocol::action::ActionDomain;
use protocol::entry::{Entry, sequences_of};
use protocol::id::Address;
use protocol::registry::Registry;
use storage::index::{BlockEntry, RecoveredBlock};
use storage::tables::{META, TablesWrite};
use tokio::sync::watch;

use crate::context::Context;
use crate::discovery::numbers::Numbers;
use crate::discovery::{failure, log_contradiction, spread_config};
use crate::index::{IndexHandle, IndexTaskError};
use crate::net::{Audience, Gossip, Messages, NetError, Protocol, Verdicts};
use crate::shell::{self, Driver, Work};
use crate::store::{StoreError, StoreHandle};

/// Why a light peer's index did not start.
#[derive(Debug, thiserror::Error)]
pub enum LightError {
    /// Another driver took the topics.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexTaskError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Starts to index from gossip.
///
/// # Errors
///
/// [`LightError`] when the topics are taken or the index cannot be read.
pub async fn spawn(context: &Context) -> Result<(), LightError> {
    let held = held_entries(&context.store, &context.index)?;
    let config = spread_config(context, false);
    let machine = CatchUp::new(config, held, rand::random(), context.clock.now());
    let mut registry = context.chain.registry();
    registry.mark_changed();
    let mut connected = context.net.connected();
    connected.mark_changed();
    let hands = Hands {
        messages: context.net.subscribe_to(Audience::Indexes).await?,
        registry,
        connected,
        verdicts: Verdicts::default(),
        numbers: Numbers::new(context),
        context: context.clone(),
    };
    shell::spawn(machine, hands, context.clock, &context.floor);
    Ok(())
}

struct Hands {
    context: Context,
    messages: Messages,
    registry: watch::Receiver<Arc<Registry>>,
    connected: watch::Receiver<BTreeSet<Address>>,
    verdicts: Verdicts,
    numbers: Numbers,
}

impl Driver<CatchUp> for Hands {
    async fn next(&mut self) -> Option<Input> {
        // The branches are polled in random order: none starves the others.
        let input = tokio::select! {
            Ok(()) = self.registry.changed() => {
                Input::Registry(self.registry.borrow_and_update().clone())
            }
            Ok(()) = self.connected.changed() => {
                Input::Connected(self.connected.borrow_and_update().clone())
            }
            Some(message) = self.messages.recv() => self.gossip(message),
            else => return None,
        };
        Some(input)
    }

    fn carry(&mut self, wish: Output, work: &mut Work<Input>) {
        let index = self.context.index.clone();
        let net = self.context.net.clone();
        let store = self.context.store.clone();
        match wish {
            Output::Index { entries, .. } => {
                let domain = self.context.contracts.action_domain();
                work.in_order(async move {
                    let done = apply(&index, entries, domain).await;
                    Some(Input::Indexed(done.map_err(failure)))
                });
            }
            Output::Clear { head_number_min } => {
                work.in_order(async move {
                    let done = match keep_head_number_min(&store, head_number_min).await {
                        Ok(()) => index.clear().await.map_err(failure),
                        Err(error) => Err(IndexFailure {
                            reason: error.to_string(),
                            is_lost: false,
                        }),
                    };
                    Some(Input::Indexed(done))
                });
            }
            Output::Open => work.in_order(async move {
                let held = held_entries(&store, &index).unwrap_or_else(|error| {
                    tracing::error!(%error, "the index cannot be read");
                    HeldEntries::default()
                });
                Some(Input::Opened(held))
            }),
            Output::Ask { id, peer, body } => {
                self.numbers.fetched();
                work.beside(async move {
                    let body = net.request(peer, Protocol::Entries, body).await.ok();
                    Some(Input::Answered { id, body })
                });
            }
            Output::Judge { token, verdict } => self.verdicts.settle(token, verdict),
            Output::Goal(entries) => index.set_goal(entries),
            Output::Counted(head) => self.numbers.counted(head.block_number),
            Output::Fault(fault) => {
                if let Some(error) = &fault {
                    tracing::error!(%error, "indexing has stopped; it starts over");
                }
                index.set_fault(fault);
            }
            Output::Offence { peer, weight } => {
                tracing::warn!(%peer, "entries that are not on the chain");
                work.beside(async move {
                    net.report_offence(peer, weight).await;
                    None
                });
            }
            Output::Note(note) => log(&note),
        }
    }

    fn observe(&mut self, machine: &CatchUp) {
        self.numbers.batches_held(machine.held_count());
    }
}

impl Hands {
    fn gossip(&mut self, message: Gossip) -> Input {
        Input::Gossip {
            token: self.verdicts.hold(message.verdict),
            topic: message.topic,
            body: message.data,
        }
    }
}

fn held_entries(store: &StoreHandle, index: &IndexHandle) -> Result<HeldEntries, LightError> {
    let head_number_min = head_number_min(store)?;
    let snapshot = index.snapshot()?;
    let Some(cursor) = snapshot.cursor().map_err(IndexTaskError::from)? else {
        return Ok(HeldEntries {
            head_number_min,
            ..HeldEntries::default()
        });
    };
    let in_block = sequences_of(cursor.number..=cursor.number);
    let last = snapshot.entries(in_block, usize::MAX);
    let last = last.map_err(IndexTaskError::from)?.pop();
    Ok(HeldEntries {
        peaks: cursor.peaks,
        block_number: cursor.number,
        sequence: last.map(|entry| entry.position.sequence()),
        head_number_min,
    })
}

/// Writes down which heads are of an abandoned fork, before the index forgets it.
async fn keep_head_number_min(store: &StoreHandle, number: u64) -> Result<(), StoreError> {
    let row = Bytes::copy_from_slice(&number.to_be_bytes());
    let write =
        move |tables: &TablesWrite<'_>| Ok(tables.put(META, &HEAD_NUMBER_MIN.to_owned(), &row)?);
    store.write(write).await
}

fn head_number_min(store: &StoreHandle) -> Result<u64, StoreError> {
    let row: Option<Bytes> =
        store.read::<_, StoreError>(|tables| Ok(tables.get(META, &HEAD_NUMBER_MIN.to_owned())?))?;
    let number = row.and_then(|row| Some(u64::from_be_bytes(row.as_ref().try_into().ok()?)));
    Ok(number.unwrap_or(0))
}

async fn apply(
    index: &IndexHandle,
    entries: Vec<Entry>,
    domain: ActionDomain,
) -> Result<(), IndexTaskError> {
    if entries.is_empty() {
        return Ok(());
    }
    // Recovering signers keeps a core busy.
    let cut = tokio::task::spawn_blocking(move || blocks_of(entries, &domain)).await;
    let blocks = cut.map_err(|_| IndexTaskError::Stopped)?;
    index.apply(blocks).await?;
    Ok(())
}

fn blocks_of(entries: Vec<Entry>, domain: &ActionDomain) -> Vec<RecoveredBlock> {
    let mut blocks: Vec<RecoveredBlock> = Vec::new();
    for entry in entries {
        let position = entry.position;
        if blocks
            .last()
            .is_none_or(|block| block.hash != position.block_hash)
        {
            blocks.push(RecoveredBlock {
                number: position.block_number,
                hash: position.block_hash,
                parent: None,
                time: position.block_time,
                entries: Vec::new(),
            });
        }
        if let Some(block) = blocks.last_mut() {
            block.entries.push(BlockEntry::recover(entry, domain));
        }
    }
    blocks
}

fn log(note: &Note) {
    match note {
        Note::Contradiction {
            signer,
            block_number,
        } => log_contradiction(signer, *block_number),
        Note::Diverged { block_number } => tracing::warn!(
            block = block_number,
            "a majority follows another fork than the index; it is made again"
        ),
        Note::Useless { peer, reason } => tracing::debug!(%peer, reason, "entries of no use"),
    }
}

/// Where it is kept which heads are not taken.
const HEAD_NUMBER_MIN: &str = "head_number_min";

#[cfg(test)]
mod tests;
