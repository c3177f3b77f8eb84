// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Governed} from "../common/Governed.sol";
import {ClaimsManager} from "./ClaimsManager.sol";
import {Lockups} from "./Lockups.sol";
import {PeerRegistry} from "./PeerRegistry.sol";
import {ServiceTypeManager} from "./ServiceTypeManager.sol";
import {Staking} from "./Staking.sol";

/// @title Where operators register their services, manage their own stake behind them and set their cut of rewards.
/// @notice When an operator changes its stake or services, its own active stake (its stake without a requested
/// decrease) reaches the sum of its services' minima, and all active stake behind it, delegations included, stays
/// within the sum of the maxima. Services are numbered from 1 within their type, and a number never comes back.
contract ServiceProviderFactory is Governed {
    using EnumerableSet for EnumerableSet.UintSet;

    struct Service {
        address operator;
        uint64 registeredAt;
        address delegateOwnerWallet;
        uint128 minStake;
        uint128 maxStake;
        string endpoint;
    }

    /// A request is pending while it has an unlock block.
    struct Operator {
        uint128 ownStake;
        uint128 pendingDecrease;
        uint128 minStake;
        uint128 maxStake;
        uint64 decreaseUnlockBlock;
        uint64 cutUnlockBlock;
        uint32 serviceCount;
        uint8 deployerCut;
        uint8 newDeployerCut;
        uint48 endpointsSince;
        uint32 endpointsTaken;
    }

    /// An endpoint serves several types, but one operator. Endpoints are compared by their spelling (`_spelling`).
    struct EndpointUse {
        address operator;
        uint96 count;
    }

    /// @custom:storage-location erc7201:coliving.storage.ServiceProviderFactory
    struct ServiceProviderFactoryStorage {
        Staking staking;
        ServiceTypeManager serviceTypeManager;
        PeerRegistry peerRegistry;
        address delegateManager;
        ClaimsManager claimsManager;
        address votingGovernance;
        uint256 decreaseStakeLockupBlocks;
        uint256 deployerCutLockupBlocks;
        mapping(bytes32 serviceType => uint256) lastServiceId;
        mapping(bytes32 serviceType => mapping(uint256 serviceId => Service)) services;
        mapping(bytes32 serviceType => mapping(bytes32 spelling => uint256)) serviceIdOfEndpoint;
        mapping(bytes32 spelling => EndpointUse) endpointUses;
        mapping(address operator => Operator) operators;
        mapping(address operator => mapping(bytes32 serviceType => EnumerableSet.UintSet)) serviceIds;
    }

    bytes32 private constant SERVICE_PROVIDER_FACTORY_SLOT =
        0xf5df2cf64e5c606578c77057103a707496219492b5993a522e5657c69a6ad500;

    /// @notice Longest endpoint.
    uint256 public constant ENDPOINT_BYTES_MAX = 256;

    /// @notice While a decrease of stake would be locked, an operator takes this many endpoints more than it has services.
    uint256 public constant SPARE_ENDPOINTS = 2;

    /// @notice A deployer cut of this many parts is all of the delegators' rewards.
    uint256 public constant DEPLOYER_CUT_BASE = 100;

    /// @notice An operator registered a service.
    event ServiceRegistered(
        bytes32 indexed serviceType,
        uint256 indexed serviceId,
        address indexed operator,
        string endpoint,
        address delegateOwnerWallet
    );

    /// @notice An operator gave up a service.
    event ServiceDeregistered(bytes32 indexed serviceType, uint256 indexed serviceId, address indexed operator);

    /// @notice A service moved to another endpoint.
    event EndpointUpdated(
        bytes32 indexed serviceType, uint256 indexed serviceId, address indexed operator, string endpoint
    );

    /// @notice A service runs under another hot key.
    event DelegateOwnerWalletUpdated(
        bytes32 indexed serviceType, uint256 indexed serviceId, address indexed operator, address wallet
    );

    /// @notice `amount` in all is locked until `unlockBlock` and can then be taken out.
    event DecreaseStakeRequested(address indexed operator, uint256 amount, uint256 unlockBlock);

    /// @notice The operator keeps the stake it had asked back.
    event DecreaseStakeRequestCancelled(address indexed operator, uint256 amount);

    /// @notice The operator took stake out.
    event StakeDecreased(address indexed operator, uint256 amount);

    /// @notice The operator's cut of its delegators' rewards, in hundredths, can change from `unlockBlock` on.
    event DeployerCutUpdateRequested(address indexed operator, uint256 newCut, uint256 unlockBlock);

    /// @notice The operator keeps its cut.
    event DeployerCutUpdateCancelled(address indexed operator, uint256 newCut);

    /// @notice The operator takes this cut of its delegators' rewards, in hundredths.
    event DeployerCutUpdated(address indexed operator, uint256 newCut);

    /// @notice Decreases requested from now on are locked for this many blocks.
    event DecreaseStakeLockupDurationUpdated(uint256 lockupBlocks);

    /// @notice Changes of the deployer cut requested from now on are locked for this many blocks.
    event DeployerCutLockupDurationUpdated(uint256 lockupBlocks);

    /// @notice The contract that moves delegations was named.
    event DelegateManagerChanged(address indexed previousManager, address indexed delegateManager);

    /// @notice The contract that knows which claims are pending was named.
    event ClaimsManagerChanged(address indexed previousManager, address indexed claimsManager);

    /// @notice The contract whose votes lock-ups must outlast was named.
    event VotingGovernanceChanged(address indexed previousGovernance, address indexed votingGovernance);

    /// @notice The registry that is told of lapses was named.
    event PeerRegistryChanged(address indexed previousRegistry, address indexed peerRegistry);

    /// @notice The type takes no registrations.
    error ServiceTypeIsUnknown(bytes32 serviceType);

    /// @notice No service of this type has this endpoint.
    error ServiceIsUnknown(bytes32 serviceType, string endpoint);

    /// @notice Only the operator of the service may do this.
    error CallerIsNotOperator(address caller, address operator);

    /// @notice The endpoint is empty or longer than `lengthMax` bytes.
    error EndpointLengthIsWrong(uint256 length, uint256 lengthMax);

    /// @notice A service of this type has this endpoint already.
    error EndpointIsTaken(bytes32 serviceType, string endpoint);

    /// @notice Another operator's service has this endpoint.
    error EndpointIsAnotherOperators(string endpoint, address operator);

    /// @notice The operator took as many endpoints as its services allow; it takes others from `fromBlock` on.
    error TooManyEndpoints(uint256 endpointsMax, uint256 fromBlock);

    /// @notice The service has this delegate owner wallet already.
    error DelegateOwnerWalletIsUnchanged(address wallet);

    /// @notice The operator's own active stake would be less than its services ask for, or all active stake behind it
    /// more than they allow.
    error StakeIsOutOfBounds(uint256 activeStake, uint256 minStake, uint256 maxStake);

    /// @notice A change of stake must be more than zero.
    error AmountIsZero();

    /// @notice More is asked back than is staked.
    error StakeIsTooSmall(uint256 staked, uint256 amount);

    /// @notice One decrease is pending; it must be taken out or cancelled first.
    error DecreaseIsPending(uint256 amount, uint256 unlockBlock);

    /// @notice No decrease is pending.
    error NoDecreaseIsPending(address operator);

    /// @notice The requested decrease is locked for some more blocks.
    error DecreaseIsLocked(uint256 unlockBlock, uint256 currentBlock);

    /// @notice Services cannot be registered before governance named the peer registry.
    error PeerRegistryIsNotSet();

    /// @notice Rewards of the round must be claimed first (`DelegateManager.claimRewards`, by anybody).
    error ClaimIsPending(address operator);

    /// @notice A cut is at most 100 hundredths.
    error DeployerCutIsTooLarge(uint256 cut, uint256 cutMax);

    /// @notice A change of the cut is pending; it must be made or cancelled first.
    error DeployerCutUpdateIsPending(uint256 newCut, uint256 unlockBlock);

    /// @notice No change of the cut is pending.
    error NoDeployerCutUpdateIsPending(address operator);

    /// @notice The change of the cut is locked for some more blocks.
    error DeployerCutUpdateIsLocked(uint256 unlockBlock, uint256 currentBlock);

    /// @notice A change of the cut must be locked for longer than a funding round.
    error DeployerCutLockupIsTooShort(uint256 lockupBlocks, uint256 fundingRoundBlocks);

    /// @notice Only the delegate manager may do this.
    error CallerIsNotDelegateManager(address caller);

    /// @param initialGovernance the governance address
    /// @param stakingProxy the contract that holds the stake
    /// @param serviceTypeManagerProxy the contract that knows the service types
    /// @param votes the contract whose votes the lock-up of a decrease must outlast
    /// @param decreaseLockupBlocks how many blocks a decrease of stake is locked
    /// @param cutLockupBlocks how many blocks a change of the deployer cut is locked
    function initialize(
        address initialGovernance,
        address stakingProxy,
        address serviceTypeManagerProxy,
        address votes,
        uint256 decreaseLockupBlocks,
        uint256 cutLockupBlocks
    ) external initializer {
        _initializeGoverned(initialGovernance);
        _requireNonZero(stakingProxy, "staking");
        _requireNonZero(serviceTypeManagerProxy, "service type manager");
        ServiceProviderFactoryStorage storage $ = _factory();
        $.staking = Staking(stakingProxy);
        $.serviceTypeManager = ServiceTypeManager(serviceTypeManagerProxy);
        $.decreaseStakeLockupBlocks = decreaseLockupBlocks;
        _setVotingGovernance(votes);
        emit DecreaseStakeLockupDurationUpdated(decreaseLockupBlocks);
        _setCutLockup(cutLockupBlocks);
    }

    /// @notice Names the contract that moves delegations and slashes.
    function setDelegateManager(address newManager) external onlyGovernance {
        _requireNonZero(newManager, "delegate manager");
        ServiceProviderFactoryStorage storage $ = _factory();
        emit DelegateManagerChanged($.delegateManager, newManager);
        $.delegateManager = newManager;
    }

    /// @notice Names the contract that knows which claims are pending.
    function setClaimsManager(address newManager) external onlyGovernance {
        _requireNonZero(newManager, "claims manager");
        ServiceProviderFactoryStorage storage $ = _factory();
        emit ClaimsManagerChanged(address($.claimsManager), newManager);
        $.claimsManager = ClaimsManager(newManager);
        _requireCutLockup($.deployerCutLockupBlocks);
    }

    /// @notice Names the contract whose votes the lock-up of a decrease must outlast.
    function setVotingGovernance(address newGovernance) external onlyGovernance {
        _setVotingGovernance(newGovernance);
    }

    /// @notice Changes how many blocks decreases requested from now on are locked.
    function updateDecreaseStakeLockupDuration(uint256 lockupBlocks) external onlyGovernance {
        ServiceProviderFactoryStorage storage $ = _factory();
        Lockups.requireLongerThanVote($.votingGovernance, lockupBlocks);
        $.decreaseStakeLockupBlocks = lockupBlocks;
        emit DecreaseStakeLockupDurationUpdated(lockupBlocks);
    }

    /// @notice Changes how many blocks changes of the deployer cut requested from now on are locked.
    function updateDeployerCutLockupDuration(uint256 lockupBlocks) external onlyGovernance {
        _setCutLockup(lockupBlocks);
    }

    /// @notice Names the registry that is told when a confirmation lapses.
    function setPeerRegistry(address newRegistry) external onlyGovernance {
        _requireNonZero(newRegistry, "peer registry");
        ServiceProviderFactoryStorage storage $ = _factory();
        emit PeerRegistryChanged(address($.peerRegistry), newRegistry);
        $.peerRegistry = PeerRegistry(newRegistry);
    }

    /// @notice Registers a service of the caller, adding `stakeAmount` (may be zero) to its stake.
    /// @dev The caller approves the staking contract for `stakeAmount` first.
    /// @param serviceType a valid type of the service type manager
    /// @param endpoint where the service is reached, such as `https://one.example`
    /// @param stakeAmount wei of DGC to add
    /// @param delegateOwnerWallet address of the hot key that the peer runs under
    /// @return serviceId the number of the service within its type
    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth
    function register(bytes32 serviceType, string calldata endpoint, uint256 stakeAmount, address delegateOwnerWallet)
        external
        returns (uint256 serviceId)
    {
        ServiceProviderFactoryStorage storage $ = _factory();
        if (address($.peerRegistry) == address(0)) revert PeerRegistryIsNotSet();
        _requireNonZero(delegateOwnerWallet, "delegate owner wallet");
        serviceId = ++$.lastServiceId[serviceType];
        _claimEndpoint(serviceType, serviceId, endpoint);
        _addService(serviceType, serviceId, endpoint, delegateOwnerWallet);
        emit ServiceRegistered(serviceType, serviceId, msg.sender, endpoint, delegateOwnerWallet);
        if (stakeAmount > 0) _stake(stakeAmount);
        _requireBounds(msg.sender);
    }

    /// @notice Gives up a service of the caller; its confirmation lapses.
    /// @dev Own stake above what the remaining services allow (all of it after the last one) becomes a requested
    /// decrease, together with one that is pending. Delegations stay until their owners take them out.
    /// @return serviceId the number that the service had
    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth,reentrancy-events
    function deregister(bytes32 serviceType, string calldata endpoint) external returns (uint256 serviceId) {
        serviceId = _requireOwn(serviceType, endpoint);
        ServiceProviderFactoryStorage storage $ = _factory();
        Service storage service = $.services[serviceType][serviceId];
        Operator storage operator = $.operators[msg.sender];
        operator.serviceCount -= 1;
        operator.minStake -= service.minStake;
        operator.maxStake -= service.maxStake;
        _releaseEndpoint(serviceType, endpoint);
        // It is there: the service is the caller's.
        // slither-disable-next-line unused-return
        $.serviceIds[msg.sender][serviceType].remove(serviceId);
        delete $.services[serviceType][serviceId];
        emit ServiceDeregistered(serviceType, serviceId, msg.sender);
        $.peerRegistry.lapse(serviceType, serviceId);

        uint256 excess = Math.saturatingSub(_active(msg.sender), operator.maxStake);
        uint256 spare = Math.saturatingSub(operator.ownStake - operator.pendingDecrease, operator.minStake);
        uint256 decrease = Math.min(excess, spare);
        if (decrease > 0) _requestDecrease(operator.pendingDecrease + decrease);
    }

    /// @notice Moves a service of the caller to another endpoint; its confirmation stays.
    function updateEndpoint(bytes32 serviceType, string calldata oldEndpoint, string calldata newEndpoint)
        external
        returns (uint256 serviceId)
    {
        serviceId = _requireOwn(serviceType, oldEndpoint);
        _releaseEndpoint(serviceType, oldEndpoint);
        _claimEndpoint(serviceType, serviceId, newEndpoint);
        _factory().services[serviceType][serviceId].endpoint = newEndpoint;
        emit EndpointUpdated(serviceType, serviceId, msg.sender, newEndpoint);
    }

    /// @notice Puts a service of the caller under another hot key; its confirmation lapses.
    function updateDelegateOwnerWallet(bytes32 serviceType, string calldata endpoint, address newWallet) external {
        uint256 serviceId = _requireOwn(serviceType, endpoint);
        _requireNonZero(newWallet, "delegate owner wallet");
        ServiceProviderFactoryStorage storage $ = _factory();
        Service storage service = $.services[serviceType][serviceId];
        if (service.delegateOwnerWallet == newWallet) revert DelegateOwnerWalletIsUnchanged(newWallet);
        service.delegateOwnerWallet = newWallet;
        emit DelegateOwnerWalletUpdated(serviceType, serviceId, msg.sender, newWallet);
        $.peerRegistry.lapse(serviceType, serviceId);
    }

    /// @notice Adds to the caller's stake; the caller approves the staking contract first.
    /// @return the caller's own stake after it
    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth
    function increaseStake(uint256 amount) external returns (uint256) {
        if (amount == 0) revert AmountIsZero();
        _stake(amount);
        _requireBounds(msg.sender);
        return _factory().operators[msg.sender].ownStake;
    }

    /// @notice Locks part of the caller's stake, to be taken out after the lock-up.
    /// @return unlockBlock the first block at which it can be taken out
    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth
    function requestDecreaseStake(uint256 amount) external returns (uint256 unlockBlock) {
        if (amount == 0) revert AmountIsZero();
        ServiceProviderFactoryStorage storage $ = _factory();
        Operator storage operator = $.operators[msg.sender];
        if (operator.pendingDecrease != 0) {
            revert DecreaseIsPending(operator.pendingDecrease, operator.decreaseUnlockBlock);
        }
        if (amount > operator.ownStake) revert StakeIsTooSmall(operator.ownStake, amount);
        _requireNoClaim(msg.sender);
        unlockBlock = _requestDecrease(amount);
        _requireBounds(msg.sender);
    }

    /// @notice Takes the requested decrease out, once its lock-up is over.
    /// @return the caller's own stake after it
    function decreaseStake() external returns (uint256) {
        Operator storage operator = _requirePending();
        uint256 amount = operator.pendingDecrease;
        if (block.number < operator.decreaseUnlockBlock) {
            revert DecreaseIsLocked(operator.decreaseUnlockBlock, block.number);
        }
        _requireNoClaim(msg.sender);
        operator.ownStake -= uint128(amount);
        operator.pendingDecrease = 0;
        operator.decreaseUnlockBlock = 0;
        emit StakeDecreased(msg.sender, amount);
        // This gives up the lock too, and what was locked had no vote.
        _factory().staking.unstakeFor(msg.sender, amount);
        return operator.ownStake;
    }

    /// @notice Keeps the stake that was to be taken out.
    /// @dev An operator without services may keep any stake, to register with it again.
    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth
    function cancelDecreaseStakeRequest() external {
        Operator storage operator = _requirePending();
        _cancelDecrease(msg.sender);
        if (operator.serviceCount > 0) _requireBounds(msg.sender);
    }

    /// @notice Cancels an operator's requested decrease, if there is one; the delegate manager slashes after it.
    function dropDecreaseStakeRequest(address operator) external {
        _requireDelegateManager();
        if (_factory().operators[operator].pendingDecrease != 0) _cancelDecrease(operator);
    }

    /// @notice Sets an operator's own stake after rewards or a slash; the delegate manager calls it.
    function updateServiceProviderStake(address operator, uint256 amount) external {
        _requireDelegateManager();
        Operator storage info = _factory().operators[operator];
        info.ownStake = SafeCast.toUint128(amount);
        _updateVotes(operator, info);
    }

    /// @notice Asks for another cut of the delegators' rewards; the operator and governance can.
    /// @param operator whose cut it is
    /// @param cut hundredths, 0 to 100
    /// @return unlockBlock the first block at which the change can be made
    function requestUpdateDeployerCut(address operator, uint256 cut) external returns (uint256 unlockBlock) {
        Operator storage info = _requireOperatorOrGovernance(operator);
        if (cut > DEPLOYER_CUT_BASE) revert DeployerCutIsTooLarge(cut, DEPLOYER_CUT_BASE);
        if (info.cutUnlockBlock != 0) revert DeployerCutUpdateIsPending(info.newDeployerCut, info.cutUnlockBlock);
        unlockBlock = block.number + _factory().deployerCutLockupBlocks;
        info.newDeployerCut = uint8(cut);
        info.cutUnlockBlock = SafeCast.toUint64(unlockBlock);
        emit DeployerCutUpdateRequested(operator, cut, unlockBlock);
    }

    /// @notice Keeps the cut as it is.
    function cancelUpdateDeployerCut(address operator) external {
        Operator storage info = _requirePendingCut(operator);
        emit DeployerCutUpdateCancelled(operator, info.newDeployerCut);
        info.newDeployerCut = 0;
        info.cutUnlockBlock = 0;
    }

    /// @notice Changes the cut as requested, once its lock-up is over.
    /// @dev Rewards that were earned under the old cut are claimed first.
    function updateDeployerCut(address operator) external {
        Operator storage info = _requirePendingCut(operator);
        if (block.number < info.cutUnlockBlock) revert DeployerCutUpdateIsLocked(info.cutUnlockBlock, block.number);
        _requireNoClaim(operator);
        emit DeployerCutUpdated(operator, info.newDeployerCut);
        info.deployerCut = info.newDeployerCut;
        info.newDeployerCut = 0;
        info.cutUnlockBlock = 0;
    }

    /// @notice Reverts unless the stake behind an operator, own and delegated, is within its services' bounds.
    function validateAccountStakeBalance(address operator) external view {
        _requireBounds(operator);
    }

    /// @notice A service by its number; all zero when there is none.
    function getServiceEndpointInfo(bytes32 serviceType, uint256 serviceId)
        external
        view
        returns (address operator, string memory endpoint, uint256 blockNumber, address delegateOwnerWallet)
    {
        Service storage service = _factory().services[serviceType][serviceId];
        return (service.operator, service.endpoint, service.registeredAt, service.delegateOwnerWallet);
    }

    /// @notice The wallets of a service: who staked, and whose key runs it; zero when there is none.
    function getServiceWallets(bytes32 serviceType, uint256 serviceId)
        external
        view
        returns (address operator, address delegateOwnerWallet)
    {
        Service storage service = _factory().services[serviceType][serviceId];
        return (service.operator, service.delegateOwnerWallet);
    }

    /// @notice The highest number that a service of the type has had; zero before the first.
    function getTotalServiceTypeProviders(bytes32 serviceType) external view returns (uint256) {
        return _factory().lastServiceId[serviceType];
    }

    /// @notice The number of the service of this type at an endpoint; zero when there is none.
    function getServiceProviderIdFromEndpoint(bytes32 serviceType, string calldata endpoint)
        external
        view
        returns (uint256)
    {
        return _factory().serviceIdOfEndpoint[serviceType][_spelling(endpoint)];
    }

    /// @notice The numbers of an operator's services of a type, in no particular order.
    function getServiceProviderIdsFromAddress(address operator, bytes32 serviceType)
        external
        view
        returns (uint256[] memory)
    {
        return _factory().serviceIds[operator][serviceType].values();
    }

    /// @notice What is known of an operator.
    /// @return ownStake its own stake, in wei
    /// @return deployerCut its cut of its delegators' rewards, in hundredths
    /// @return validBounds whether it has services and all active stake behind it is within their bounds
    /// @return numberOfEndpoints how many services it has
    /// @return minAccountStake the sum of their minima, in wei
    /// @return maxAccountStake the sum of their maxima, in wei
    function getServiceProviderDetails(address operator)
        external
        view
        returns (
            uint256 ownStake,
            uint256 deployerCut,
            bool validBounds,
            uint256 numberOfEndpoints,
            uint256 minAccountStake,
            uint256 maxAccountStake
        )
    {
        Operator storage info = _factory().operators[operator];
        uint256 active = _active(operator);
        validBounds = info.serviceCount > 0 && active >= info.minStake && active <= info.maxStake;
        return (info.ownStake, info.deployerCut, validBounds, info.serviceCount, info.minStake, info.maxStake);
    }

    /// @notice The change of the deployer cut that is pending, and the first block at which it can be made.
    function getPendingUpdateDeployerCutRequest(address operator)
        external
        view
        returns (uint256 newCut, uint256 unlockBlock)
    {
        Operator storage info = _factory().operators[operator];
        return (info.newDeployerCut, info.cutUnlockBlock);
    }

    /// @notice The decrease that an operator asked for, and the first block at which it can be taken out.
    function getPendingDecreaseStakeRequest(address operator)
        external
        view
        returns (uint256 amount, uint256 unlockBlock)
    {
        Operator storage info = _factory().operators[operator];
        return (info.pendingDecrease, info.decreaseUnlockBlock);
    }

    /// @notice How many blocks a decrease of stake is locked.
    function getDecreaseStakeLockupDuration() external view returns (uint256) {
        return _factory().decreaseStakeLockupBlocks;
    }

    /// @notice How many blocks a change of the deployer cut is locked.
    function getDeployerCutLockupDuration() external view returns (uint256) {
        return _factory().deployerCutLockupBlocks;
    }

    /// @notice The contract that moves delegations, or zero before it is named.
    function delegateManager() external view returns (address) {
        return _factory().delegateManager;
    }

    /// @notice The contract that knows which claims are pending, or zero before it is named.
    function claimsManager() external view returns (address) {
        return address(_factory().claimsManager);
    }

    /// @notice The contract whose votes the lock-up of a decrease must outlast.
    function votingGovernance() external view returns (address) {
        return _factory().votingGovernance;
    }

    /// @notice The contract that holds the stake.
    function staking() external view returns (address) {
        return address(_factory().staking);
    }

    /// @notice The contract that knows the service types.
    function serviceTypeManager() external view returns (address) {
        return address(_factory().serviceTypeManager);
    }

    /// @notice The registry that is told when a confirmation lapses, or zero before it is named.
    function peerRegistry() external view returns (address) {
        return address(_factory().peerRegistry);
    }

    function _claimEndpoint(bytes32 serviceType, uint256 serviceId, string calldata endpoint) private {
        uint256 length = bytes(endpoint).length;
        if (length == 0 || length > ENDPOINT_BYTES_MAX) revert EndpointLengthIsWrong(length, ENDPOINT_BYTES_MAX);
        ServiceProviderFactoryStorage storage $ = _factory();
        bytes32 spelling = _spelling(endpoint);
        if ($.serviceIdOfEndpoint[serviceType][spelling] != 0) revert EndpointIsTaken(serviceType, endpoint);
        EndpointUse storage use = $.endpointUses[spelling];
        if (use.count == 0) _countEndpoint();
        else if (use.operator != msg.sender) revert EndpointIsAnotherOperators(endpoint, use.operator);
        use.operator = msg.sender;
        use.count += 1;
        $.serviceIdOfEndpoint[serviceType][spelling] = serviceId;
    }

    /// Nobody can tell from here whose an endpoint is. So that nobody takes in time each that another operator is about to
    /// register, endpoints cost stake: as many as there are services, which each ask for some, and a few to move.
    function _countEndpoint() private {
        ServiceProviderFactoryStorage storage $ = _factory();
        Operator storage operator = $.operators[msg.sender];
        uint256 fromBlock = operator.endpointsSince + $.decreaseStakeLockupBlocks;
        if (block.number >= fromBlock) {
            operator.endpointsSince = SafeCast.toUint48(block.number);
            operator.endpointsTaken = 0;
        }
        uint256 endpointsMax = operator.serviceCount + SPARE_ENDPOINTS;
        if (operator.endpointsTaken >= endpointsMax) revert TooManyEndpoints(endpointsMax, fromBlock);
        operator.endpointsTaken += 1;
    }

    function _releaseEndpoint(bytes32 serviceType, string calldata endpoint) private {
        ServiceProviderFactoryStorage storage $ = _factory();
        bytes32 spelling = _spelling(endpoint);
        delete $.serviceIdOfEndpoint[serviceType][spelling];
        EndpointUse storage use = $.endpointUses[spelling];
        use.count -= 1;
        if (use.count == 0) delete $.endpointUses[spelling];
    }

    function _addService(
        bytes32 serviceType,
        uint256 serviceId,
        string calldata endpoint,
        address delegateOwnerWallet
    ) private {
        ServiceProviderFactoryStorage storage $ = _factory();
        (bool isValid, uint256 minStake, uint256 maxStake) = $.serviceTypeManager.getServiceTypeInfo(serviceType);
        if (!isValid) revert ServiceTypeIsUnknown(serviceType);
        $.services[serviceType][serviceId] = Service({
            operator: msg.sender,
            registeredAt: SafeCast.toUint64(block.number),
            delegateOwnerWallet: delegateOwnerWallet,
            minStake: SafeCast.toUint128(minStake),
            maxStake: SafeCast.toUint128(maxStake),
            endpoint: endpoint
        });
        // A fresh number is never in the set.
        // slither-disable-next-line unused-return
        $.serviceIds[msg.sender][serviceType].add(serviceId);
        Operator storage operator = $.operators[msg.sender];
        operator.serviceCount += 1;
        operator.minStake += SafeCast.toUint128(minStake);
        operator.maxStake += SafeCast.toUint128(maxStake);
    }

    function _stake(uint256 amount) private {
        _requireNoClaim(msg.sender);
        ServiceProviderFactoryStorage storage $ = _factory();
        Operator storage operator = $.operators[msg.sender];
        operator.ownStake += SafeCast.toUint128(amount);
        _updateVotes(msg.sender, operator);
        $.staking.stakeFor(msg.sender, amount);
    }

    function _requestDecrease(uint256 amount) private returns (uint256 unlockBlock) {
        ServiceProviderFactoryStorage storage $ = _factory();
        unlockBlock = block.number + $.decreaseStakeLockupBlocks;
        Operator storage operator = $.operators[msg.sender];
        operator.pendingDecrease = SafeCast.toUint128(amount);
        operator.decreaseUnlockBlock = SafeCast.toUint64(unlockBlock);
        emit DecreaseStakeRequested(msg.sender, amount, unlockBlock);
        _updateLock(msg.sender, operator);
    }

    function _cancelDecrease(address account) private {
        Operator storage operator = _factory().operators[account];
        emit DecreaseStakeRequestCancelled(account, operator.pendingDecrease);
        operator.pendingDecrease = 0;
        operator.decreaseUnlockBlock = 0;
        _updateLock(account, operator);
    }

    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth
    function _updateLock(address account, Operator storage operator) private {
        _factory().staking.setLocked(account, operator.pendingDecrease);
        _updateVotes(account, operator);
    }

    function _updateVotes(address account, Operator storage operator) private {
        _factory().staking.setVotingStake(account, operator.ownStake - operator.pendingDecrease);
    }

    function _setVotingGovernance(address newGovernance) private {
        _requireNonZero(newGovernance, "voting governance");
        ServiceProviderFactoryStorage storage $ = _factory();
        Lockups.requireLongerThanVote(newGovernance, $.decreaseStakeLockupBlocks);
        emit VotingGovernanceChanged($.votingGovernance, newGovernance);
        $.votingGovernance = newGovernance;
    }

    function _setCutLockup(uint256 lockupBlocks) private {
        _requireCutLockup(lockupBlocks);
        _factory().deployerCutLockupBlocks = lockupBlocks;
        emit DeployerCutLockupDurationUpdated(lockupBlocks);
    }

    function _requireCutLockup(uint256 lockupBlocks) private view {
        if (lockupBlocks == 0) revert Lockups.LockupIsZero();
        ClaimsManager claims = _factory().claimsManager;
        if (address(claims) == address(0)) return;
        uint256 roundBlocks = claims.getFundingRoundBlockDiff();
        if (lockupBlocks <= roundBlocks) revert DeployerCutLockupIsTooShort(lockupBlocks, roundBlocks);
    }

    function _requireNoClaim(address operator) private view {
        ClaimsManager claims = _factory().claimsManager;
        if (address(claims) != address(0) && claims.claimPending(operator)) revert ClaimIsPending(operator);
    }

    function _requireDelegateManager() private view {
        if (msg.sender != _factory().delegateManager) revert CallerIsNotDelegateManager(msg.sender);
    }

    function _requireOperatorOrGovernance(address operator) private view returns (Operator storage) {
        if (msg.sender != operator && msg.sender != governance()) revert CallerIsNotOperator(msg.sender, operator);
        return _factory().operators[operator];
    }

    function _requirePendingCut(address operator) private view returns (Operator storage info) {
        info = _requireOperatorOrGovernance(operator);
        if (info.cutUnlockBlock == 0) revert NoDeployerCutUpdateIsPending(operator);
    }

    function _requireOwn(bytes32 serviceType, string calldata endpoint) private view returns (uint256 serviceId) {
        ServiceProviderFactoryStorage storage $ = _factory();
        serviceId = $.serviceIdOfEndpoint[serviceType][_spelling(endpoint)];
        if (serviceId == 0) revert ServiceIsUnknown(serviceType, endpoint);
        address operator = $.services[serviceType][serviceId].operator;
        if (operator != msg.sender) revert CallerIsNotOperator(msg.sender, operator);
    }

    function _requirePending() private view returns (Operator storage operator) {
        operator = _factory().operators[msg.sender];
        if (operator.pendingDecrease == 0) revert NoDecreaseIsPending(msg.sender);
    }

    function _requireBounds(address account) private view {
        Operator storage operator = _factory().operators[account];
        (uint256 minStake, uint256 maxStake) = (operator.minStake, operator.maxStake);
        uint256 ownActive = operator.ownStake - operator.pendingDecrease;
        if (ownActive < minStake) revert StakeIsOutOfBounds(ownActive, minStake, maxStake);
        uint256 active = _active(account);
        if (active > maxStake) revert StakeIsOutOfBounds(active, minStake, maxStake);
    }

    /// All stake behind an operator, without what is on its way out.
    function _active(address operator) private view returns (uint256) {
        Staking stakes = _factory().staking;
        return stakes.totalStakedFor(operator) - stakes.lockedFor(operator);
    }

    /// What endpoints are compared by: scheme and host in lower case, and no slash at the end.
    function _spelling(string calldata endpoint) private pure returns (bytes32) {
        bytes memory text = bytes(endpoint);
        uint256 length = text.length;
        bool isInHost = false;
        for (uint256 i = 0; i < length; i++) {
            bytes1 char = text[i];
            if (char >= "A" && char <= "Z") text[i] = char | 0x20;
            if (char == ":" && !isInHost && i + 2 < length && text[i + 1] == "/" && text[i + 2] == "/") {
                isInHost = true;
                i += 2;
            } else if (char == "/" || char == "?" || char == "#") {
                break;
            }
        }
        if (length > 0 && text[length - 1] == "/") {
            assembly ("memory-safe") {
                mstore(text, sub(length, 1))
            }
        }
        return keccak256(text);
    }

    function _factory() private pure returns (ServiceProviderFactoryStorage storage $) {
        assembly {
            $.slot := SERVICE_PROVIDER_FACTORY_SLOT
        }
    }
}
