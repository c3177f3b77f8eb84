use proptest::prelude::*;

use protocol::action::{Action, SignedAction};
use protocol::entity::build::{
    Builder, CommentFields, ContentFields, Items, ListFields, UserFields,
};
use protocol::entity::{EntityType, ListItem, Relation, Target};
use protocol::entry::{Entry, Position};
use protocol::id::{EntityId, UserId};
use protocol::merkle;
use protocol::signing::{Signature, SigningKey};

use super::*;
use crate::backend::MemoryBackend;
use crate::search::Search;

pub(crate) const CID: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
const DOMAIN: ActionDomain = ActionDomain {
    chain_id: 1337,
    entity_manager: Address([9; 20]),
};

/// A chain that can be reorganised: its blocks, and numbers for nonces.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub(crate) blocks: Vec<RecoveredBlock>,
    forks: u8,
}

impl Chain {
    /// Appends a block with the actions of user idx, signed by its wallet.
    pub(crate) fn push(&mut self, actions: Vec<Action>) -> &RecoveredBlock {
        let number = self.blocks.last().map_or(10, |block| block.number + 1);
        let mut hash = Hash32([self.forks; 32]);
        hash.0[..8].copy_from_slice(&number.to_be_bytes());
        let time = UnixSeconds(1_700_000_000 + number);
        let entries = actions.into_iter().enumerate().map(|(idx, action)| {
            let position = Position {
                chain_id: DOMAIN.chain_id,
                block_number: number,
                block_hash: hash,
                block_time: time,
                tx_hash: Hash32([7; 32]),
                log_index: idx as u64 * 2,
            };
            BlockEntry {
                signer: Some(wallet(action.user_id)),
                digest: action.digest(&DOMAIN),
                entry: Entry {
                    action: SignedAction {
                        action,
                        signature: Signature::default(),
                    },
                    position,
                },
            }
        });
        let block = RecoveredBlock {
            number,
            hash,
            parent: self.blocks.last().map(|block| block.hash),
            time,
            entries: entries.collect(),
        };
        self.blocks.push(block);
        self.blocks.last().unwrap()
    }

    /// Drops the last `depth` blocks; gives the number to roll back to.
    pub(crate) fn fork(&mut self, depth: usize) -> u64 {
        self.forks += 1;
        self.blocks
            .truncate(self.blocks.len().saturating_sub(depth));
        self.blocks.last().map_or(0, |block| block.number)
    }
}

/// Every user's wallet is made of its number.
pub(crate) fn wallet(user: UserId) -> Address {
    let mut address = Address::ZERO;
    address.0[..8].copy_from_slice(&user.0.to_be_bytes());
    address
}

pub(crate) fn by(user: u64) -> Builder {
    Builder {
        user: user_id(user),
        nonce: Hash32::ZERO,
    }
}

pub(crate) fn user_id(idx: u64) -> UserId {
    UserId(3_000_000 + idx)
}

pub(crate) fn content_id(idx: u64) -> EntityId {
    EntityId(2_000_000 + idx)
}

pub(crate) fn list_id(idx: u64) -> EntityId {
    EntityId(400_000 + idx)
}

pub(crate) fn create_user(idx: u64) -> Action {
    by(idx).create_user(&UserFields {
        handle: Some(format!("user{idx}")),
        name: Some(format!("Resident {idx}")),
        ..UserFields::default()
    })
}

pub(crate) fn create_content(owner: u64, idx: u64, title: &str) -> Action {
    by(owner).create_digital_content(content_id(idx), &content(title))
}

pub(crate) fn content(title: &str) -> ContentFields {
    ContentFields {
        title: Some(title.to_owned()),
        cid: Some(CID.to_owned()),
        tags: Some("calm,night".to_owned()),
        ..ContentFields::default()
    }
}

fn unlist(owner: u64, idx: u64, is_unlisted: bool) -> Action {
    by(owner).update_digital_content(
        content_id(idx),
        &ContentFields {
            is_unlisted: Some(is_unlisted),
            ..ContentFields::default()
        },
    )
}

fn list(ids: &[u64], is_private: bool) -> ListFields {
    let item = |idx: &u64| ListItem {
        track: content_id(*idx),
        time: UnixSeconds(5),
    };
    ListFields {
        playlist_name: Some("Evening".to_owned()),
        is_private: Some(is_private),
        playlist_contents: Some(Items::Timed {
            track_ids: ids.iter().map(item).collect(),
        }),
        ..ListFields::default()
    }
}

/// Two users; the first published two songs and a list, the second likes them.
fn village() -> Chain {
    let mut chain = Chain::default();
    chain.push(vec![create_user(0), create_user(1)]);
    chain.push(vec![
        create_content(0, 0, "Dawn chorus"),
        create_content(0, 1, "Dusk"),
        by(0).create_content_list(list_id(0), &list(&[1, 0], false)),
    ]);
    chain.push(vec![
        by(1).follow(user_id(0)),
        by(1).relate(Relation::Save, Target::content(content_id(0))),
        by(1).relate(Relation::Repost, Target::list(list_id(0))),
        by(1).create_comment(
            EntityId(1),
            &CommentFields::new(content_id(0), "lovely".to_owned()),
        ),
        by(1).follow(user_id(7)),
    ]);
    chain
}

fn indexed(chain: &Chain) -> Index {
    let mut index = Index::in_memory().unwrap();
    for block in &chain.blocks {
        index.apply(block).unwrap();
    }
    index
}

const ALL: Window = Window::first(100);

#[test]
fn queries_answer_with_counts() {
    let snapshot = indexed(&village()).snapshot().unwrap();
    let ada = snapshot.user_by_handle("USER0").unwrap().unwrap();
    assert_eq!(ada.user.user_id, user_id(0));
    assert_eq!(
        (
            ada.follower_count,
            ada.track_count,
            ada.playlist_count,
            ada.album_count
        ),
        (1, 2, 1, 0)
    );
    let song = snapshot.content(content_id(0)).unwrap().unwrap();
    assert_eq!(
        (song.favorite_count, song.repost_count, song.comment_count),
        (1, 0, 1)
    );
    let titles = |contents: Vec<ContentView>| -> Vec<String> {
        contents
            .into_iter()
            .map(|view| view.content.title)
            .collect()
    };
    let latest = snapshot.latest_contents(ALL).unwrap();
    assert_eq!(titles(latest), ["Dusk", "Dawn chorus"]);
    let window = Window {
        limit: 1,
        offset: 1,
    };
    let second = snapshot
        .contents_by_owner(user_id(0), false, window)
        .unwrap();
    assert_eq!(titles(second), ["Dawn chorus"]);
    let roots = snapshot.contents_by_root(CID, ALL).unwrap();
    assert_eq!(titles(roots), ["Dawn chorus", "Dusk"]);
    let held = snapshot.list_contents(list_id(0), ALL).unwrap();
    assert_eq!(titles(held), ["Dusk", "Dawn chorus"]);
    assert_eq!(snapshot.comments(content_id(0), ALL).unwrap().len(), 1);
    assert_eq!(snapshot.followers(user_id(0), ALL).unwrap().len(), 1);
    assert_eq!(snapshot.following(user_id(1), ALL).unwrap()[0], ada);
    assert_eq!(
        snapshot.users_by_wallet(wallet(user_id(1))).unwrap()[0]
            .user
            .user_id,
        user_id(1)
    );
    let feed = snapshot.feed(user_id(1), ALL).unwrap();
    let ids: Vec<u64> = feed.iter().map(|item| item.target.id.0).collect();
    assert_eq!(ids, [400_000, 2_000_001, 2_000_000]);
}

#[test]
fn a_bad_action_is_recorded_and_skipped() {
    let mut chain = village();
    let mut index = Index::in_memory().unwrap();
    let applied = index.apply_all(&chain.blocks).unwrap();
    assert_eq!((applied.accepted, applied.rejected), (9, 1));
    let rejected = index.snapshot().unwrap().rejected(ALL).unwrap();
    assert_eq!(rejected[0].code, "unknown_user");
    assert_eq!(
        rejected[0].reason,
        "user 3000007 does not exist; create it first"
    );
    let position = |block: usize, entry: usize| {
        let entry = &chain.blocks[block].entries[entry];
        let snapshot = index.snapshot().unwrap();
        let signer = entry.signer.unwrap();
        assert!(
            snapshot
                .action_of(&entry.digest, &signer)
                .unwrap()
                .is_some()
        );
        assert_eq!(
            snapshot.accepted(&entry.digest, &Address::ZERO).unwrap(),
            None
        );
        snapshot.accepted(&entry.digest, &signer).unwrap()
    };
    assert_eq!(
        position(2, 3),
        Some(chain.blocks[2].entries[3].entry.position)
    );
    assert_eq!(position(2, 4), None);
    // A signature that recovers nobody is one more.
    chain.push(vec![create_user(2)]);
    let mut block = chain.blocks[3].clone();
    block.entries[0].signer = None;
    index.apply(&block).unwrap();
    let snapshot = index.snapshot().unwrap();
    let sequence = block.entries[0].entry.position.sequence();
    assert_eq!(
        snapshot.rejection(sequence).unwrap().unwrap().code,
        "signature"
    );
    assert_eq!(snapshot.user(user_id(2)).unwrap(), None);
    assert_eq!(snapshot.entry_count().unwrap(), 11);
}

#[test]
fn a_signature_names_the_wallet() {
    let key = SigningKey::from_bytes(&[5; 32]).unwrap();
    let mut chain = village();
    let mut entry = chain.push(vec![create_user(2)]).entries[0].entry.clone();
    entry.action = entry.action.action.sign(&DOMAIN, &key);
    assert_eq!(
        BlockEntry::recover(entry.clone(), &DOMAIN).signer,
        Some(key.address())
    );
    entry.action.signature = Signature::default();
    assert_eq!(BlockEntry::recover(entry, &DOMAIN).signer, None);
}

#[test]
fn the_entries_tree_covers_everything_since_deployment() {
    let chain = village();
    let index = indexed(&chain);
    let snapshot = index.snapshot().unwrap();
    let entries: Vec<Entry> = chain
        .blocks
        .iter()
        .flat_map(|block| block.entries.iter().map(|entry| entry.entry.clone()))
        .collect();
    let root = |count: usize| merkle::root(entries[..count].iter().map(|entry| entry.id().0));
    assert_eq!(snapshot.entries_root().unwrap(), root(10));
    let second = snapshot.block_at(11).unwrap().unwrap();
    assert_eq!((second.peaks.root(), second.peaks.count), (root(5), 5));
    assert_eq!(snapshot.entries(0..=u64::MAX, 100).unwrap(), entries);
    let from = entries[3].position.sequence();
    assert_eq!(snapshot.entries(from..=u64::MAX, 2).unwrap(), entries[3..5]);
}

#[test]
fn a_block_that_does_not_fit_changes_nothing() {
    let mut chain = village();
    let mut index = indexed(&chain);
    let before = index.snapshot().unwrap().all_rows().unwrap();
    let known = chain.blocks[1].clone();
    assert!(matches!(
        index.apply(&known),
        Err(IndexError::NotNext {
            number: 11,
            cursor: 12
        })
    ));
    let next = chain.push(vec![create_user(2), create_user(3)]).clone();
    let mut fork = next.clone();
    fork.parent = Some(Hash32::ZERO);
    assert!(matches!(
        index.apply(&fork),
        Err(IndexError::Parent { number: 13, .. })
    ));
    let mut shuffled = next.clone();
    shuffled.entries.swap(0, 1);
    assert!(matches!(
        index.apply(&shuffled),
        Err(IndexError::Entry { idx: 1, .. })
    ));
    let mut foreign = next;
    foreign.entries[0].entry.position.block_number += 1;
    assert!(matches!(
        index.apply(&foreign),
        Err(IndexError::Entry { idx: 0, .. })
    ));
    assert_eq!(index.snapshot().unwrap().all_rows().unwrap(), before);
}

#[test]
fn blocks_without_entries_may_be_left_out() {
    let mut chain = village();
    chain.push(Vec::new());
    chain.push(vec![create_user(2)]);
    let mut sparse = Index::in_memory().unwrap();
    for block in chain
        .blocks
        .iter()
        .filter(|block| !block.entries.is_empty())
    {
        sparse.apply(block).unwrap();
    }
    assert_eq!(dump(&sparse), dump(&indexed(&chain)));
}

#[test]
fn the_undo_log_has_a_floor_and_says_so() {
    let mut chain = village();
    for _ in 0..UNDO_BLOCKS + 5 {
        chain.push(Vec::new());
    }
    let last = chain.blocks.last().unwrap().number;
    let mut index = Index::in_memory().unwrap();
    index.apply_all(&chain.blocks).unwrap();
    let floor = last - UNDO_BLOCKS;
    assert!(matches!(
        index.rollback(floor - 1),
        Err(IndexError::TooDeep { .. })
    ));
    index.rollback(floor).unwrap();
    assert_eq!(index.snapshot().unwrap().entry_count().unwrap(), 10);
    // The block at the floor is kept, for its hash.
    assert_eq!(
        index.snapshot().unwrap().cursor().unwrap().unwrap().number,
        floor
    );
}

#[test]
fn the_file_keeps_everything_and_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let chain = village();
    let mut index = Index::open(folder.path()).unwrap();
    index.apply_all(&chain.blocks).unwrap();
    let before = dump(&index);
    drop(index);
    let index = Index::open(folder.path()).unwrap();
    assert_eq!(dump(&index), before);
    drop(index);
    std::fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
    let mut index = Index::open(folder.path()).unwrap();
    index.apply_all(&chain.blocks).unwrap();
    assert_eq!(dump(&index), before);
}

#[test]
fn a_file_of_an_older_format_is_emptied_and_a_later_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let chain = village();
    let mut index = Index::open(folder.path()).unwrap();
    index.apply_all(&chain.blocks).unwrap();
    let before = dump(&index);
    let instance = index.snapshot().unwrap().instance().unwrap();
    drop(index);
    set_format(folder.path(), FORMAT - 1);
    let mut index = Index::open(folder.path()).unwrap();
    assert_eq!(index.snapshot().unwrap().cursor().unwrap(), None);
    assert_ne!(index.snapshot().unwrap().instance().unwrap(), instance);
    index.apply_all(&chain.blocks).unwrap();
    assert_eq!(dump(&index), before);
    drop(index);
    set_format(folder.path(), FORMAT + 1);
    let later = Index::open(folder.path());
    assert!(matches!(later, Err(IndexError::Format { found }) if found == FORMAT + 1));
}

fn set_format(folder: &Path, format: u64) {
    let database = redb::Database::create(folder.join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut meta = transaction.open_table(META).unwrap();
    meta.insert("format", format).unwrap();
    drop(meta);
    transaction.commit().unwrap();
}

#[test]
fn final_blocks_are_applied_alike_and_stay() {
    let mut chain = village();
    let mut index = Index::in_memory().unwrap();
    index.apply_final(&chain.blocks).unwrap();
    assert_eq!(dump(&index), dump(&indexed(&chain)));
    let before = dump(&index);
    index.apply(chain.push(vec![create_user(2)])).unwrap();
    index.rollback(12).unwrap();
    assert_eq!(dump(&index), before);
    assert!(matches!(
        index.rollback(11),
        Err(IndexError::TooDeep { to: 11, floor: 12 })
    ));
}

#[test]
fn a_snapshot_does_not_move() {
    let mut chain = village();
    let mut index = indexed(&chain);
    let snapshot = index.reader().snapshot().unwrap();
    index.apply(chain.push(vec![create_user(2)])).unwrap();
    assert_eq!(snapshot.user(user_id(2)).unwrap(), None);
    assert!(
        index
            .snapshot()
            .unwrap()
            .user(user_id(2))
            .unwrap()
            .is_some()
    );
}

#[test]
fn unlisted_content_is_found_by_id_only() {
    let mut chain = village();
    chain.push(vec![
        unlist(0, 0, true),
        by(0).delete_digital_content(content_id(1)),
    ]);
    let snapshot = indexed(&chain).snapshot().unwrap();
    assert!(snapshot.content(content_id(0)).unwrap().is_some());
    assert!(snapshot.latest_contents(ALL).unwrap().is_empty());
    assert!(
        snapshot
            .contents_by_owner(user_id(0), false, ALL)
            .unwrap()
            .is_empty()
    );
    let own = snapshot.contents_by_owner(user_id(0), true, ALL).unwrap();
    assert_eq!(own.len(), 1);
    assert_eq!(snapshot.user(user_id(0)).unwrap().unwrap().track_count, 0);
    let feed = snapshot.feed(user_id(1), ALL).unwrap();
    assert_eq!(feed.len(), 1, "the list alone");
}

#[test]
fn pending_actions_stand_beside_the_index() {
    let mut chain = village();
    let mut index = indexed(&chain);
    let snapshot = index.snapshot().unwrap();
    let mut pending = Pending::new(4);
    let actions = vec![
        create_user(2),
        create_content(2, 5, "Noon"),
        by(2).relate(Relation::Save, Target::content(content_id(0))),
        by(2).follow(user_id(2)),
    ];
    for action in &actions {
        let signed = SignedAction {
            action: action.clone(),
            signature: Signature::default(),
        };
        let signer = wallet(action.user_id);
        pending
            .insert(signed.clone(), signer, UnixSeconds(9))
            .unwrap();
        pending.insert(signed, signer, UnixSeconds(9)).unwrap();
    }
    let view = pending.view(&snapshot).unwrap();
    assert!(view.users.contains_key(&user_id(2)));
    assert_eq!(view.contents[&content_id(5)].title, "Noon");
    assert_eq!(view.relations.len(), 1);
    assert_eq!(view.rejected.len(), 1);
    assert_eq!(
        snapshot
            .content(content_id(0))
            .unwrap()
            .unwrap()
            .favorite_count,
        1
    );
    let full = SignedAction {
        action: create_user(8),
        signature: Signature::default(),
    };
    assert_eq!(
        pending.insert(full, Address::ZERO, UnixSeconds(9)),
        Err(PendingError::Full { actions_max: 4 })
    );
    let block = chain.push(actions[..2].to_vec()).clone();
    index.apply(&block).unwrap();
    for entry in &block.entries {
        pending.remove(&entry.entry.action.action.struct_hash());
    }
    assert_eq!(pending.len(), 2);
    pending.expire(UnixSeconds(10));
    assert!(pending.is_empty());
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// All that can be asked.
fn dump(index: &Index) -> (Rows, Hash32, Vec<Entry>) {
    let snapshot = index.snapshot().unwrap();
    check_counts(&snapshot);
    (
        snapshot.all_rows().unwrap(),
        snapshot.entries_root().unwrap(),
        snapshot.entries(0..=u64::MAX, 4096).unwrap(),
    )
}

/// Counts are what the listings count.
fn check_counts(snapshot: &Snapshot) {
    for idx in 0..USERS {
        let id = user_id(idx);
        let Some(view) = snapshot.user(id).unwrap() else {
            continue;
        };
        let followers = snapshot.followers(id, ALL).unwrap().len() as u64;
        let saves = snapshot.made(Relation::Save, id, ALL).unwrap().len() as u64;
        let contents = snapshot.contents_by_owner(id, false, ALL).unwrap().len() as u64;
        let albums = snapshot.lists_by_owner(id, None, false, ALL).unwrap().len() as u64;
        assert_eq!(view.follower_count, followers);
        assert_eq!(view.save_count, saves);
        assert_eq!(view.track_count, contents);
        assert_eq!(view.playlist_count + view.album_count, albums);
    }
    for view in snapshot.latest_contents(ALL).unwrap() {
        let target = Target::content(view.content.track_id);
        let reposts = snapshot
            .received(Relation::Repost, target, ALL)
            .unwrap()
            .len();
        let comments = snapshot.comments(target.id, ALL).unwrap().len();
        assert_eq!(view.repost_count, reposts as u64);
        assert_eq!(view.comment_count, comments as u64);
    }
}

const USERS: u64 = 4;

/// Actions of a few users on a few things, many of them invalid.
fn any_action() -> impl Strategy<Value = Action> {
    (0..USERS, 0..USERS, 0u64..4, 0u8..16).prop_map(|(user, other, idx, what)| {
        let song = Target::content(content_id(idx));
        let comment = CommentFields::new(content_id(idx), format!("by {user}"));
        match what {
            0 | 1 => create_user(user),
            2 | 3 => create_content(user, idx, if what == 2 { "Dawn" } else { "Night" }),
            4 => unlist(user, idx, other % 2 == 0),
            5 => by(user).delete_digital_content(content_id(idx)),
            6 => by(user).follow(user_id(other)),
            7 => by(user).unfollow(user_id(other)),
            8 => by(user).relate(Relation::Save, song),
            9 => by(user).unrelate(Relation::Save, song),
            10 => by(user).relate(Relation::Repost, song),
            11 => by(user).create_content_list(list_id(idx), &list(&[idx], other % 2 == 0)),
            12 => by(user).update_content_list(list_id(idx), &list(&[other], other % 2 == 1)),
            13 => by(user).create_comment(EntityId(idx + 1), &comment),
            14 => by(user).delete_comment(EntityId(idx + 1)),
            _ => by(user).relate(Relation::Repost, Target::list(list_id(idx))),
        }
    })
}

/// Take back so many blocks, then append these.
fn any_step() -> impl Strategy<Value = (usize, Vec<Vec<Action>>)> {
    let blocks = prop::collection::vec(prop::collection::vec(any_action(), 0..12), 1..4);
    (prop_oneof![3 => Just(0usize), 1 => 1usize..6], blocks)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_reorganised_index_is_a_fresh_one(steps in prop::collection::vec(any_step(), 1..8)) {
        let mut chain = Chain::default();
        let mut index = Index::in_memory().unwrap();
        let mut search = Search::in_memory().unwrap();
        for (depth, blocks) in steps {
            if depth > 0 {
                index.rollback(chain.fork(depth)).unwrap();
            }
            for actions in blocks {
                index.apply(chain.push(actions)).unwrap();
            }
            let at = search.sync(&index.snapshot().unwrap()).unwrap();
            index.trim_touched(at).unwrap();
        }
        let mut fresh = Index::in_memory().unwrap();
        fresh.apply_all(&chain.blocks).unwrap();
        prop_assert_eq!(dump(&index), dump(&fresh));
        let mut fresh_search = Search::in_memory().unwrap();
        fresh_search.sync(&fresh.snapshot().unwrap()).unwrap();
        for query in ["dawn", "user1", "evening", "nigth", "res"] {
            let found = |search: &Search| {
                let hits = search.searcher().search(query, None, 100, 0).unwrap();
                let mut targets: Vec<_> = hits.iter().map(|hit| (hit.kind, hit.id)).collect();
                targets.sort();
                targets
            };
            let targets = found(&search);
            prop_assert_eq!(&targets, &found(&fresh_search));
            for (kind, id) in targets {
                let target = Target { kind, id };
                prop_assert!(index.snapshot().unwrap().is_public(target).unwrap());
            }
        }
    }
}

/// Prints how fast a release build replays; asserts only what a debug build does.
#[test]
#[allow(clippy::print_stderr, reason = "the measured rates are its result")]
fn replay_is_fast() {
    let blocks = bulk(if cfg!(debug_assertions) {
        2_000
    } else {
        200_000
    });
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path()).unwrap();
    let start = std::time::Instant::now();
    let mut applied = 0;
    for chunk in blocks.chunks(256) {
        let chunk = index.apply_final(chunk).unwrap();
        applied += chunk.accepted + chunk.rejected;
    }
    let seconds = start.elapsed().as_secs_f64();
    let indexing = applied as f64 / seconds;
    let mut search = Search::open(&folder.path().join("search")).unwrap();
    search.sync(&index.snapshot().unwrap()).unwrap();
    let both = applied as f64 / start.elapsed().as_secs_f64();
    eprintln!("{applied} entries: {indexing:.0}/s indexed, {both:.0}/s with search");
    let count = index.snapshot().unwrap().entry_count().unwrap();
    assert_eq!(applied, count);
}

/// Blocks of 50 entries: a tenth users, two tenths contents, the rest social.
fn bulk(count: u64) -> Vec<RecoveredBlock> {
    let users = count / 10;
    let contents = count / 5;
    let mut actions: Vec<Action> = (0..users).map(create_user).collect();
    actions.extend(
        (0..contents).map(|idx| create_content(idx % users, idx, &format!("Song number {idx}"))),
    );
    actions.extend((0..count - users - contents).map(|idx| {
        let user = idx % users;
        let target = content_id((user * 7 + idx / users * 3 + 1) % contents);
        if idx % 2 == 0 {
            by(user).relate(Relation::Repost, Target::content(target))
        } else {
            by(user).create_comment(
                EntityId(idx + 1),
                &CommentFields::new(target, "lovely".to_owned()),
            )
        }
    }));
    let mut chain = Chain::default();
    for chunk in actions.chunks(50) {
        chain.push(chunk.to_vec());
    }
    chain.blocks
}

#[test]
fn kinds_and_targets_have_one_byte_each() {
    for kind in EntityType::ALL {
        assert_eq!(keys::kind_of(keys::kind_byte(kind)), Some(kind));
    }
    assert_eq!(keys::end_of(&[1, 255]), [2]);
}

#[test]
fn a_full_disk_stops_writing_only_until_there_is_room() {
    for step in 0..40 {
        let disk = MemoryBackend::new();
        let mut index = Index::open_in(Arc::new(disk.clone())).unwrap();
        let mut chain = Chain::default();
        let first = chain.push(vec![create_user(1)]).clone();
        let second = chain.push(vec![create_user(2)]).clone();
        index.apply(&first).unwrap();
        disk.fill_disk_at(disk.steps() + step, 1);
        let outcome = index.apply(&second);
        let reader = index.reader();
        let has = |handle: &str| {
            let found = reader.snapshot().unwrap().user_by_handle(handle);
            found.unwrap().is_some()
        };
        assert!(has("user1"), "step {step}");
        // A commit whose last sync fails may have landed all the same.
        if outcome.is_err() && !has("user2") {
            let again = index.apply(&second);
            again.unwrap_or_else(|error| panic!("step {step}: {error}"));
        }
        assert!(has("user2"), "step {step}");
    }
}
