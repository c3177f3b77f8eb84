//! Identities that cost nothing, ask for blocks and read no answer.

use std::future::pending;
use std::io;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::identity::secp256k1;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, noise, request_response, tcp, yamux};
use protocol::exchange::Request;
use protocol::wire::Protocol;
use tokio::task::JoinSet;

use super::*;

/// How many of them; six for each place that newcomers have.
const DEAF: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_is_served_beside_identities_that_do_not() {
    let chain = TestChain::with_peers(&[2], Role::Content).await;
    let disk = MemoryBackend::new();
    let holder = chain.peer(2, &disk, Config::default(), 1).await;
    let disk = MemoryBackend::new();
    let reader = chain.peer(4, &disk, Config::default(), 1).await;
    introduce(&[&holder, &reader]).await;
    let _served = spawn(&holder).await.unwrap();
    let author = author::spawn(&holder).await.unwrap();
    let mut roots = Vec::new();
    for length in [3 << 20, 12 << 20, 13 << 20, 14 << 20] {
        let chunks = vec![Ok(Bytes::from(noise(length)))];
        let imported = author.import(futures::stream::iter(chunks)).await.unwrap();
        roots.push(imported.cid.parse::<Cid>().unwrap());
    }
    let exchange = spawn(&reader).await.unwrap();
    let fetch = async |root: Cid| {
        let options = FetchOptions {
            holders: vec![address(2)],
            ..FetchOptions::default()
        };
        let mut fetching = exchange.fetch(root, options).await.unwrap();
        within(fetching.done()).await.unwrap()
    };
    fetch(roots[0]).await;

    let at = holder.net.listen_addresses().borrow()[0].clone();
    let blocks = holder.store.reader().listed_after(&roots[1], None, 5);
    let wanted = Request {
        cids: blocks.unwrap().into_iter().skip(1).collect(),
    };
    let mut deaf = JoinSet::new();
    for _ in 0..DEAF {
        deaf.spawn(ask_and_read_nothing(
            holder.net.local().peer_id,
            at.clone(),
            wanted.encode(),
        ));
    }
    until(async || holder.net.peers_info().await.len() > DEAF).await;
    for root in &roots[1..] {
        fetch(*root).await;
    }
    deaf.shutdown().await;
}

/// Asks eight times at once, and again whatever becomes of it.
async fn ask_and_read_nothing(to: PeerId, at: Multiaddr, body: Vec<u8>) {
    let key: libp2p::identity::Keypair = secp256k1::Keypair::generate().into();
    let name = StreamProtocol::new(Protocol::Blocks.name());
    let protocols = [(name, request_response::ProtocolSupport::Outbound)];
    let config = request_response::Config::default();
    let mut swarm = libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|_| request_response::Behaviour::<Deaf>::new(protocols, config))
        .unwrap()
        .build();
    let ask = |swarm: &mut libp2p::Swarm<_>| {
        let behaviour: &mut request_response::Behaviour<Deaf> = swarm.behaviour_mut();
        behaviour.send_request_with_addresses(&to, body.clone(), vec![at.clone()])
    };
    for _ in 0..8 {
        ask(&mut swarm);
    }
    loop {
        let event = swarm.select_next_some().await;
        if let SwarmEvent::Behaviour(request_response::Event::OutboundFailure { .. }) = event {
            ask(&mut swarm);
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Deaf;

impl request_response::Codec for Deaf {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = ();

    async fn read_request<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        pending().await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        pending().await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        body: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let length = u32::try_from(body.len()).expect("it is short");
        io.write_all(&length.to_be_bytes()).await?;
        io.write_all(&body).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, _: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        pending().await
    }
}
