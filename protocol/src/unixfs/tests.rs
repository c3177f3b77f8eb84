use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use proptest::prelude::*;

use super::*;

#[test]
fn files_of_the_2025_profile_have_the_published_cids() {
    let profile = Profile::V1_2025;
    check_cid(
        import(profile, b"hello world").0,
        "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
    );
    check_stream(
        profile,
        "chunk-v1-seed",
        1 << 20,
        [
            "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta",
            "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64",
        ],
    );
    if is_long() {
        check_stream(
            profile,
            "v1-2025-seed",
            1 << 30,
            [
                "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm",
                "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe",
            ],
        );
    }
}

#[test]
fn files_of_the_2015_profile_have_the_published_cids() {
    let profile = Profile::V0_2015;
    check_cid(
        import(profile, b"hello world").0,
        "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD",
    );
    check_stream(
        profile,
        "chunk-v0-seed",
        262_144,
        [
            "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE",
            "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ",
        ],
    );
    check_stream(
        profile,
        "v0-seed",
        174 * 262_144,
        [
            "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2",
            "QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW",
        ],
    );
}

#[test]
fn empty_directories_and_files_have_the_published_cids() {
    let empty = |profile| Directory::new(profile).finish().0;
    check_cid(
        empty(Profile::V1_2025),
        "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354",
    );
    check_cid(
        empty(Profile::V0_2015),
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
    );
    check_cid(
        import(Profile::V0_2015, b"").0,
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
    );
    check_cid(
        import(Profile::V1_2025, b"").0,
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
    );
}

#[test]
fn names_hash_as_murmur3_says() {
    assert_eq!(murmur3::hash(b""), 0);
    assert_eq!(murmur3::hash(b"hello"), 0xcbd8_a7b3_41bd_9b02);
    assert_eq!(murmur3::hash(b"hello, world"), 0x342f_ac62_3a5e_bc8e);
    assert_eq!(
        murmur3::hash(b"The quick brown fox jumps over the lazy dog."),
        0xcd99_481f_9ee9_02c9
    );
}

#[test]
fn a_path_leads_through_plain_and_hashed_directories() {
    for profile in [Profile::V1_2025, Profile::V0_2015] {
        let (file, mut store) = import(profile, b"words");
        let mut large = Directory::new(profile);
        for number in 0..6000 {
            let name = format!("a name that is long enough {number:06}");
            large.insert(&name, file.cid, file.dag_bytes).unwrap();
        }
        let (large, blocks) = large.finish();
        assert!(blocks.len() > 256, "the directory is in shards");
        keep(&mut store, blocks);
        let mut top = Directory::new(profile);
        top.insert("large", large.cid, large.dag_bytes).unwrap();
        let (top, blocks) = top.finish();
        keep(&mut store, blocks);

        let found = resolve(&store, top.cid, "large/a name that is long enough 004321");
        assert_eq!(found, Ok(file.cid));
        assert_eq!(resolve(&store, top.cid, "/large/"), Ok(large.cid));
        assert_eq!(
            resolve(&store, top.cid, "large/nothing").unwrap_err(),
            DagError::NotFound {
                directory: large.cid,
                name: "nothing".to_owned()
            }
        );
        assert!(resolve(&store, file.cid, "large").is_err());
        assert_eq!(list(&store, large.cid).len(), 6000);
        assert_eq!(list(&store, top.cid)[0].name, "large");
    }
}

#[test]
fn a_directory_becomes_shards_only_above_the_threshold() {
    // Each link takes 200 bytes of the block, or 34 + 145 in the older profile.
    for (profile, per_entry, fixed) in [(Profile::V1_2025, 200, 4), (Profile::V0_2015, 179, 0)] {
        let fits = (SHARD_THRESHOLD_BYTES - fixed) / per_entry;
        for (count, is_large) in [(fits, false), (fits + 1, true)] {
            let (file, _) = import(profile, b"x");
            let mut directory = Directory::new(profile);
            let name_bytes = match profile {
                Profile::V1_2025 => 200 - 2 - 1 - (2 + 36) - 3 - 2,
                Profile::V0_2015 => 145,
            };
            for number in 0..count {
                let name = format!("{number:0name_bytes$}");
                directory.insert(&name, file.cid, 1).unwrap();
            }
            let (_, blocks) = directory.finish();
            assert_eq!(blocks.len() > 1, is_large, "{profile:?} {count}");
        }
    }
}

#[test]
fn bad_names_are_refused() {
    let mut directory = Directory::new(Profile::V1_2025);
    let cid = raw_cid(b"");
    for name in ["", ".", "..", "a/b", &"n".repeat(256)] {
        assert!(directory.insert(name, cid, 0).is_err(), "{name}");
    }
    directory.insert("a", cid, 0).unwrap();
    assert_eq!(
        directory.insert("a", cid, 0).unwrap_err().to_string(),
        "the directory has two entries named `a`"
    );
}

#[test]
fn a_block_is_checked_against_its_cid() {
    let cid = raw_cid(b"a");
    assert_eq!(verify_block(&cid, b"a"), Ok(()));
    assert_eq!(verify_block(&cid, b"b"), Err(BlockError::Mismatch { cid }));
    let large = vec![0; BLOCK_BYTES_MAX + 1];
    let cid = raw_cid(&large);
    assert!(matches!(
        verify_block(&cid, &large),
        Err(BlockError::TooLarge { .. })
    ));
    let sha1 = Cid::new_v1(RAW, Multihash::wrap(0x11, &[0; 20]).unwrap());
    assert!(matches!(
        verify_block(&sha1, b"a"),
        Err(BlockError::UnsupportedHash { code: 0x11, .. })
    ));
    let inline = Cid::new_v1(RAW, Multihash::wrap(0, b"abc").unwrap());
    assert_eq!(verify_block(&inline, b"abc"), Ok(()));
    assert!(verify_block(&inline, b"abd").is_err());
}

#[test]
fn equal_chunks_are_walked_and_proved_once() {
    let (root, store) = import(Profile::V1_2025, &vec![7; 5 << 20]);
    let proof = prove(&store, root.cid).unwrap();
    assert_eq!(proof.blocks, 2);
    let node = &store[&root.cid];
    assert_eq!(proof.size, node.len() as u64 + (1 << 20));
    let mut hasher = blake3::Hasher::new();
    hasher.update(node).update(&[7; 1 << 20]);
    assert_eq!(proof.hash.0, *hasher.finalize().as_bytes());
}

#[test]
fn a_missing_block_is_named() {
    let (root, mut store) = import(Profile::V1_2025, &stream("s", 3 << 20));
    let leaf = raw_cid(&stream("s", 3 << 20)[1 << 20..2 << 20]);
    store.remove(&leaf);
    let error = prove(&store, root.cid).unwrap_err();
    assert_eq!(error.to_string(), format!("block {leaf} is missing"));
}

#[test]
fn a_chain_that_is_too_deep_is_refused() {
    let mut store = BTreeMap::new();
    let mut child = raw_cid(b"bottom");
    store.insert(child, Bytes::from_static(b"bottom"));
    for _ in 0..=DEPTH_MAX {
        let link = Link {
            cid: child,
            name: String::new(),
            dag_bytes: 0,
        };
        let block = Profile::V1_2025.node_block(node::encode_file(&[], &[(link, 6)]));
        child = block.cid;
        keep(&mut store, vec![block]);
    }
    assert!(matches!(
        prove(&store, child),
        Err(ProofError::Dag(DagError::TooDeep { .. }))
    ));
    assert!(matches!(
        read(&store, child, 0..6),
        Err(DagError::TooDeep { .. })
    ));
}

#[test]
fn a_walk_stops_at_its_limit() {
    let (root, store) = import(Profile::V1_2025, &stream("s", 4 << 20));
    let mut traversal = Traversal::new(root.cid).with_blocks_max(3);
    let error = loop {
        let cid = traversal.poll_needed().unwrap().unwrap();
        if let Err(error) = traversal.handle_block(&cid, &store[&cid]) {
            break error;
        }
    };
    assert!(matches!(error, DagError::TooManyBlocks { limit: 3, .. }));
}

#[test]
fn a_block_that_lies_about_a_child_is_refused() {
    let child = raw_cid(b"abc");
    let link = Link {
        cid: child,
        name: String::new(),
        dag_bytes: 3,
    };
    let block = Profile::V1_2025.node_block(node::encode_file(&[], &[(link, 4)]));
    let root = block.cid;
    let mut store = BTreeMap::from([(child, Bytes::from_static(b"abc"))]);
    keep(&mut store, vec![block]);
    assert_eq!(
        read(&store, root, 0..4),
        Err(DagError::SizeMismatch {
            cid: child,
            claimed: 4,
            found: 3
        })
    );
}

#[test]
fn an_inlined_leaf_is_read_without_being_asked_for() {
    let inline = Cid::new_v1(RAW, Multihash::wrap(0, b"abc").unwrap());
    let link = |cid| Link {
        cid,
        name: String::new(),
        dag_bytes: 3,
    };
    let leaf = raw_cid(b"def");
    let node = node::encode_file(&[], &[(link(inline), 3), (link(leaf), 3)]);
    let block = Profile::V1_2025.node_block(node);
    let root = block.cid;
    let mut store = BTreeMap::from([(leaf, Bytes::from_static(b"def"))]);
    keep(&mut store, vec![block]);
    assert_eq!(read(&store, root, 0..u64::MAX), Ok(b"abcdef".to_vec()));
    assert_eq!(prove(&store, root).unwrap().blocks, 2);
}

#[test]
fn only_the_blocks_of_a_range_are_asked_for() {
    let bytes = stream("s", 5 << 20);
    let (root, mut store) = import(Profile::V1_2025, &bytes);
    store.remove(&raw_cid(&bytes[..1 << 20]));
    store.remove(&raw_cid(&bytes[4 << 20..]));
    let range = (1 << 20) + 5..(3 << 20) + 7;
    let expected = bytes[(1 << 20) + 5..(3 << 20) + 7].to_vec();
    assert_eq!(read(&store, root.cid, range), Ok(expected));
}

#[test]
fn a_directory_is_not_read_as_a_file() {
    let (root, blocks) = Directory::new(Profile::V1_2025).finish();
    let mut store = BTreeMap::new();
    keep(&mut store, blocks);
    assert_eq!(
        read(&store, root.cid, 0..1).unwrap_err().to_string(),
        format!("{} is a directory, not a file", root.cid)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let block = Profile::V1_2025.node_block(bytes);
        let _ = Node::decode(&block.cid, &block.data);
        let store = BTreeMap::from([(block.cid, block.data)]);
        let _ = read(&store, block.cid, 0..10);
        let _ = prove(&store, block.cid);
    }

    #[test]
    fn a_damaged_node_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (root, store) = import(Profile::V0_2015, &vec![1; 600_000]);
        let mut node = store[&root.cid].to_vec();
        let at = at.index(node.len());
        node[at] = byte;
        let block = Profile::V1_2025.node_block(node);
        let mut store = store;
        store.insert(block.cid, block.data);
        let _ = read(&store, block.cid, 0..u64::MAX);
        let _ = prove(&store, block.cid);
    }

    #[test]
    fn every_range_comes_back(
        size in 0usize..1_500_000,
        (from, to) in (0u64..1_600_000, 0u64..1_600_000),
        v1 in any::<bool>(),
        piece in 1usize..400_000,
    ) {
        let profile = if v1 { Profile::V1_2025 } else { Profile::V0_2015 };
        let bytes = stream("range", size);
        let mut importer = Importer::new(profile);
        bytes.chunks(piece).for_each(|piece| importer.push(piece));
        let mut store = BTreeMap::new();
        while let Some(block) = importer.poll_block() {
            keep(&mut store, vec![block]);
        }
        let (root, blocks) = importer.finish();
        keep(&mut store, blocks);
        prop_assert_eq!(root.size, size as u64);
        let cut = |offset: u64| usize::try_from(offset).unwrap().min(size);
        let expected = if from < to { bytes[cut(from)..cut(to)].to_vec() } else { Vec::new() };
        prop_assert_eq!(read(&store, root.cid, from..to), Ok(expected));
    }
}

type Store = BTreeMap<Cid, Bytes>;

/// Keeps blocks, checking that each is what its CID says.
fn keep(store: &mut Store, blocks: Vec<VerifiedBlock>) {
    for block in blocks {
        verify_block(&block.cid, &block.data).unwrap();
        store.insert(block.cid, block.data);
    }
}

fn import(profile: Profile, bytes: &[u8]) -> (Root, Store) {
    let mut importer = Importer::new(profile);
    importer.push(bytes);
    let (root, blocks) = {
        let mut taken = Vec::new();
        while let Some(block) = importer.poll_block() {
            taken.push(block);
        }
        let (root, rest) = importer.finish();
        taken.extend(rest);
        (root, taken)
    };
    let mut store = BTreeMap::new();
    keep(&mut store, blocks);
    (root, store)
}

fn read(store: &Store, root: Cid, range: Range<u64>) -> Result<Vec<u8>, DagError> {
    let mut reader = Reader::new(root, range);
    let mut out = Vec::new();
    loop {
        match reader.poll()? {
            Step::Ready(bytes) => out.extend_from_slice(&bytes),
            Step::Done => return Ok(out),
            // A hostile root may point at blocks that do not exist.
            Step::Need(cid) => match store.get(&cid) {
                Some(data) => reader.handle_block(&cid, data)?,
                None => return Ok(out),
            },
        }
    }
}

fn resolve(store: &Store, root: Cid, path: &str) -> Result<Cid, DagError> {
    let mut resolver = Resolver::new(root, path);
    loop {
        match resolver.poll()? {
            Step::Need(cid) => resolver.handle_block(&cid, &store[&cid])?,
            Step::Ready(cid) => return Ok(cid),
            Step::Done => unreachable!("the result comes first"),
        }
    }
}

fn list(store: &Store, root: Cid) -> Vec<Entry> {
    let mut listing = Listing::new(root);
    let mut entries = Vec::new();
    loop {
        match listing.poll().unwrap() {
            Step::Need(cid) => listing.handle_block(&cid, &store[&cid]).unwrap(),
            Step::Ready(entry) => entries.push(entry),
            Step::Done => return entries,
        }
    }
}

fn prove(store: &Store, root: Cid) -> Result<ProofRoot, ProofError<Infallible>> {
    proof_root(root, |cid| Ok(store.get(cid).cloned()))
}

#[track_caller]
fn check_cid(root: Root, expected: &str) {
    assert_eq!(root.cid.to_string(), expected);
}

/// Imports the first bytes of one stream, and those with one byte more, without
/// keeping anything.
#[track_caller]
fn check_stream(profile: Profile, seed: &str, mut size: usize, expected: [&str; 2]) {
    let mut importer = Importer::new(profile);
    let mut cipher = cipher(seed);
    let mut piece = vec![0; 1 << 20];
    while size > 0 {
        let length = size.min(piece.len());
        piece[..length].fill(0);
        cipher.apply_keystream(&mut piece[..length]);
        importer.push(&piece[..length]);
        while importer.poll_block().is_some() {}
        size -= length;
    }
    check_cid(importer.clone().finish().0, expected[0]);
    let mut last = [0];
    cipher.apply_keystream(&mut last);
    importer.push(&last);
    check_cid(importer.finish().0, expected[1]);
}

fn stream(seed: &str, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    cipher(seed).apply_keystream(&mut bytes);
    bytes
}

fn cipher(seed: &str) -> ChaCha20 {
    let key: [u8; 32] = digest(&SHA256, seed.as_bytes())
        .as_ref()
        .try_into()
        .unwrap();
    ChaCha20::new(&key.into(), &[0; 12].into())
}

/// Gigabytes are hashed only in the long runs, which are optimised builds.
fn is_long() -> bool {
    std::env::var("COLIVING_TESTS").is_ok_and(|tests| tests == "long")
}

#[test]
fn an_import_hashes_each_block_once() {
    for (profile, blocks) in [(Profile::V1_2025, 3 + 1), (Profile::V0_2015, 12 + 1)] {
        let mut importer = Importer::new(profile);
        let before = HASHED.get();
        importer.push(&stream("hash", 3 << 20));
        let (_, rest) = importer.finish();
        assert!(!rest.is_empty());
        assert_eq!(HASHED.get() - before, blocks, "{profile:?}");
    }
}
