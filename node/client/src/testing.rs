//! A development chain with the contracts on it, for tests.

use std::time::Duration;

use devchain::{DevChain, DevChainConfig, Mining};
use protocol::amount::U256;
use protocol::chain::Contracts;
use protocol::signing::SigningKey;
use rpc::{Client, Clock, Wallet};

use crate::deploy::{DeployConfig, deploy};

/// The wallet with seed 1 holds the tokens, those with seeds up to 50 ether.
pub(crate) struct TestChain {
    pub(crate) chain: DevChain,
    pub(crate) client: Client,
    pub(crate) contracts: Contracts,
}

impl TestChain {
    pub(crate) async fn new() -> Self {
        let clock = Clock::system();
        let chain = DevChain::spawn(DevChainConfig {
            chain_id: 1337,
            listen: ([127, 0, 0, 1], 0).into(),
            data: None,
            mining: Mining::Instant,
            funded: (1..=50)
                .map(|seed| (key(seed).address(), U256::exp10(24)))
                .collect(),
            clock: devchain::Clock::new(move || clock.now()),
        })
        .await
        .unwrap();
        let client = Client::new(&[chain.url()], None).unwrap();
        let config = DeployConfig::development(treasury().address());
        let contracts = deploy(&client, &treasury(), &config).await.unwrap();
        Self {
            chain,
            client,
            contracts,
        }
    }
}

/// The wallet that holds all tokens of a [`TestChain`].
pub(crate) fn treasury() -> Wallet {
    Wallet::new(key(1))
}

/// A wallet's key.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32]).unwrap()
}

/// Gives up after a minute.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it happens within a minute")
}
