use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::request_response as rr;
use protocol::entry::sha256;

use super::names::{ident_topic, stream_protocol, topic_of};
use super::*;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Peer {
    net: NetHandle,
    metrics: Metrics,
    key: SigningKey,
}

impl Peer {
    async fn start(number: u8) -> Self {
        Self::with(number, NetConfig::default()).await
    }

    async fn with(number: u8, config: NetConfig) -> Self {
        let config = NetConfig {
            seed: [number; 32],
            gossip_heartbeat: Duration::from_millis(100),
            ..config.on_loopback()
        };
        Self::exactly(number, config).await.unwrap()
    }

    async fn exactly(number: u8, config: NetConfig) -> Result<Self, StartError> {
        let key = SigningKey::from_bytes(&[number; 32]).unwrap();
        let metrics = Metrics::new();
        let net = start(config, &key, Clock::system(), &metrics).await?;
        Ok(Self { net, metrics, key })
    }

    fn address(&self) -> Address {
        self.net.local().address
    }

    /// Listen addresses of one transport, with the peer id.
    fn addresses(&self, transport: &str) -> Vec<Multiaddr> {
        self.net
            .listen_addresses()
            .borrow()
            .iter()
            .filter(|address| multiaddr::transport(address) == transport)
            .map(|address| {
                address
                    .clone()
                    .with_p2p(self.net.local().peer_id)
                    .expect("the address names no other peer")
            })
            .collect()
    }

    async fn knows(&self, other: &Self, transport: &str) {
        let addresses = other.addresses(transport);
        assert!(!addresses.is_empty(), "no {transport} address");
        self.net.set_addresses(other.address(), addresses).await;
    }

    async fn until_connected(&self, other: Address, connected: bool) {
        let mut watch = self.net.connected();
        let seen = watch.wait_for(|all| all.contains(&other) == connected);
        let in_time = tokio::time::timeout(PATIENCE, seen).await;
        in_time.expect("not in time").expect("the task lives");
    }

    fn staked(&self, operator: u8) -> StakedPeer {
        StakedPeer {
            address: self.address(),
            operator: Address([operator; 20]),
            public_key: self.key.public_key().to_vec(),
        }
    }
}

/// Answers each request with its reverse.
async fn serve_reversed(peer: &Peer, protocol: Protocol) {
    let mut requests = peer.net.serve(protocol).await.unwrap();
    tokio::spawn(async move {
        while let Some(inbound) = requests.recv().await {
            let reversed: Vec<u8> = inbound.body.iter().rev().copied().collect();
            inbound.respond.send(reversed);
        }
    });
}

async fn check_both_ways(transport: &str) {
    let (ada, ben) = (Peer::start(1).await, Peer::start(2).await);
    serve_reversed(&ada, Protocol::Relayer).await;
    serve_reversed(&ben, Protocol::Blocks).await;
    ada.knows(&ben, transport).await;
    let body = ada
        .net
        .request(ben.address(), Protocol::Blocks, "abc")
        .await;
    assert_eq!(body.unwrap(), "cba");
    // Ben was never told where Ada listens; the connection is enough.
    let body = ben.net.request(ada.address(), Protocol::Relayer, "").await;
    assert_eq!(body.unwrap(), "");
    let infos = ada.net.peers_info().await;
    assert_eq!(infos.len(), 1);
    assert_eq!(infos[0].address, ben.address());
    assert_eq!(infos[0].transport, transport);
    assert_eq!((infos[0].sent_bytes, infos[0].received_bytes), (0, 3));
    ada.net.stop().await;
    ben.until_connected(ada.address(), false).await;
}

#[tokio::test]
async fn requests_go_both_ways_over_tcp() {
    check_both_ways("tcp").await;
}

#[tokio::test]
async fn requests_go_both_ways_over_quic() {
    check_both_ways("quic").await;
}

#[tokio::test]
async fn a_peer_is_reached_over_websocket() {
    let mut config = NetConfig::default().on_loopback();
    config.listen = vec!["/ip4/127.0.0.1/tcp/0/ws".parse().unwrap()];
    let (ada, ben) = (
        Peer::start(1).await,
        Peer::exactly(2, config).await.unwrap(),
    );
    serve_reversed(&ben, Protocol::Vault).await;
    ada.knows(&ben, "ws").await;
    let body = ada.net.request(ben.address(), Protocol::Vault, "xy").await;
    assert_eq!(body.unwrap(), "yx");
}

#[tokio::test]
async fn a_full_response_of_blocks_arrives() {
    let (ada, ben) = (Peer::start(1).await, Peer::start(2).await);
    let mut requests = ben.net.serve(Protocol::Blocks).await.unwrap();
    ada.knows(&ben, "tcp").await;
    let limit = Protocol::Blocks.limits().response_bytes_max;
    tokio::spawn(async move {
        while let Some(inbound) = requests.recv().await {
            let size = limit + usize::from(inbound.body.len() == 1);
            inbound.respond.send(vec![7; size]);
        }
    });
    let to = ben.address();
    let (one, two) = tokio::join!(
        ada.net.request(to, Protocol::Blocks, ""),
        ada.net.request(to, Protocol::Blocks, ""),
    );
    assert_eq!(one.unwrap().len(), limit);
    assert_eq!(two.unwrap().len(), limit);
    // One byte more than the limit does not leave the server.
    let refused = ada.net.request(to, Protocol::Blocks, "x").await;
    assert!(matches!(
        refused,
        Err(RequestError::Refused {
            refusal: Refusal::Rejected,
            ..
        })
    ));
}

#[tokio::test]
async fn what_is_not_served_or_not_answered_is_refused() {
    let (ada, ben) = (Peer::start(1).await, Peer::start(2).await);
    ada.knows(&ben, "tcp").await;
    let ask = || ada.net.request(ben.address(), Protocol::Leases, "?");
    let refused = |refusal| {
        Err(RequestError::Refused {
            peer: ben.address(),
            protocol: Protocol::Leases,
            refusal,
        })
    };
    assert_eq!(ask().await, refused(Refusal::NotServed));
    let mut requests = ben.net.serve(Protocol::Leases).await.unwrap();
    let again = ben.net.serve(Protocol::Leases).await;
    assert_eq!(again.unwrap_err(), NetError::Served(Protocol::Leases));
    let (answer, ()) = tokio::join!(ask(), async {
        let inbound = requests.recv().await.unwrap();
        assert_eq!(inbound.peer, ada.address());
        assert_eq!(inbound.ip, Some([127, 0, 0, 1].into()));
        drop(inbound);
    });
    assert_eq!(answer, refused(Refusal::Rejected));
    drop(requests);
    assert_eq!(ask().await, refused(Refusal::NotServed));
}

#[track_caller]
fn check_ip(endpoint: &str, expected: Option<&str>) {
    let ip = multiaddr::ip_of(&endpoint.parse().unwrap());
    let expected = expected.map(|text| text.parse().unwrap());
    assert_eq!(ip, expected, "{endpoint}");
}

#[test]
fn a_peer_behind_a_circuit_has_not_the_ip_of_its_carrier() {
    const CARRIER: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    check_ip("/ip4/192.0.2.7/tcp/4001", Some("192.0.2.7"));
    check_ip("/ip6/2001:db8::7/udp/4001/quic-v1", Some("2001:db8::7"));
    check_ip("/ip4/192.0.2.7/tcp/4001/ws", Some("192.0.2.7"));
    check_ip("/dns4/peer.example/tcp/4001", None);
    // As the one sees it who dialled, and as the one does who was dialled.
    let dialled = format!("/ip4/192.0.2.7/tcp/4001/p2p/{CARRIER}/p2p-circuit");
    check_ip(&dialled, None);
    check_ip(&format!("/p2p/{CARRIER}"), None);
}

#[tokio::test]
async fn more_requests_than_a_peer_may_have_are_refused_as_busy() {
    let (ada, ben) = (Peer::start(1).await, Peer::start(2).await);
    ada.knows(&ben, "tcp").await;
    let mut requests = ben.net.serve(Protocol::Vault).await.unwrap();
    let limit = Protocol::Vault.limits().inbound_per_peer_max;
    let asked: Vec<_> = (0..=limit)
        .map(|_| {
            let (net, to) = (ada.net.clone(), ben.address());
            async move { net.request(to, Protocol::Vault, "?").await }
        })
        .collect();
    let answers = tokio::spawn(futures::future::join_all(asked));
    let mut held = Vec::new();
    while held.len() < limit {
        held.push(requests.recv().await.unwrap());
    }
    // The one too many is refused while the others wait; then they are answered.
    for inbound in held {
        inbound.respond.send("!");
    }
    let answers = answers.await.unwrap();
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(good >= limit, "{answers:?}");
}

#[tokio::test]
async fn a_response_counts_until_it_has_left_or_is_lost() {
    let (ada, ben) = (Peer::start(1).await, Peer::start(2).await);
    ada.knows(&ben, "tcp").await;
    let mut requests = ben.net.serve(Protocol::Vault).await.unwrap();
    let ask = || {
        let (net, to) = (ada.net.clone(), ben.address());
        tokio::spawn(async move { net.request(to, Protocol::Vault, "?").await })
    };
    let asked = ask();
    let gone = requests.recv().await.unwrap().respond.send_tracked("!");
    assert_eq!(tokio::time::timeout(PATIENCE, gone).await.unwrap(), Ok(()));
    assert_eq!(asked.await.unwrap().unwrap(), "!");

    let _asked = ask();
    let inbound = requests.recv().await.unwrap();
    ada.net.stop().await;
    let gone = inbound.respond.send_tracked("!");
    assert!(tokio::time::timeout(PATIENCE, gone).await.unwrap().is_err());
}

#[tokio::test]
async fn a_peer_without_known_address_is_not_connected() {
    let ada = Peer::start(1).await;
    let peer = Address([9; 20]);
    let answer = ada.net.request(peer, Protocol::Relayer, "").await;
    assert_eq!(answer, Err(RequestError::NotConnected { peer }));
    // A known peer that listens no more.
    let ben = Peer::start(2).await;
    ada.knows(&ben, "tcp").await;
    ben.net.stop().await;
    let peer = ben.address();
    let answer = ada.net.request(peer, Protocol::Relayer, "").await;
    assert_eq!(answer, Err(RequestError::NotConnected { peer }));
    assert_eq!(
        ada.net.connect(peer).await,
        Err(RequestError::NotConnected { peer })
    );
}

#[tokio::test]
async fn a_request_longer_than_the_limit_is_not_sent() {
    let ada = Peer::start(1).await;
    let limit = Protocol::Blocks.limits().request_bytes_max;
    let body = vec![0; limit + 1];
    let answer = ada
        .net
        .request(Address([9; 20]), Protocol::Blocks, body)
        .await;
    assert_eq!(
        answer,
        Err(RequestError::TooLarge {
            protocol: Protocol::Blocks,
            size: limit + 1,
            limit
        })
    );
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    check_taken(format!("/ip4/127.0.0.1/tcp/{port}")).await;
    // Another swarm's ports are no more to be had than a stranger's.
    let ada = Peer::start(1).await;
    for address in ada.net.listen_addresses().borrow().clone() {
        check_taken(address.to_string()).await;
    }
}

async fn check_taken(address: String) {
    let mut config = NetConfig::default().on_loopback();
    config.listen = vec![address.parse().unwrap()];
    let Err(error) = Peer::exactly(3, config).await else {
        panic!("{address} was taken twice");
    };
    let text = error.to_string();
    assert!(text.contains(&address), "{text}");
    assert!(text.contains("net.listen"), "{text}");
}

/// Publishes until somebody has subscribed.
async fn publish(peer: &Peer, topic: Topic, data: &'static str) {
    let published = async {
        while let Err(error) = peer.net.publish(topic, data).await {
            assert_eq!(error, PublishError::NoPeers(topic));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, published).await.unwrap();
}

/// A line ada - ben - cyd in which only neighbours are connected.
async fn line() -> [Peer; 3] {
    let peers = [
        Peer::start(1).await,
        Peer::start(2).await,
        Peer::start(3).await,
    ];
    for (from, to) in [(0, 1), (2, 1)] {
        peers[from].knows(&peers[to], "tcp").await;
        peers[from].net.connect(peers[to].address()).await.unwrap();
    }
    peers
}

#[tokio::test]
async fn gossip_is_passed_on_when_it_is_accepted() {
    let [ada, ben, cyd] = line().await;
    let mut at_ben = ben.net.subscribe(Topic::Heads).await.unwrap();
    let mut at_cyd = cyd.net.subscribe(Topic::Heads).await.unwrap();
    let _ada_listens = ada.net.subscribe(Topic::Heads).await.unwrap();
    publish(&ada, Topic::Heads, "head").await;
    let gossip = receive(&mut at_ben).await;
    assert_eq!(gossip.topic, Topic::Heads);
    assert_eq!(gossip.data, "head");
    assert_eq!(gossip.id, sha256(b"head"));
    assert_eq!(gossip.source, Some(ada.address()));
    gossip.verdict.accept();
    let gossip = receive(&mut at_cyd).await;
    assert_eq!(gossip.data, "head");
    assert_eq!(gossip.source, Some(ben.address()));
    assert_eq!(gossip.author, Some(ada.address()));
}

#[tokio::test]
async fn gossip_that_is_refused_goes_no_further() {
    let [ada, ben, cyd] = line().await;
    let mut at_ben = ben.net.subscribe(Topic::Entries).await.unwrap();
    let mut at_cyd = cyd.net.subscribe(Topic::Entries).await.unwrap();
    publish(&ada, Topic::Entries, "rejected").await;
    receive(&mut at_ben).await.verdict.reject();
    publish(&ada, Topic::Entries, "dropped").await;
    drop(receive(&mut at_ben).await);
    publish(&ada, Topic::Entries, "accepted").await;
    receive(&mut at_ben).await.verdict.accept();
    let gossip = receive(&mut at_cyd).await;
    assert_eq!(gossip.data, "accepted");
    let text = ben.metrics.encode();
    assert!(
        text.contains("coliving_net_gossip_rejected_total 1"),
        "{text}"
    );
}

#[tokio::test]
async fn the_same_data_of_two_publishers_is_one_message() {
    let [ada, ben, cyd] = line().await;
    let mut at_ben = ben.net.subscribe(Topic::Entries).await.unwrap();
    publish(&ada, Topic::Entries, "batch").await;
    receive(&mut at_ben).await.verdict.accept();
    publish(&cyd, Topic::Entries, "batch").await;
    publish(&cyd, Topic::Entries, "next").await;
    assert_eq!(receive(&mut at_ben).await.data, "next");
}

#[tokio::test]
async fn peers_that_send_rejected_gossip_are_banned() {
    let (ada, ben) = (Peer::start(1).await, Peer::start(2).await);
    ada.knows(&ben, "tcp").await;
    ada.net.connect(ben.address()).await.unwrap();
    ben.until_connected(ada.address(), true).await;
    ben.net
        .report_offence(ada.address(), OFFENCE_LIMIT - 1)
        .await;
    let mut at_ben = ben.net.subscribe(Topic::Presence).await.unwrap();
    publish(&ada, Topic::Presence, "nonsense").await;
    receive(&mut at_ben).await.verdict.reject();
    ben.until_connected(ada.address(), false).await;
    let peer = ada.address();
    let answer = ben.net.request(peer, Protocol::Relayer, "").await;
    assert_eq!(answer, Err(RequestError::Banned { peer }));
}

#[tokio::test]
async fn a_message_longer_than_its_topic_carries_is_refused() {
    let ada = Peer::start(1).await;
    let limit = Topic::Pages.message_bytes_max();
    let size = limit + 1;
    let answer = ada.net.publish(Topic::Pages, vec![0; size]).await;
    assert_eq!(answer, Err(PublishError::TooLarge { size, limit }));
}

async fn receive(messages: &mut mpsc::Receiver<Gossip>) -> Gossip {
    let message = tokio::time::timeout(PATIENCE, messages.recv()).await;
    message.expect("no gossip in time").expect("the task lives")
}

#[tokio::test]
async fn neighbours_are_dialled_held_and_dialled_again() {
    // At four connections one is too many for Ada. The others have room: who has
    // none may close Ada's, whose neighbour it is only from her side.
    let narrow = NetConfig {
        connections_max: 4,
        ..NetConfig::default()
    };
    let ada = Peer::with(1, narrow).await;
    let ben = Peer::start(2).await;
    let cyd = Peer::start(3).await;
    let dan = Peer::start(4).await;
    let eve = Peer::start(5).await;
    ada.knows(&ben, "tcp").await;
    // Ben alone is staked: the others' connections are not held.
    ada.net.set_staked(vec![ada.staked(9), ben.staked(8)]).await;
    ada.until_connected(ben.address(), true).await;
    for other in [&cyd, &dan, &eve] {
        ada.knows(other, "tcp").await;
        ada.net.connect(other.address()).await.unwrap();
    }
    ada.until_connected(cyd.address(), false).await;
    assert!(ada.net.connected().borrow().contains(&ben.address()));
    let infos = ada.net.peers_info().await;
    let neighbours = infos.iter().filter(|info| info.neighbour);
    assert_eq!(
        neighbours.map(|info| info.address).collect::<Vec<_>>(),
        [ben.address()]
    );

    let again = NetConfig {
        listen: ben.net.listen_addresses().borrow().clone(),
        ..NetConfig::default().on_loopback()
    };
    ben.net.stop().await;
    ada.until_connected(ben.address(), false).await;
    let ben = Peer::exactly(2, again).await.unwrap();
    ada.until_connected(ben.address(), true).await;
}

#[tokio::test]
async fn providers_are_found_through_a_third_peer() {
    let [ada, ben, cyd] = line().await;
    let cid = Cid::new_v1(
        0x55,
        cid::multihash::Multihash::wrap(0x12, &[5; 32]).unwrap(),
    );
    let found = async {
        loop {
            // Announcing reaches those who are in the routing table by then.
            ada.net.provide(cid).await.unwrap();
            let found = cyd.net.find_providers(cid).await.unwrap();
            if !found.is_empty() {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await.unwrap();
    assert_eq!(found, [ada.address()]);
    drop(ben);
}

#[tokio::test]
async fn everything_ends_with_stopped_after_the_stop() {
    let ada = Peer::start(1).await;
    ada.net.stop().await;
    ada.net.stop().await;
    let answer = ada.net.request(Address::ZERO, Protocol::Relayer, "").await;
    assert_eq!(answer, Err(RequestError::Stopped));
    assert_eq!(
        ada.net.serve(Protocol::Relayer).await.unwrap_err(),
        NetError::Stopped
    );
}

/// A codec without manners: sends what it is given, as it is.
#[derive(Clone, Default)]
struct RawCodec;

impl rr::Codec for RawCodec {
    type Protocol = libp2p::StreamProtocol;
    type Request = (Vec<u8>, bool);
    type Response = Vec<u8>;

    async fn read_request<T>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
    ) -> std::io::Result<Self::Request>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        let mut bytes = [0; 4];
        io.read_exact(&mut bytes).await?;
        Ok((bytes.to_vec(), false))
    }

    async fn read_response<T>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
    ) -> std::io::Result<Self::Response>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn write_request<T>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        (bytes, for_ever): Self::Request,
    ) -> std::io::Result<()>
    where
        T: futures::AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await?;
        if !for_ever {
            return Ok(());
        }
        loop {
            io.write_all(&bytes).await?;
            io.flush().await?;
        }
    }

    async fn write_response<T>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        bytes: Self::Response,
    ) -> std::io::Result<()>
    where
        T: futures::AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }
}

type RawSwarm = libp2p::Swarm<rr::Behaviour<RawCodec>>;

fn raw_swarm(number: u8) -> RawSwarm {
    let key = identity::keypair(&SigningKey::from_bytes(&[number; 32]).unwrap());
    let protocol = stream_protocol(Protocol::Relayer);
    libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(
            libp2p::tcp::Config::default(),
            libp2p::noise::Config::new,
            libp2p::yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|_| {
            rr::Behaviour::<RawCodec>::new(
                [(protocol, rr::ProtocolSupport::Full)],
                rr::Config::default().with_request_timeout(PATIENCE),
            )
        })
        .unwrap()
        .build()
}

#[tokio::test]
async fn bad_frames_end_their_stream_and_nothing_else() {
    let ben = Peer::start(2).await;
    serve_reversed(&ben, Protocol::Relayer).await;
    let mut raw = raw_swarm(7);
    let to = ben.net.local().peer_id;
    let address = ben.addresses("tcp").remove(0);
    let frames: [(Vec<u8>, bool); 4] = [
        // A length of 4 GiB and nothing more.
        (vec![0xff; 4], false),
        // A length within the limit that lies: less comes.
        ([&[0, 0, 0x0f, 0][..], &[1; 10]].concat(), false),
        // Not even a length.
        (vec![1], false),
        // An oversized frame that never ends.
        (vec![0xff; 4096], true),
    ];
    let count = frames.len();
    for frame in frames {
        raw.behaviour_mut()
            .send_request_with_addresses(&to, frame, vec![address.clone()]);
    }
    let mut failed = 0;
    let failing = async {
        while failed < count {
            use futures::StreamExt;
            let event = raw.select_next_some().await;
            match event {
                libp2p::swarm::SwarmEvent::Behaviour(rr::Event::OutboundFailure { .. }) => {
                    failed += 1;
                }
                libp2p::swarm::SwarmEvent::Behaviour(rr::Event::Message {
                    message: rr::Message::Response { response, .. },
                    ..
                }) => {
                    assert!(response.is_empty(), "answered {response:?}");
                    failed += 1;
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, failing).await.unwrap();
    let text = ben.metrics.encode();
    assert!(
        text.contains("coliving_net_frames_refused_total 2"),
        "{text}"
    );
    // The swarm still serves.
    let ada = Peer::start(1).await;
    ada.knows(&ben, "tcp").await;
    let body = ada
        .net
        .request(ben.address(), Protocol::Relayer, "ok")
        .await;
    assert_eq!(body.unwrap(), "ko");
}

#[tokio::test]
async fn a_response_that_is_none_is_an_offence() {
    let ada = Peer::start(1).await;
    let mut raw = raw_swarm(7);
    let peer = SigningKey::from_bytes(&[7; 32]).unwrap().address();
    raw.dial(ada.addresses("tcp").remove(0)).unwrap();
    tokio::spawn(async move {
        use futures::StreamExt;
        let mut answers = 0;
        loop {
            let event = raw.select_next_some().await;
            if let libp2p::swarm::SwarmEvent::Behaviour(rr::Event::Message {
                message: rr::Message::Request { channel, .. },
                ..
            }) = event
            {
                let bad: [Vec<u8>; 2] = [vec![9], vec![0, 0xff, 0xff, 0xff, 0xff]];
                answers += 1;
                let answer = bad[answers % 2].clone();
                raw.behaviour_mut().send_response(channel, answer).unwrap();
            }
        }
    });
    ada.until_connected(peer, true).await;
    let mut texts = Vec::new();
    let last = loop {
        match ada.net.request(peer, Protocol::Relayer, "four").await {
            Err(RequestError::Broken { reason, .. }) => texts.push(reason),
            other => break other,
        }
    };
    assert_eq!(texts.len(), 5, "{texts:?}");
    assert!(texts[0].contains("at most"), "{texts:?}");
    assert!(texts[1].contains("unknown status 9"), "{texts:?}");
    assert_eq!(last, Err(RequestError::Banned { peer }));
}

#[tokio::test]
async fn a_stranger_who_speaks_no_libp2p_is_cut_off() {
    let ben = Peer::start(2).await;
    let port = ben.net.listen_addresses().borrow()[0]
        .iter()
        .find_map(|part| match part {
            libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
            _ => None,
        })
        .unwrap();
    let closed = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // The other side may have closed before all of it is written.
        let _ = socket.write_all(&[b'x'; 100_000]);
        let mut rest = Vec::new();
        matches!(socket.read_to_end(&mut rest), Ok(_) | Err(_)) && rest.len() < 1000
    });
    assert!(closed.await.unwrap());
    serve_reversed(&ben, Protocol::Relayer).await;
    let ada = Peer::start(1).await;
    ada.knows(&ben, "quic").await;
    let body = ada
        .net
        .request(ben.address(), Protocol::Relayer, "ok")
        .await;
    assert_eq!(body.unwrap(), "ko");
}

#[test]
fn an_address_follows_from_the_peer_id_alone() {
    for number in 1..=50 {
        let key = SigningKey::from_bytes(&[number; 32]).unwrap();
        let peer = peer_id(&key);
        let text: PeerId = peer.to_string().parse().unwrap();
        assert_eq!(address_of(&text), Some(key.address()));
        assert_eq!(peer_id_of(&key.public_key()), Some(peer));
    }
    let other = libp2p::identity::Keypair::generate_ed25519();
    assert_eq!(address_of(&other.public().to_peer_id()), None);
    assert_eq!(peer_id_of(&[0; 64]), None);
    assert_eq!(peer_id_of(&[1; 63]), None);
}

#[test]
fn a_topic_is_found_by_its_hash() {
    for topic in Topic::ALL {
        assert_eq!(topic_of(&ident_topic(topic).hash()), Some(topic));
    }
}
