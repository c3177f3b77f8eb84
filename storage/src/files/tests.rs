use std::collections::BTreeMap;
use std::convert::Infallible;

use protocol::unixfs::proof_root;

use super::*;

#[test]
fn a_file_comes_back_in_any_range() {
    for profile in [Profile::V1_2025, Profile::V0_2015] {
        for size in [0, 1, 1 << 20, (1 << 20) + 1, 3_500_000] {
            let bytes = pattern(size);
            let (imported, store) = stored(profile, &bytes);
            assert_eq!(imported.root.size, size as u64);
            for range in [0..u64::MAX, 0..1, 1_048_570..1_048_580, 9..9] {
                let mut out = Vec::new();
                let written = export(imported.root.cid, range.clone(), get(&store), &mut out);
                let cut = |offset: u64| usize::try_from(offset).unwrap_or(size).min(size);
                assert_eq!(out, bytes[cut(range.start)..cut(range.end)]);
                assert_eq!(written.unwrap(), out.len() as u64);
            }
        }
    }
}

#[test]
fn threads_and_batches_do_not_change_the_address() {
    let bytes = pattern(5_000_000);
    let mut importer = Importer::new(Profile::V1_2025);
    importer.push(&bytes);
    let expected = importer.finish().0;
    for hashers in [0, 1, 2, 5, 1000] {
        for batch_bytes in [1, 2 << 20, 64 << 20] {
            let options = ImportOptions {
                hashers,
                batch_bytes,
                ..ImportOptions::default()
            };
            let imported = import(&bytes[..], &options, |_| ok(), |_| ()).unwrap();
            assert_eq!(imported.root, expected);
        }
    }
}

#[test]
fn progress_rises_to_the_size_of_the_file() {
    let bytes = pattern(5_000_000);
    let options = ImportOptions {
        batch_bytes: 1 << 20,
        ..ImportOptions::default()
    };
    let mut seen = Vec::new();
    import(&bytes[..], &options, |_| ok(), |stored| seen.push(stored)).unwrap();
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&5_000_000));
}

#[test]
fn the_listed_blocks_are_those_of_the_proof_root() {
    let (imported, store) = stored(Profile::V1_2025, &pattern(4_000_000));
    let proof = proof_root(imported.root.cid, get(&store)).unwrap();
    assert_eq!(proof.blocks, imported.blocks.len() as u64);
    assert_eq!(imported.blocks.last(), Some(&imported.root.cid));
}

#[test]
fn a_source_that_fails_half_way_says_where() {
    let source = pattern(3 << 20);
    let broken = source[..].chain(Broken);
    let options = ImportOptions::default();
    let error = import(broken, &options, |_| ok(), |_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read beyond byte {}: the disk is gone", 3 << 20)
    );
}

#[test]
fn a_store_that_refuses_ends_the_import_at_once() {
    let endless = io::repeat(7);
    let options = ImportOptions::default();
    let mut batches = 0;
    let error = import(
        endless,
        &options,
        |_| {
            batches += 1;
            Err(io::Error::other("the disk is full"))
        },
        |_| (),
    );
    assert_eq!(error.unwrap_err().to_string(), "the disk is full");
    assert_eq!(batches, 1);
}

#[test]
fn an_export_names_what_is_missing() {
    let (imported, mut store) = stored(Profile::V1_2025, &pattern(3 << 20));
    let cid = imported.blocks[1];
    store.remove(&cid);
    let error = export(imported.root.cid, 0..u64::MAX, get(&store), io::sink());
    assert!(matches!(error, Err(ExportError::Missing { cid: missing }) if missing == cid));
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

type Store = BTreeMap<Cid, Bytes>;

#[track_caller]
fn stored(profile: Profile, bytes: &[u8]) -> (Imported, Store) {
    let mut store = BTreeMap::new();
    let options = ImportOptions {
        profile,
        batch_bytes: 1 << 20,
        ..ImportOptions::default()
    };
    let put = |batch: Vec<VerifiedBlock>| {
        store.extend(batch.into_iter().map(VerifiedBlock::into_parts));
        ok()
    };
    let imported = import(bytes, &options, put, |_| ()).unwrap();
    (imported, store)
}

fn get(store: &Store) -> impl FnMut(&Cid) -> Result<Option<Bytes>, Infallible> {
    |cid| Ok(store.get(cid).cloned())
}

fn ok() -> Result<(), Infallible> {
    Ok(())
}

/// Bytes whose chunks all differ.
fn pattern(size: usize) -> Vec<u8> {
    (0u32..)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .take(size)
        .collect()
}
