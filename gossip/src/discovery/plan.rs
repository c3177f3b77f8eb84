//! What a replay of the chain asks of an index that holds some of it.

use std::sync::Arc;

use protocol::chain::ChainBlock;
use protocol::id::Hash32;

/// What a run of blocks asks of the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The last indexed block that is on the chain, when a later one is not.
    pub rollback: Option<u64>,
    /// What to index then. Blocks without entries are left out.
    pub blocks: Vec<Arc<ChainBlock>>,
}

/// Compares a run of blocks with an index that reaches to block `cursor`: what is
/// indexed already is passed over. `known` tells the hash of an indexed block.
///
/// # Errors
///
/// Those of `known`.
pub fn plan<E>(
    run: &[Arc<ChainBlock>],
    mut cursor: Option<u64>,
    known: impl Fn(u64) -> Result<Option<Hash32>, E>,
) -> Result<Plan, E> {
    let mut plan = Plan::default();
    for block in run {
        let number = block.block.number;
        if cursor.is_some_and(|cursor| cursor >= number) {
            let expected = (!block.entries.is_empty()).then_some(block.block.hash);
            if known(number)? == expected {
                continue;
            }
            // The indexed block is of another fork, and all after it.
            let before = number.saturating_sub(1);
            plan.rollback = Some(before);
            cursor = Some(before);
        }
        if !block.entries.is_empty() {
            plan.blocks.push(Arc::clone(block));
        }
    }
    Ok(plan)
}
