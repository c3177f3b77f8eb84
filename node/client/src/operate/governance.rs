//! Governance: proposals, votes, and calls written in words.

use ethers_core::abi::Token;
use futures::future::try_join_all;
use protocol::amount::{Dgc, U256};
use protocol::chain::calls::{address, hash, number, text};
use protocol::chain::{ContractKind, Contracts};
use protocol::id::{Address, Hash32};
use serde::Serialize;

use super::{Call, Deployment, OperateError};

mod words;

pub use words::{FunctionCall, WordsError};

/// How proposals are voted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VotingRules {
    /// How long a proposal is voted on, in blocks.
    pub voting_period: u64,
    /// Blocks between the end of the vote and the execution.
    pub execution_delay: u64,
    /// The part of all stake that has to vote, in per cent.
    pub quorum_percent: u64,
    /// Most proposals in progress at a time.
    pub proposals_max: u64,
    /// Who may veto.
    pub guardian: Address,
    /// The first block in which nobody may.
    pub guardian_until_block: u64,
}

/// A proposal and its votes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// Number of the proposal.
    pub id: u64,
    /// Who made it.
    pub proposer: Address,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where it stands.
    pub outcome: Outcome,
    /// The contract it calls, by its name in the registry.
    pub target: String,
    /// That contract's address.
    pub target_address: Address,
    /// The function it calls, such as `slash(uint256,address)`.
    pub function: String,
    /// The encoded arguments.
    #[serde(serialize_with = "as_hex")]
    pub call_data: Vec<u8>,
    /// The arguments in words, when they can be read.
    pub arguments: Option<Vec<String>>,
    /// Ether that goes along, in wei.
    pub call_value: U256,
    /// The block that it was submitted in.
    pub submitted_block: u64,
    /// The last block that takes votes.
    pub last_vote_block: u64,
    /// The first block in which it can be executed.
    pub execution_block: u64,
    /// The part of all stake that has to vote, in per cent.
    pub quorum_percent: u64,
    /// Stake that voted for it.
    pub yes: Dgc,
    /// Stake that voted against it.
    pub no: Dgc,
    /// All stake when it was submitted.
    pub staked: Dgc,
    /// How many voted.
    pub votes: u64,
}

/// What is voted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// Against the proposal.
    No,
    /// For the proposal.
    Yes,
}

/// How a proposal ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is voted on, or waits for its execution.
    InProgress,
    /// More voted against it, or as many.
    Rejected,
    /// It passed and was carried out.
    ApprovedExecuted,
    /// Too little stake voted.
    QuorumNotMet,
    /// It passed, and the target refused.
    ApprovedExecutionFailed,
    /// It is being carried out.
    Evaluating,
    /// The guardian closed it.
    Vetoed,
    /// The registry names another contract than at its submission.
    TargetContractAddressChanged,
    /// The target's code changed since its submission.
    TargetContractCodeHashChanged,
    /// A proposal that is backed by more took its place.
    Displaced,
}

/// What is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// A name of the registry, such as `DelegateManager`.
    pub target: String,
    /// The call to be made.
    pub call: FunctionCall,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
}

impl Vote {
    /// The contract's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::No => 1,
            Self::Yes => 2,
        }
    }

    const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::No),
            2 => Some(Self::Yes),
            _ => None,
        }
    }

    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
        }
    }
}

impl Outcome {
    const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::InProgress,
            1 => Self::Rejected,
            2 => Self::ApprovedExecuted,
            3 => Self::QuorumNotMet,
            4 => Self::ApprovedExecutionFailed,
            5 => Self::Evaluating,
            6 => Self::Vetoed,
            7 => Self::TargetContractAddressChanged,
            8 => Self::TargetContractCodeHashChanged,
            9 => Self::Displaced,
            _ => return None,
        })
    }

    /// The outcome for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::InProgress => "in progress",
            Self::Rejected => "rejected",
            Self::ApprovedExecuted => "approved and executed",
            Self::QuorumNotMet => "quorum not met",
            Self::ApprovedExecutionFailed => "approved, but the execution failed",
            Self::Evaluating => "being executed",
            Self::Vetoed => "vetoed",
            Self::TargetContractAddressChanged => "void: the registry names another target",
            Self::TargetContractCodeHashChanged => "void: the target's code changed",
            Self::Displaced => "displaced by a proposal that is backed by more",
        }
    }
}

impl Deployment {
    /// How proposals are voted on.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn voting_rules(&self) -> Result<VotingRules, OperateError> {
        let (mut period, mut delay, mut quorum, mut most, mut guardian, mut until) = futures::try_join!(
            self.view(GOVERNANCE, "getVotingPeriod", &[]),
            self.view(GOVERNANCE, "getExecutionDelay", &[]),
            self.view(GOVERNANCE, "getVotingQuorumPercent", &[]),
            self.view(GOVERNANCE, "getMaxInProgressProposals", &[]),
            self.view(GOVERNANCE, "getGuardianAddress", &[]),
            self.view(GOVERNANCE, "getGuardianUntilBlock", &[]),
        )?;
        Ok(VotingRules {
            voting_period: period.number()?,
            execution_delay: delay.number()?,
            quorum_percent: quorum.number()?,
            proposals_max: most.number()?,
            guardian: guardian.address()?,
            guardian_until_block: until.number()?,
        })
    }

    /// How many proposals there were.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn proposals_count(&self) -> Result<u64, OperateError> {
        let mut answer = self.view(GOVERNANCE, "getProposalCount", &[]).await?;
        answer.number()
    }

    /// The proposals in progress, by number.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn proposals_in_progress(&self) -> Result<Vec<Proposal>, OperateError> {
        let mut answer = self.view(GOVERNANCE, "getInProgressProposals", &[]).await?;
        let mut ids = answer.numbers()?;
        ids.sort_unstable();
        try_join_all(ids.into_iter().map(|id| self.proposal(id))).await
    }

    /// The newest proposals, the newest first.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn proposals_newest(&self, count: usize) -> Result<Vec<Proposal>, OperateError> {
        let last = self.proposals_count().await?;
        let ids = (1..=last).rev().take(count);
        try_join_all(ids.map(|id| self.proposal(id))).await
    }

    /// One proposal.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer, or there is none of this
    /// number (`ProposalIsUnknown`).
    pub async fn proposal(&self, id: u64) -> Result<Proposal, OperateError> {
        const FUNCTION: &str = "getProposalById";
        let arguments = [number(id)];
        let (mut proposal, mut rules, mut words) = futures::try_join!(
            self.view(GOVERNANCE, FUNCTION, &arguments),
            self.view(GOVERNANCE, "getProposalRules", &arguments),
            self.view(GOVERNANCE, "getProposalText", &arguments),
        )?;
        let id = proposal.number()?;
        let proposer = proposal.address()?;
        let submitted_block = proposal.number()?;
        let target = label(&proposal.hash()?);
        let target_address = proposal.address()?;
        let call_value = proposal.uint()?;
        let function = proposal.text()?;
        let call_data = proposal.bytes()?;
        let outcome = Outcome::from_number(proposal.number()?).ok_or(OperateError::Answer {
            function: FUNCTION,
            expected: "a known outcome",
        })?;
        let mut staked = self
            .view(
                ContractKind::Staking,
                "totalStakedAt",
                &[number(submitted_block)],
            )
            .await?;
        Ok(Proposal {
            id,
            proposer,
            name: words.text()?,
            description: words.text()?,
            outcome,
            target,
            target_address,
            arguments: FunctionCall::decode(&function, &call_data)
                .map(|call| call.arguments_in_words()),
            function,
            call_data,
            call_value,
            submitted_block,
            last_vote_block: rules.number()?,
            execution_block: rules.number()?,
            quorum_percent: rules.number()?,
            yes: proposal.amount()?,
            no: proposal.amount()?,
            votes: proposal.number()?,
            staked: staked.amount()?,
        })
    }

    /// How an account voted, and with what weight.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn vote_of(
        &self,
        id: u64,
        voter: Address,
    ) -> Result<Option<(Vote, Dgc)>, OperateError> {
        let arguments = [number(id), address(voter)];
        let mut answer = self
            .view(GOVERNANCE, "getVoteInfoByProposalAndVoter", &arguments)
            .await?;
        let vote = Vote::from_number(answer.number()?);
        let magnitude = answer.amount()?;
        Ok(vote.map(|vote| (vote, magnitude)))
    }

    /// What an account votes with at present.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn voting_stake(&self, account: Address) -> Result<Dgc, OperateError> {
        let mut answer = self
            .view(ContractKind::Staking, "votingStakeFor", &[address(account)])
            .await?;
        answer.amount()
    }

    /// The address that the registry has under a name.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn registered(&self, name: &str) -> Result<Option<Address>, OperateError> {
        let mut answer = self
            .view(
                ContractKind::Registry,
                "getContract",
                &[hash(words::padded(name))],
            )
            .await?;
        Ok(Some(answer.address()?).filter(|found| *found != Address::ZERO))
    }

    /// Submits a proposal.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no governance.
    pub fn propose(&self, draft: &Draft) -> Result<Call, OperateError> {
        let arguments = [
            hash(words::padded(&draft.target)),
            number(0),
            text(draft.call.signature()),
            Token::Bytes(draft.call.encode()),
            text(&draft.name),
            text(&draft.description),
        ];
        let what = format!("propose {}.{}", draft.target, draft.call);
        self.call(GOVERNANCE, "submitProposal", &arguments, what)
    }

    /// Votes, or changes a vote.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn vote(&self, id: u64, voter: Address, vote: Vote) -> Result<Call, OperateError> {
        let function = match self.vote_of(id, voter).await? {
            Some(_) => "updateVote",
            None => "submitVote",
        };
        let arguments = [number(id), number(vote.number().into())];
        let what = format!("vote {} on proposal {id}", vote.word());
        self.call(GOVERNANCE, function, &arguments, what)
    }

    /// Closes a proposal after its delay, and carries it out if it passed.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no governance.
    pub fn execute(&self, id: u64) -> Result<Call, OperateError> {
        let what = format!("close proposal {id} and carry it out if it passed");
        self.call(GOVERNANCE, "evaluateProposalOutcome", &[number(id)], what)
    }

    /// Closes a proposal without carrying it out.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no governance.
    pub fn veto(&self, id: u64) -> Result<Call, OperateError> {
        let what = format!("veto proposal {id}");
        self.call(GOVERNANCE, "vetoProposal", &[number(id)], what)
    }
}

/// A draft that slashes an operator.
///
/// # Errors
///
/// [`WordsError`] never: the words are its own.
pub fn slash(
    operator: Address,
    amount: Dgc,
    contracts: &Contracts,
) -> Result<FunctionCall, WordsError> {
    FunctionCall::parse(
        "slash(uint256,address)",
        &[format!("{amount} DGC"), operator.to_string()],
        contracts,
    )
}

/// Text that was left-aligned in 32 bytes.
fn label(bytes: &Hash32) -> String {
    let end = bytes.0.iter().rposition(|byte| *byte != 0);
    let end = end.map_or(0, |last| last + 1);
    match std::str::from_utf8(&bytes.0[..end]) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => text.to_owned(),
        _ => bytes.to_string(),
    }
}

fn as_hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("0x{}", hex::encode(bytes)))
}

const GOVERNANCE: ContractKind = ContractKind::Governance;
