//! Holders with somebody who means no good.

use bytes::Bytes;
use futures::future::join_all;
use protocol::entity::build::{Builder, UserFields};
use protocol::id::{Hash32, UserId};
use protocol::publish::{Offer, Request as Publish, Response as Published};
use protocol::signing::SigningKey;
use protocol::unixfs::{Importer, Leaf, Profile, raw_cid};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_drip_and_many_of_a_byte_do_not_stop_a_publication() {
    let village = Village::new(3).await;
    let attacker = village.stranger(61).await;
    let mut questions = attacker.net.serve(Protocol::Blocks).await.unwrap();
    let (roots, blocks) = dripping_files();
    tokio::spawn(async move {
        while let Some(inbound) = questions.recv().await {
            let request = Request::decode(&inbound.body).unwrap();
            let block = request.cids.first().and_then(|cid| blocks.get(cid));
            let answers = block.map(|data| Answer::Data(data.clone()));
            let response = Response {
                answers: answers.into_iter().collect(),
            };
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(4)).await;
                inbound.respond.send(response.encode());
            });
        }
    });
    let mut offers: Vec<Vec<u8>> = roots
        .into_iter()
        .map(|(root, size)| eve_offers(&attacker, root, size))
        .collect();
    offers.extend((0..SMALL).map(|number| {
        let root = raw_cid(&number.to_be_bytes());
        eve_offers(&attacker, root, 1)
    }));
    let (net, offers) = (&attacker.net, &offers);
    let accepted = join_all(village.holders.iter().map(async |holder| {
        let mut accepted = 0;
        for offer in offers {
            let answer = net.request(holder.context.peer, Protocol::Publish, offer.clone());
            let answer = Published::from_bytes(&within(answer).await.unwrap()).unwrap();
            accepted += usize::from(answer == Published::Accepted);
        }
        accepted
    }))
    .await;
    assert!(
        accepted.iter().all(|count| (PLACES..SMALL).contains(count)),
        "{accepted:?} offers were accepted"
    );

    let imported = village.import(&noise(1 << 20)).await;
    village.publish(&imported, 3).await;
}

impl Village {
    /// A light peer that everybody knows, with a user of its own.
    async fn stranger(&self, seed: u8) -> Context {
        let chain = self.chain.as_ref().expect("it runs");
        let disk = MemoryBackend::new();
        let config = Config::default();
        let stranger = chain.peer(seed, &disk, config, self.holders.len()).await;
        let holders = self.holders.iter().map(|holder| &holder.context);
        let all: Vec<&Context> = holders.chain([&stranger]).collect();
        introduce(&all).await;
        for context in &all {
            apply(context, 2, &[eve_joins(context)]).await;
        }
        stranger
    }
}

/// Two files of blocks of sixteen bytes.
fn dripping_files() -> (Vec<(Cid, u64)>, BTreeMap<Cid, Bytes>) {
    let (mut roots, mut blocks) = (Vec::new(), BTreeMap::new());
    let bytes = noise(32_000);
    for half in bytes.chunks(16_000) {
        let mut file = Importer::new(Profile::default());
        for chunk in half.chunks(16) {
            let chunk = Bytes::copy_from_slice(chunk);
            file.push_leaf(Leaf::new(Profile::default(), chunk));
        }
        let mut made: Vec<_> = std::iter::from_fn(|| file.poll_block()).collect();
        let (root, last) = file.finish();
        made.extend(last);
        let mut size = 0;
        for (cid, data) in made.into_iter().map(|block| block.into_parts()) {
            size += data.len() as u64;
            blocks.insert(cid, data);
        }
        roots.push((root.cid, size));
    }
    (roots, blocks)
}

fn eve() -> (Builder, SigningKey) {
    let builder = Builder {
        user: UserId(3_000_002),
        nonce: Hash32([7; 32]),
    };
    (builder, SigningKey::from_bytes(&[91; 32]).unwrap())
}

fn eve_joins(peer: &Context) -> SignedAction {
    let (eve, key) = eve();
    let fields = UserFields {
        handle: Some("eve".to_owned()),
        ..UserFields::default()
    };
    let action = eve.create_user(&fields);
    action.sign(&peer.contracts.action_domain(), &key)
}

fn eve_offers(peer: &Context, root: Cid, size: u64) -> Vec<u8> {
    let (eve, key) = eve();
    let fields = ContentFields {
        title: Some("Nothing".to_owned()),
        cid: Some(root.to_string()),
        mime: Some("audio/mpeg".to_owned()),
        ..ContentFields::default()
    };
    let action = eve.create_digital_content(EntityId(2_000_009), &fields);
    let offer = Offer {
        action: action.sign(&peer.contracts.action_domain(), &key),
        root,
        proof_root: Hash32([4; 32]),
        size,
        sources: Vec::new(),
    };
    Publish::Offer(Box::new(offer)).to_bytes()
}

/// Offers of a byte, which are more than one user and one peer have places.
const SMALL: usize = 140;

/// An eighth of what a holder has.
const PLACES: usize = 128;
