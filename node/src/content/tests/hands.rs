//! What the hands do with wishes, without a machine.

use protocol::content::Purpose;

use super::*;

#[tokio::test]
async fn what_is_read_of_references_comes_in_the_order_of_the_wishes() {
    let (chain, context) = lone_holder().await;
    let exchange = exchange::spawn(&context).await.unwrap();
    let hands = hands(&context, &exchange).await.unwrap();
    let mut work = Work::new();
    // What is read first takes longest.
    hands.read_references((0..MANY).map(root).collect(), &mut work);
    hands.scan(None, &mut work);
    hands.read_references(Vec::new(), &mut work);
    let mut read = Vec::new();
    while read.len() < 3 {
        read.push(match within(work.next_ended()).await {
            Some(Input::References(roots)) => roots.len(),
            Some(Input::Scanned { roots, .. }) => roots.len(),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(read, [MANY as usize, 0, 0]);
    kill(&context).await;
    chain.stop().await;
}

#[tokio::test]
async fn a_pull_that_has_ended_is_forgotten() {
    let (chain, context) = lone_holder().await;
    let exchange = exchange::spawn(&context).await.unwrap();
    let mut hands = hands(&context, &exchange).await.unwrap();
    let mut work = Work::new();
    for number in [1, 2] {
        let nobody = (Vec::new(), None);
        hands.fetch(root(number), Purpose::Upload, 1, nobody, &mut work);
        let pulls: Vec<Cid> = hands.pulls.keys().copied().collect();
        assert_eq!(pulls, [root(number)]);
        hands.pulls[&root(number)].abort();
        within(work.next_ended()).await;
    }
    kill(&context).await;
    chain.stop().await;
}

async fn lone_holder() -> (TestChain, Context) {
    let chain = TestChain::with_peers(&[2], Role::Content).await;
    let disk = MemoryBackend::new();
    let context = peer_on(Terms::default(), &chain, 2, &disk, 1).await;
    (chain, context)
}

fn root(number: u32) -> Cid {
    protocol::unixfs::raw_cid(&number.to_be_bytes())
}

const MANY: u32 = 20_000;
