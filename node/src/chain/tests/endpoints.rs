use std::io;

use protocol::chain::endpoints::EndpointState;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;

use super::door::{Door, Fault};
use super::*;

impl TestChain {
    fn client(&self, urls: &[&Door]) -> Client {
        Client::with_config(&ClientConfig {
            urls: urls.iter().map(|door| door.url.clone()).collect(),
            chain_id: Some(CHAIN_ID),
            seed: 1,
            ..ClientConfig::default()
        })
        .unwrap()
    }
}

fn states(client: &Client) -> Vec<&'static str> {
    let endpoints = client.endpoints();
    endpoints
        .iter()
        .map(|one| one.health.state.name())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_bad_endpoint_is_put_behind_a_good_one() {
    let net = TestChain::new().await;
    let url = net.chain.url();
    let (bad, good) = (Door::open(&url).await, Door::open(&url).await);
    let expected = net.client.latest().await.unwrap();
    for fault in [
        Fault::Broken,
        Fault::RateLimit,
        Fault::Nonsense,
        Fault::ChainId(5),
    ] {
        bad.set(fault.clone());
        let client = net.client(&[&bad, &good]);
        assert_eq!(client.latest().await, Ok(expected), "{fault:?}");
        bad.take_asked();
        assert_eq!(client.latest().await, Ok(expected), "{fault:?}");
        assert_eq!(bad.take_asked(), [""; 0], "{fault:?}");
        let names = states(&client);
        assert_eq!(names[1], "healthy", "{fault:?}");
        match fault {
            Fault::ChainId(found) => {
                let state = client.endpoints()[0].health.state;
                assert_eq!(state, EndpointState::OtherChain { found });
            }
            _ => assert_eq!(names[0], "failing", "{fault:?}"),
        }
    }
    bad.set(Fault::RateLimit);
    let alone = net.client(&[&bad]);
    let error = alone.latest().await.unwrap_err();
    assert!(error.to_string().contains("rate"), "{error}");
    bad.take_asked();
    alone.latest().await.unwrap_err();
    assert_eq!(bad.take_asked(), [""; 0], "it asked for patience");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_endpoint_is_probed_and_used_again_when_it_is_well() {
    let net = TestChain::new().await;
    let url = net.chain.url();
    let (first, second) = (Door::open(&url).await, Door::open(&url).await);
    first.set(Fault::Broken);
    let handle = net.handle(vec![first.url.clone(), second.url.clone()]);
    let mut status = handle.status();
    within(status.wait_for(|status| status.connected))
        .await
        .unwrap();
    assert_eq!(states(handle.client())[1], "healthy");
    first.set(Fault::None);
    within(async {
        while states(handle.client()) != ["healthy", "healthy"] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        second.take_asked();
        first.take_asked();
        while first.take_asked().len() < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(second.take_asked(), [""; 0], "the first is preferred");
    let shown = handle.endpoints();
    assert_eq!(shown[0].state, "healthy");
    assert!(shown[0].failures > 0);

    let metrics = Metrics::new();
    handle.show_in(&metrics);
    let text = metrics.encode();
    let line = format!(
        "coliving_chain_endpoint_up{{idx=\"0\",endpoint=\"{}\"}} 1",
        first.url
    );
    assert!(text.contains(&line), "{text}");
    assert!(
        text.contains("coliving_chain_endpoint_failures_total{"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_stands_still_is_not_connected_and_says_since_when() {
    let net = TestChain::new().await;
    let config = ChainConfig {
        block_time: Some(Duration::from_millis(20)),
        ..net.config(vec![net.chain.url()])
    };
    let handle = ChainHandle::spawn(&config, Clock::system()).unwrap();
    let mut status = handle.status();
    let stalled = within(status.wait_for(|status| status.stalled_since.is_some()))
        .await
        .unwrap()
        .clone();
    assert!(!stalled.connected);
    let error = stalled.error.unwrap();
    assert!(error.contains("stalled since 2"), "{error}");
    assert_eq!(handle.endpoints()[0].state, "stalled");
    let height = net.chain.control().mine(1).await.unwrap();
    let goes_on = status.wait_for(|status| status.connected);
    let seen = within(goes_on).await.unwrap().head.unwrap();
    assert_eq!(seen.number, height);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_whose_head_is_frozen_falls_behind_the_others() {
    let net = TestChain::new().await;
    let url = net.chain.url();
    let (frozen, good) = (Door::open(&url).await, Door::open(&url).await);
    let head = net.client.latest().await.unwrap().number;
    frozen.set(Fault::Frozen(head));
    let tip = net.chain.control().mine(10).await.unwrap();
    let client = net.client(&[&frozen, &good]);
    client.probe().await;
    assert_eq!(client.latest().await.unwrap().number, head);
    let state = client.endpoints()[0].health.state;
    assert_eq!(state, EndpointState::Lagging { blocks: 10 });
    assert_eq!(client.latest().await.unwrap().number, tip);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_without_batches_and_with_short_ranges_are_followed_too() {
    let net = TestChain::new().await;
    let door = Door::open(&net.chain.url()).await;
    net.chain.control().mine(2_000).await.unwrap();
    let sent = net.send(1).await;
    let tip = sent.block.number;
    for fault in [Fault::NoBatches, Fault::LogBlocks(50)] {
        door.set(fault);
        let handle = net.handle(vec![door.url.clone()]);
        let mut replica = Replica::default();
        let mut events = handle.subscribe_entries(net.contracts.start());
        replica.follow(&mut events, tip).await;
        assert_eq!(replica.ids().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fee_rises_until_the_transaction_is_mined() {
    let net = TestChain::new().await;
    let door = Door::open(&net.chain.url()).await;
    door.set(Fault::Swallow);
    let client = net.client(&[&door]);
    let (steps, mut told) = mpsc::channel(64);
    let (to, data) = (net.contracts.entity_manager, net.action(1));
    let config = TransactConfig {
        bump_blocks: 2,
        ..TransactConfig::default()
    };
    let sending = tokio::spawn(async move {
        let progress = |step| steps.try_send(step).unwrap();
        transact_with(
            &client,
            &wallet(4),
            to,
            data,
            U256::zero(),
            &config,
            progress,
        )
        .await
    });
    let mut hashes = Vec::new();
    let mut mine = tokio::time::interval(Duration::from_millis(100));
    while hashes.len() < 3 {
        tokio::select! {
            step = told.recv() => if let Progress::Sent { tx_hash, bumps, .. } = step.unwrap() {
                assert_eq!(usize::try_from(bumps).unwrap(), hashes.len());
                hashes.push(tx_hash);
            },
            _ = mine.tick() => {
                net.chain.control().mine(1).await.unwrap();
            }
        }
        if hashes.len() == 2 {
            door.set(Fault::None);
        }
    }
    let receipt = within(sending).await.unwrap().unwrap();
    assert_eq!(receipt.tx_hash, hashes[2]);
}

/// TLS over TCP for the HTTP server.
struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_works_with_a_given_authority_and_not_without() {
    let net = TestChain::new().await;
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &authority, &authority_key)
        .unwrap();
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", tcp.local_addr().unwrap().port());
    let (door, router) = Door::new(&net.chain.url(), url.clone());
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TlsListener { tcp, tls };
    tokio::spawn(async move { axum::serve(listener, router).await });

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let config = ChainConfig {
        rpc_ca: Some(file.clone()),
        ..net.config(vec![url])
    };
    let handle = ChainHandle::spawn(&config, Clock::system()).unwrap();
    within(handle.status().wait_for(|status| status.connected))
        .await
        .unwrap();

    let error = net.client(&[&door]).latest().await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");

    std::fs::write(&file, "no certificate").unwrap();
    let error = ChainHandle::spawn(&config, Clock::system()).unwrap_err();
    assert!(matches!(error, RpcError::Authorities { .. }), "{error}");
}

#[test]
fn an_endpoint_that_cannot_be_spoken_to_is_refused_by_name() {
    for url in ["ws://127.0.0.1:1", "ftp://a", "127.0.0.1:8545", ""] {
        let error = Client::new(&[url.to_owned()], None).unwrap_err();
        assert!(matches!(error, RpcError::Endpoint { .. }), "{url}: {error}");
    }
    let keyed = "https://user:secret@rpc.example/v3/abcdef?key=1";
    let client = Client::new(&[keyed.to_owned()], None).unwrap();
    assert_eq!(client.endpoints()[0].name, "https://rpc.example");
}
