use client::deploy::DeployConfig;
use protocol::staking::Periods;

use super::*;
use crate::testing::treasury;

/// Lock-ups that a test can mine through.
const PERIODS: Periods = Periods {
    funding_round: 30,
    decrease_lockup: 30,
    undelegate_lockup: 30,
    remove_delegator_lockup: 30,
    remove_delegator_evaluation: 10,
    deployer_cut_lockup: 40,
    voting: 10,
    execution_delay: 10,
    guardianship: 1_000,
};

/// A chain with short periods and a peer's view of it.
struct Stakes {
    net: TestChain,
    handle: ChainHandle,
}

impl Stakes {
    async fn new() -> Self {
        let config = DeployConfig {
            periods: PERIODS,
            ..DeployConfig::development(treasury().address())
        };
        let net = TestChain::with_config(&config).await;
        let handle = net.handle(vec![net.chain.url()]);
        Self { net, handle }
    }

    async fn operator(&self, seed: u8) {
        let service = ServiceConfig {
            endpoint: format!("http://peer-{seed}"),
            roles: Role::ALL.to_vec(),
            zone: Zone::new("eu-1"),
            stake: Dgc::whole(800_000),
        };
        self.net.enrol(seed, &peer_key(seed), &service).await;
    }

    /// Sends a transaction from the wallet with this seed.
    async fn send(&self, seed: u8, to: Address, data: Vec<u8>) -> Receipt {
        let sent = self
            .handle
            .send(&wallet(seed), Some(to), data, U256::zero())
            .await
            .unwrap();
        within(self.handle.receipt(sent, 0)).await.unwrap()
    }

    async fn call(&self, seed: u8, kind: ContractKind, function: &str, arguments: &[Token]) {
        let to = self.net.contracts.address_of(kind).unwrap();
        self.send(seed, to, calls::encode(kind, function, arguments))
            .await;
    }

    async fn mine(&self, blocks: u64) {
        self.net.chain.control().mine(blocks).await.unwrap();
    }

    /// Waits for a snapshot in which the operator weighs as much.
    async fn weighs(&self, seed: u8, weight: u64) {
        let operator = wallet(seed).address();
        let mut snapshot = self.handle.snapshot();
        let reached = snapshot.wait_for(|registry| registry.weight(&operator) == weight);
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        let found = self.handle.snapshot().borrow().weight(&operator);
        reached
            .unwrap_or_else(|_| panic!("weight {found}, not {weight}"))
            .unwrap();
    }

    /// Slashes an operator by a proposal of another.
    async fn slash(&self, by: u8, operator: u8, amount: Dgc) {
        let who = wallet(operator).address();
        let arguments = [Token::Uint(amount.0), calls::address(who)];
        let proposal = [
            calls::registry_key(ContractKind::DelegateManager),
            calls::number(0),
            calls::text("slash(uint256,address)"),
            Token::Bytes(ethers_core::abi::encode(&arguments)),
            calls::text("slash"),
            calls::text("three operators missed audits"),
        ];
        let governance = ContractKind::Governance;
        self.call(by, governance, "submitProposal", &proposal).await;
        // Votes count from the next block on, and calls are tried in the last one.
        self.mine(1).await;
        let yes = [calls::number(1), calls::number(2)];
        self.call(by, governance, "submitVote", &yes).await;
        self.mine(PERIODS.voting + PERIODS.execution_delay).await;
        let first = [calls::number(1)];
        self.call(by, governance, "evaluateProposalOutcome", &first)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_weighs_what_is_active_behind_it() {
    const OPERATOR: u8 = 2;
    const JUDGE: u8 = 3;
    const HOLDER: u8 = 4;
    let stakes = Stakes::new().await;
    stakes.operator(OPERATOR).await;
    stakes.operator(JUDGE).await;
    stakes.weighs(OPERATOR, 800).await;

    let contracts = stakes.net.contracts;
    let (operator, holder) = (wallet(OPERATOR).address(), wallet(HOLDER).address());
    let tokens = |tokens| Token::Uint(Dgc::whole(tokens).0);
    let give = calls::transfer(holder, Dgc::whole(100_000));
    stakes.send(1, contracts.token, give).await;
    let approve = calls::approve(contracts.staking, Dgc::whole(100_000));
    stakes.send(HOLDER, contracts.token, approve).await;
    let delegates = ContractKind::DelegateManager;
    let delegation = [calls::address(operator), tokens(100_000)];
    stakes
        .call(HOLDER, delegates, "delegateStake", &delegation)
        .await;
    stakes.weighs(OPERATOR, 900).await;

    let back = [calls::address(operator), tokens(40_000)];
    stakes
        .call(HOLDER, delegates, "requestUndelegateStake", &back)
        .await;
    stakes.weighs(OPERATOR, 860).await;
    let decrease = calls::encode(
        ContractKind::ServiceProviderFactory,
        "requestDecreaseStake",
        &[Token::Uint(Dgc::whole(150_000).0)],
    );
    let factory = contracts.service_provider_factory;
    stakes.send(OPERATOR, factory, decrease).await;
    stakes.weighs(OPERATOR, 710).await;

    // What was asked back is slashed with the rest, and stays.
    stakes.slash(JUDGE, OPERATOR, Dgc::whole(300_000)).await;
    stakes.weighs(OPERATOR, 600).await;

    stakes
        .call(JUDGE, ContractKind::ClaimsManager, "initiateRound", &[])
        .await;
    stakes.mine(1).await;
    let claim = [calls::address(operator)];
    stakes.call(HOLDER, delegates, "claimRewards", &claim).await;
    // 600 of 1,400 parts of the round's 1,342,465 DGC.
    stakes.weighs(OPERATOR, 600 + 575).await;
    stakes.weighs(JUDGE, 800).await;
}
