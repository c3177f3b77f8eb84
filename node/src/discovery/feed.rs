//! The index fed from the chain: many blocks in one transaction, and at a replay
//! what is indexed already is compared and passed over.

use protocol::id::Hash32;
use storage::index::{Block, BlockEntry};

use crate::chain::ChainEvent;
use crate::context::Context;
use crate::index::{IndexHandle, IndexTaskError};

/// Writes blocks of the chain to the index.
pub(super) struct IndexFeed {
    context: Context,
}

/// What a run of blocks asks of the index.
struct Plan {
    /// The last indexed block that is on the chain, when a later one is not.
    rollback: Option<u64>,
    blocks: Vec<Block>,
}

impl IndexFeed {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            context: context.clone(),
        }
    }

    /// Indexes the blocks among the events.
    pub(super) async fn apply(&mut self, run: &[ChainEvent]) -> Result<(), IndexTaskError> {
        let cursor = self.context.index.height().borrow().block_number;
        let run: Vec<ChainEvent> = run
            .iter()
            .filter(|event| match event {
                ChainEvent::Block { block, entries, .. } => {
                    !entries.is_empty() || block.number <= cursor
                }
                _ => false,
            })
            .cloned()
            .collect();
        if run.is_empty() {
            return Ok(());
        }
        let domain = self.context.contracts.action_domain();
        let index = self.context.index.clone();
        // Recovering signers keeps a core busy.
        let planned = tokio::task::spawn_blocking(move || plan(&index, run, &domain)).await;
        let plan = planned.map_err(|_| IndexTaskError::Stopped)??;
        if let Some(to) = plan.rollback {
            self.context.index.rollback(to).await?;
        }
        if !plan.blocks.is_empty() {
            self.context.index.apply(plan.blocks).await?;
        }
        Ok(())
    }

    /// Takes back what is indexed above `to`.
    pub(super) async fn rollback(&self, to: u64) -> Result<(), IndexTaskError> {
        let cursor = self.context.index.height().borrow().block_number;
        if cursor > to {
            self.context.index.rollback(to).await?;
        }
        Ok(())
    }
}

fn plan(
    index: &IndexHandle,
    run: Vec<ChainEvent>,
    domain: &protocol::action::ActionDomain,
) -> Result<Plan, IndexTaskError> {
    let snapshot = index.snapshot()?;
    let mut cursor = snapshot.cursor()?.map(|cursor| cursor.number);
    let mut plan = Plan {
        rollback: None,
        blocks: Vec::new(),
    };
    for event in run {
        let ChainEvent::Block {
            block,
            parent,
            time,
            entries,
            ..
        } = event
        else {
            continue;
        };
        if cursor.is_some_and(|cursor| cursor >= block.number) {
            let known: Option<Hash32> = snapshot.block(block.number)?.map(|known| known.hash);
            let expected = (!entries.is_empty()).then_some(block.hash);
            if known == expected {
                continue;
            }
            // The indexed block is of another fork, and all after it.
            let before = block.number.saturating_sub(1);
            plan.rollback = Some(before);
            cursor = Some(before);
        }
        if entries.is_empty() {
            continue;
        }
        let entries = entries
            .into_iter()
            .map(|entry| BlockEntry::recover(entry, domain))
            .collect();
        plan.blocks.push(Block {
            number: block.number,
            hash: block.hash,
            parent: Some(parent),
            time,
            entries,
        });
    }
    Ok(plan)
}
