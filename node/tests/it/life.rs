//! One life of the contracts: from their deployment to a payment with splits.

use client::deploy::{DeployConfig, ServiceConfig, deploy, enrol, transfer};
use devchain::DevChain;
use ethers_core::abi::{Token, encode};
use ethers_core::types::transaction::eip2718::TypedTransaction;
use ethers_core::types::transaction::eip2930::{AccessList, AccessListItem};
use ethers_core::types::{Eip2930TransactionRequest, H256, TransactionRequest};
use ethers_signers::{LocalWallet, Signer};
use protocol::action::Action;
use protocol::amount::{Dgc, U256};
use protocol::chain::calls::{self, address, number, text};
use protocol::chain::{ContractKind, Contracts};
use protocol::id::{Address, EntityId, Hash32, Role, UserId, Zone};
use protocol::payment::{Percent, split};
use protocol::signing::SigningKey;
use protocol::staking::Periods;
use rpc::{CallRequest, Client, Receipt, Transaction, Wallet};

/// Keys that have ether in the first block.
pub(crate) const FUNDED: [u8; 6] = [1, 2, 3, 4, 5, 6];

const FACTORY: ContractKind = ContractKind::ServiceProviderFactory;

/// Blocks that are short enough for another chain to follow, and relate as they must.
const PERIODS: Periods = Periods {
    funding_round: 60,
    decrease_lockup: 40,
    undelegate_lockup: 40,
    remove_delegator_lockup: 40,
    remove_delegator_evaluation: 10,
    deployer_cut_lockup: 70,
    voting: 20,
    execution_delay: 10,
    guardianship: 10_000,
};

/// Governance's vote for a proposal.
const YES: u64 = 2;

pub(crate) fn wallet(seed: u8) -> Wallet {
    Wallet::new(SigningKey::from_bytes(&[seed; 32]).unwrap())
}

/// Who does what on which chain.
pub(crate) struct Life<'a> {
    chain: &'a DevChain,
    client: Client,
    contracts: Contracts,
    treasury: Wallet,
    ada: Wallet,
    bob: Wallet,
    cora: Wallet,
}

impl<'a> Life<'a> {
    /// Deploys, registers, confirms and stakes.
    pub(crate) async fn begin(chain: &'a DevChain) -> Self {
        let client = Client::new(&[chain.url()], None).unwrap();
        let [treasury, ada, bob, cora] = [1, 2, 3, 4].map(wallet);
        let config = DeployConfig {
            periods: PERIODS,
            ..DeployConfig::development(treasury.address())
        };
        let contracts = deploy(&client, &treasury, &config).await.unwrap();
        let life = Self {
            chain,
            client,
            contracts,
            treasury,
            ada,
            bob,
            cora,
        };
        life.enrol(&life.ada, 20, "https://ada.example", &Role::ALL, 900_000)
            .await;
        life.enrol(
            &life.bob,
            21,
            "https://bob.example",
            &[Role::Discovery],
            300_000,
        )
        .await;
        life
    }

    /// Everything else, in the order in which an operator meets it.
    pub(crate) async fn live(&self) {
        self.delegate().await;
        for _ in 0..3 {
            self.claim().await;
        }
        self.slash().await;
        self.leave().await;
        self.pay().await;
        self.act().await;
        self.fail().await;
        self.other_types().await;
    }

    pub(crate) fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    async fn enrol(&self, operator: &Wallet, peer: u8, endpoint: &str, roles: &[Role], stake: u64) {
        let service = ServiceConfig {
            endpoint: endpoint.to_owned(),
            roles: roles.to_vec(),
            zone: Zone::new("eu-1"),
            stake: Dgc::whole(stake),
        };
        let key = SigningKey::from_bytes(&[peer; 32]).unwrap();
        let (client, contracts) = (&self.client, &self.contracts);
        enrol(client, contracts, &self.treasury, operator, &key, &service)
            .await
            .unwrap();
    }

    async fn delegate(&self) {
        let (contracts, amount) = (&self.contracts, Dgc::whole(150_000));
        let cora = self.cora.address();
        transfer(&self.client, contracts, &self.treasury, cora, amount)
            .await
            .unwrap();
        let approve = calls::approve(contracts.staking, amount);
        self.succeed(&self.cora, contracts.token, approve).await;
        let (bob, amount) = (address(self.bob.address()), Token::Uint(amount.0));
        self.delegates(&self.cora, "delegateStake", &[bob, amount])
            .await;
    }

    async fn claim(&self) {
        self.mine(PERIODS.funding_round).await;
        let initiate = calls::encode(ContractKind::ClaimsManager, "initiateRound", &[]);
        self.succeed(&self.ada, self.contracts.claims_manager, initiate)
            .await;
        self.mine(1).await;
        for operator in [&self.ada, &self.bob] {
            let operator = address(operator.address());
            self.delegates(&self.treasury, "claimRewards", &[operator])
                .await;
        }
    }

    async fn slash(&self) {
        let amount = Token::Uint(Dgc::whole(50_000).0);
        let slash = encode(&[amount, address(self.bob.address())]);
        let proposal = [
            calls::registry_key(ContractKind::DelegateManager),
            number(0),
            text("slash(uint256,address)"),
            Token::Bytes(slash),
            text("Slash Bob"),
            text("He signed two heads of one number."),
        ];
        let staked = self.staked().await;
        self.governs("submitProposal", &proposal).await;
        self.mine(1).await;
        let id = number(1);
        self.governs("submitVote", &[id.clone(), number(YES)]).await;
        self.mine(PERIODS.voting + PERIODS.execution_delay).await;
        self.governs("evaluateProposalOutcome", &[id]).await;
        let left = staked - Dgc::whole(50_000).0;
        assert_eq!(self.staked().await, left, "the slash was not executed");
    }

    async fn leave(&self) {
        let half = Token::Uint(Dgc::whole(60_000).0);
        let bob = address(self.bob.address());
        self.delegates(&self.cora, "requestUndelegateStake", &[bob, half])
            .await;
        self.mine(PERIODS.undelegate_lockup).await;
        self.delegates(&self.cora, "undelegateStake", &[]).await;
        let factory = self.contracts.service_provider_factory;
        let request = calls::encode(
            FACTORY,
            "requestDecreaseStake",
            &[Token::Uint(Dgc::whole(100_000).0)],
        );
        self.succeed(&self.ada, factory, request).await;
        let early = self
            .send(
                &self.ada,
                factory,
                calls::encode(FACTORY, "decreaseStake", &[]),
                GAS,
            )
            .await;
        assert!(!early.succeeded, "the lock-up does not hold");
        self.mine(PERIODS.decrease_lockup).await;
        self.succeed(
            &self.ada,
            factory,
            calls::encode(FACTORY, "decreaseStake", &[]),
        )
        .await;
        let deregister = calls::deregister(Role::Discovery, "https://bob.example");
        self.succeed(&self.bob, factory, deregister).await;
    }

    async fn pay(&self) {
        let (contracts, total) = (&self.contracts, Dgc::whole(1_000).0);
        let approve = calls::approve(contracts.payment_router, Dgc(total));
        self.succeed(&self.cora, contracts.token, approve).await;
        let percent = |percents| Percent::new(percents).unwrap();
        let split = split(total, percent(10), &[percent(50), percent(30), percent(20)]).unwrap();
        let amounts: Vec<U256> = [vec![split.network], split.amounts].concat();
        let payees = (60..)
            .take(amounts.len())
            .map(|seed| address(Address([seed; 20])));
        let payment = [
            address(contracts.token),
            Token::Uint(total),
            Token::Array(payees.collect()),
            Token::Array(amounts.into_iter().map(Token::Uint).collect()),
            text("track 1"),
        ];
        let pay = calls::encode(ContractKind::PaymentRouter, "pay", &payment);
        self.succeed(&self.cora, contracts.payment_router, pay)
            .await;
    }

    /// A user's action, and the same one again.
    async fn act(&self) {
        let action = Action {
            user_id: UserId(3_000_001),
            entity_type: "User".to_owned(),
            entity_id: EntityId(3_000_001),
            action: "Create".to_owned(),
            metadata: r#"{"handle":"ada"}"#.to_owned(),
            nonce: Hash32([7; 32]),
        };
        let signed = action.sign(&self.contracts.action_domain(), self.cora.key());
        let manager = self.contracts.entity_manager;
        let call = calls::manage_entity(&signed);
        self.succeed(&self.treasury, manager, call.clone()).await;
        let again = self.send(&self.treasury, manager, call, GAS).await;
        assert!(!again.succeeded);
    }

    /// A call that reverts and one that runs out of gas.
    async fn fail(&self) {
        let transfer = calls::transfer(self.ada.address(), Dgc::whole(1_000_000_000));
        for gas_limit in [GAS, 30_000] {
            let failed = self
                .send(
                    &self.cora,
                    self.contracts.token,
                    transfer.clone(),
                    gas_limit,
                )
                .await;
            assert!(!failed.succeeded);
        }
    }

    /// A legacy and an access list transaction.
    async fn other_types(&self) {
        let signer = LocalWallet::from_bytes(&[5; 32]).unwrap();
        let signer = signer.with_chain_id(self.contracts.chain_id);
        let token = ethers_core::types::Address::from(self.contracts.token.0);
        let legacy = TransactionRequest::new()
            .to(token)
            .data(calls::approve(self.ada.address(), Dgc::whole(1)))
            .gas(200_000)
            .gas_price(4 * GWEI)
            .nonce(0)
            .chain_id(self.contracts.chain_id);
        let warmed = AccessListItem {
            address: token,
            storage_keys: vec![H256::zero()],
        };
        let listed =
            Eip2930TransactionRequest::new(legacy.clone().nonce(1), AccessList(vec![warmed]));
        let transactions: [TypedTransaction; 2] = [legacy.into(), listed.into()];
        for transaction in transactions {
            let signature = signer.sign_transaction_sync(&transaction).unwrap();
            let raw = transaction.rlp_signed(&signature);
            self.client.send_raw(&raw).await.unwrap();
        }
    }

    async fn staked(&self) -> U256 {
        let call = calls::encode(
            ContractKind::Staking,
            "totalStakedFor",
            &[address(self.bob.address())],
        );
        let view = CallRequest::view(self.contracts.staking, call);
        calls::decode_uint(&self.client.call(&view).await.unwrap()).unwrap()
    }

    async fn delegates(&self, wallet: &Wallet, function: &str, arguments: &[Token]) {
        let call = calls::encode(ContractKind::DelegateManager, function, arguments);
        self.succeed(wallet, self.contracts.delegate_manager, call)
            .await;
    }

    async fn governs(&self, function: &str, arguments: &[Token]) {
        let call = calls::encode(ContractKind::Governance, function, arguments);
        self.succeed(&self.ada, self.contracts.governance, call)
            .await;
    }

    async fn mine(&self, count: u64) {
        self.chain.control().mine(count).await.unwrap();
    }

    async fn succeed(&self, wallet: &Wallet, to: Address, data: Vec<u8>) {
        // Said by name what a receipt does not say.
        let request = CallRequest {
            from: Some(wallet.address()),
            ..CallRequest::view(to, data.clone())
        };
        self.client.call(&request).await.unwrap();
        let receipt = self.send(wallet, to, data, GAS).await;
        assert!(receipt.succeeded);
    }

    async fn send(&self, wallet: &Wallet, to: Address, data: Vec<u8>, gas_limit: u64) -> Receipt {
        let nonce = self
            .client
            .transaction_count(wallet.address())
            .await
            .unwrap();
        let raw = wallet.sign(&Transaction {
            chain_id: self.contracts.chain_id,
            nonce,
            to: Some(to),
            value: U256::zero(),
            data,
            gas_limit,
            max_fee: U256::from(4 * GWEI),
            max_priority_fee: U256::from(GWEI),
        });
        self.client.send_raw(&raw.bytes).await.unwrap();
        self.client.receipt(raw.hash).await.unwrap().unwrap()
    }
}

const GWEI: u64 = 1_000_000_000;
const GAS: u64 = 10_000_000;
