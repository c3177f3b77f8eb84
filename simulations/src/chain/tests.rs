use protocol::action::Action;
use protocol::id::EntityId;
use protocol::signing::SigningKey;
use protocol::time::UnixSeconds;

use super::*;

const ACTIONS: ActionDomain = ActionDomain {
    chain_id: 1,
    entity_manager: Address([7; 20]),
};

fn chain(confirmations: u64) -> Chain {
    let now = Moment::from_unix(UnixSeconds(1_780_000_000));
    Chain::new(
        ACTIONS,
        Vec::new(),
        BTreeMap::new(),
        confirmations,
        FeeLimits::default(),
        now,
        Rng::stream(1, "chain"),
    )
}

/// Submits an action as the first or a later transaction of a wallet.
fn submit(chain: &mut Chain, nonce: u64) -> Hash32 {
    let key = SigningKey::from_bytes(&[9; 32]).unwrap();
    let action = Action {
        user_id: UserId(1),
        entity_type: "Track".to_owned(),
        entity_id: EntityId(nonce),
        action: "Save".to_owned(),
        metadata: String::new(),
        nonce: Hash32([1; 32]),
    };
    let digest = action.digest(&ACTIONS);
    let tx = Tx {
        wallet: Address([3; 20]),
        nonce,
        fees: Fees::offered(chain.next_base_fee(), 0),
        action: Some(action.sign(&ACTIONS, &key)),
    };
    chain.submit(tx).unwrap();
    digest
}

fn mine(chain: &mut Chain, blocks: u64) {
    let now = Moment::from_unix(UnixSeconds(1_780_000_100));
    (0..blocks).for_each(|_| chain.mine(now));
}

#[test]
fn a_final_block_that_is_undone_takes_along_what_it_made_final() {
    let mut chain = chain(2);
    let first = submit(&mut chain, 0);
    mine(&mut chain, 1);
    let (kept, hash) = (chain.entries().to_vec(), chain.tip().hash);
    assert!(kept.is_empty());
    mine(&mut chain, 2);
    assert_eq!((chain.landed(&first), chain.finalized()), (1, 1));
    assert_eq!(chain.final_peaks().count, 1);
    chain.reorganise(3);
    assert_eq!((chain.landed(&first), chain.finalized()), (0, 0));
    assert_eq!((chain.entries().len(), chain.final_peaks().count), (0, 0));
    assert!(chain.was_undone(&first));
    assert_eq!(chain.lowest_undone(), Some(1));
    // It is known as what it was.
    assert!(chain.once_final(1, &hash).is_some());
    assert_eq!(chain.chains().map(<[Entry]>::len).max(), Some(1));
    // Its wallet may send it again.
    assert_eq!(chain.nonce(&Address([3; 20])), 0);
    let _ = submit(&mut chain, 0);
    mine(&mut chain, 3);
    assert_eq!((chain.landed(&first), chain.final_peaks().count), (1, 1));
}

#[test]
fn a_reorganisation_of_open_blocks_undoes_nothing_final() {
    let mut chain = chain(2);
    mine(&mut chain, 5);
    let hash = chain.tip().hash;
    chain.reorganise(2);
    assert_eq!((chain.finalized(), chain.tip().number), (3, 3));
    assert_eq!(chain.lowest_undone(), None);
    assert!(chain.once_final(5, &hash).is_none());
}
