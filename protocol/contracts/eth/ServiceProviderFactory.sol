// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Governed} from "../common/Governed.sol";
import {PeerRegistry} from "./PeerRegistry.sol";
import {ServiceTypeManager} from "./ServiceTypeManager.sol";
import {Staking} from "./Staking.sol";

/// @title Where operators register their services and manage the stake behind them.
/// @notice An operator's active stake (its stake without a requested decrease) lies between the sum of the minima and
/// the sum of the maxima of its services. Services are numbered from 1 within their type, and a number never comes back.
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

    struct Operator {
        uint256 serviceCount;
        uint256 minStake;
        uint256 maxStake;
        uint256 pendingDecrease;
        uint256 decreaseUnlockBlock;
    }

    /// An endpoint serves several types, but one operator.
    struct EndpointUse {
        address operator;
        uint96 count;
    }

    /// @custom:storage-location erc7201:coliving.storage.ServiceProviderFactory
    struct ServiceProviderFactoryStorage {
        Staking staking;
        ServiceTypeManager serviceTypeManager;
        PeerRegistry peerRegistry;
        uint256 decreaseStakeLockupBlocks;
        mapping(bytes32 serviceType => uint256) lastServiceId;
        mapping(bytes32 serviceType => mapping(uint256 serviceId => Service)) services;
        mapping(bytes32 serviceType => mapping(bytes32 endpointHash => uint256)) serviceIdOfEndpoint;
        mapping(bytes32 endpointHash => EndpointUse) endpointUses;
        mapping(address operator => Operator) operators;
        mapping(address operator => mapping(bytes32 serviceType => EnumerableSet.UintSet)) serviceIds;
    }

    bytes32 private constant SERVICE_PROVIDER_FACTORY_SLOT =
        0xf5df2cf64e5c606578c77057103a707496219492b5993a522e5657c69a6ad500;

    /// @notice Longest endpoint.
    uint256 public constant ENDPOINT_BYTES_MAX = 256;

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

    /// @notice The service has this delegate owner wallet already.
    error DelegateOwnerWalletIsUnchanged(address wallet);

    /// @notice The active stake would be outside what the operator's services ask for and allow.
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

    /// @notice A decrease must be locked for at least one block.
    error LockupIsZero();

    /// @param initialGovernance the governance address
    /// @param stakingProxy the contract that holds the stake
    /// @param serviceTypeManagerProxy the contract that knows the service types
    /// @param lockupBlocks how many blocks a decrease of stake is locked
    function initialize(
        address initialGovernance,
        address stakingProxy,
        address serviceTypeManagerProxy,
        uint256 lockupBlocks
    ) external initializer {
        _initializeGoverned(initialGovernance);
        _requireNonZero(stakingProxy, "staking");
        _requireNonZero(serviceTypeManagerProxy, "service type manager");
        if (lockupBlocks == 0) revert LockupIsZero();
        ServiceProviderFactoryStorage storage $ = _factory();
        $.staking = Staking(stakingProxy);
        $.serviceTypeManager = ServiceTypeManager(serviceTypeManagerProxy);
        $.decreaseStakeLockupBlocks = lockupBlocks;
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
    function register(bytes32 serviceType, string calldata endpoint, uint256 stakeAmount, address delegateOwnerWallet)
        external
        returns (uint256 serviceId)
    {
        ServiceProviderFactoryStorage storage $ = _factory();
        if (address($.peerRegistry) == address(0)) revert PeerRegistryIsNotSet();
        _requireNonZero(delegateOwnerWallet, "delegate owner wallet");
        (bool isValid, uint256 minStake, uint256 maxStake) = $.serviceTypeManager.getServiceTypeInfo(serviceType);
        if (!isValid) revert ServiceTypeIsUnknown(serviceType);

        serviceId = ++$.lastServiceId[serviceType];
        _claimEndpoint(serviceType, serviceId, endpoint);
        $.services[serviceType][serviceId] = Service({
            operator: msg.sender,
            registeredAt: SafeCast.toUint64(block.number),
            delegateOwnerWallet: delegateOwnerWallet,
            minStake: SafeCast.toUint128(minStake),
            maxStake: SafeCast.toUint128(maxStake),
            endpoint: endpoint
        });
        $.serviceIds[msg.sender][serviceType].add(serviceId);
        Operator storage operator = $.operators[msg.sender];
        operator.serviceCount += 1;
        operator.minStake += minStake;
        operator.maxStake += maxStake;
        emit ServiceRegistered(serviceType, serviceId, msg.sender, endpoint, delegateOwnerWallet);
        if (stakeAmount > 0) $.staking.stakeFor(msg.sender, stakeAmount);
        _requireBounds(msg.sender);
    }

    /// @notice Gives up a service of the caller; its confirmation lapses.
    /// @dev Stake above what the remaining services allow (all of it after the last one) becomes a requested decrease.
    /// @return serviceId the number that the service had
    function deregister(bytes32 serviceType, string calldata endpoint) external returns (uint256 serviceId) {
        serviceId = _requireOwn(serviceType, endpoint);
        ServiceProviderFactoryStorage storage $ = _factory();
        Service storage service = $.services[serviceType][serviceId];
        Operator storage operator = $.operators[msg.sender];
        operator.serviceCount -= 1;
        operator.minStake -= service.minStake;
        operator.maxStake -= service.maxStake;
        _releaseEndpoint(serviceType, endpoint);
        $.serviceIds[msg.sender][serviceType].remove(serviceId);
        delete $.services[serviceType][serviceId];
        emit ServiceDeregistered(serviceType, serviceId, msg.sender);
        $.peerRegistry.lapse(serviceType, serviceId);

        uint256 staked = $.staking.totalStakedFor(msg.sender);
        if (staked > operator.maxStake && staked - operator.maxStake > operator.pendingDecrease) {
            _requestDecrease(staked - operator.maxStake);
        }
    }

    /// @notice Moves a service of the caller to another endpoint; its confirmation stays.
    function updateEndpoint(bytes32 serviceType, string calldata oldEndpoint, string calldata newEndpoint)
        external
        returns (uint256 serviceId)
    {
        serviceId = _requireOwn(serviceType, oldEndpoint);
        _claimEndpoint(serviceType, serviceId, newEndpoint);
        _releaseEndpoint(serviceType, oldEndpoint);
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
    /// @return the caller's stake after it
    function increaseStake(uint256 amount) external returns (uint256) {
        if (amount == 0) revert AmountIsZero();
        Staking stakes = _factory().staking;
        stakes.stakeFor(msg.sender, amount);
        _requireBounds(msg.sender);
        return stakes.totalStakedFor(msg.sender);
    }

    /// @notice Locks part of the caller's stake, to be taken out after the lock-up.
    /// @return unlockBlock the first block at which it can be taken out
    function requestDecreaseStake(uint256 amount) external returns (uint256 unlockBlock) {
        if (amount == 0) revert AmountIsZero();
        ServiceProviderFactoryStorage storage $ = _factory();
        Operator storage operator = $.operators[msg.sender];
        if (operator.pendingDecrease != 0) {
            revert DecreaseIsPending(operator.pendingDecrease, operator.decreaseUnlockBlock);
        }
        uint256 staked = $.staking.totalStakedFor(msg.sender);
        if (amount > staked) revert StakeIsTooSmall(staked, amount);
        unlockBlock = _requestDecrease(amount);
        _requireBounds(msg.sender);
    }

    /// @notice Takes the requested decrease out, once its lock-up is over.
    /// @return the caller's stake after it
    function decreaseStake() external returns (uint256) {
        Operator storage operator = _requirePending();
        uint256 amount = operator.pendingDecrease;
        if (block.number < operator.decreaseUnlockBlock) {
            revert DecreaseIsLocked(operator.decreaseUnlockBlock, block.number);
        }
        _clearDecrease(operator);
        emit StakeDecreased(msg.sender, amount);
        Staking stakes = _factory().staking;
        stakes.unstakeFor(msg.sender, amount);
        return stakes.totalStakedFor(msg.sender);
    }

    /// @notice Keeps the stake that was to be taken out.
    /// @dev An operator without services may keep any stake, to register with it again.
    function cancelDecreaseStakeRequest() external {
        Operator storage operator = _requirePending();
        emit DecreaseStakeRequestCancelled(msg.sender, operator.pendingDecrease);
        _clearDecrease(operator);
        if (operator.serviceCount > 0) _requireBounds(msg.sender);
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
        return _factory().serviceIdOfEndpoint[serviceType][keccak256(bytes(endpoint))];
    }

    /// @notice The numbers of an operator's services of a type, in no particular order.
    function getServiceProviderIdsFromAddress(address operator, bytes32 serviceType)
        external
        view
        returns (uint256[] memory)
    {
        return _factory().serviceIds[operator][serviceType].values();
    }

    /// @notice An operator's stake, what of it is active, what its services ask for and allow, and how many they are.
    function getServiceProviderDetails(address operator)
        external
        view
        returns (uint256 staked, uint256 activeStake, uint256 minStake, uint256 maxStake, uint256 serviceCount)
    {
        ServiceProviderFactoryStorage storage $ = _factory();
        Operator storage info = $.operators[operator];
        staked = $.staking.totalStakedFor(operator);
        return (staked, staked - info.pendingDecrease, info.minStake, info.maxStake, info.serviceCount);
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
        bytes32 endpointHash = keccak256(bytes(endpoint));
        if ($.serviceIdOfEndpoint[serviceType][endpointHash] != 0) revert EndpointIsTaken(serviceType, endpoint);
        EndpointUse storage use = $.endpointUses[endpointHash];
        if (use.count != 0 && use.operator != msg.sender) revert EndpointIsAnotherOperators(endpoint, use.operator);
        use.operator = msg.sender;
        use.count += 1;
        $.serviceIdOfEndpoint[serviceType][endpointHash] = serviceId;
    }

    function _releaseEndpoint(bytes32 serviceType, string calldata endpoint) private {
        ServiceProviderFactoryStorage storage $ = _factory();
        bytes32 endpointHash = keccak256(bytes(endpoint));
        delete $.serviceIdOfEndpoint[serviceType][endpointHash];
        EndpointUse storage use = $.endpointUses[endpointHash];
        use.count -= 1;
        if (use.count == 0) delete $.endpointUses[endpointHash];
    }

    function _requestDecrease(uint256 amount) private returns (uint256 unlockBlock) {
        ServiceProviderFactoryStorage storage $ = _factory();
        unlockBlock = block.number + $.decreaseStakeLockupBlocks;
        Operator storage operator = $.operators[msg.sender];
        operator.pendingDecrease = amount;
        operator.decreaseUnlockBlock = unlockBlock;
        emit DecreaseStakeRequested(msg.sender, amount, unlockBlock);
    }

    function _clearDecrease(Operator storage operator) private {
        operator.pendingDecrease = 0;
        operator.decreaseUnlockBlock = 0;
    }

    function _requireOwn(bytes32 serviceType, string calldata endpoint) private view returns (uint256 serviceId) {
        ServiceProviderFactoryStorage storage $ = _factory();
        serviceId = $.serviceIdOfEndpoint[serviceType][keccak256(bytes(endpoint))];
        if (serviceId == 0) revert ServiceIsUnknown(serviceType, endpoint);
        address operator = $.services[serviceType][serviceId].operator;
        if (operator != msg.sender) revert CallerIsNotOperator(msg.sender, operator);
    }

    function _requirePending() private view returns (Operator storage operator) {
        operator = _factory().operators[msg.sender];
        if (operator.pendingDecrease == 0) revert NoDecreaseIsPending(msg.sender);
    }

    function _requireBounds(address account) private view {
        ServiceProviderFactoryStorage storage $ = _factory();
        Operator storage operator = $.operators[account];
        uint256 active = $.staking.totalStakedFor(account) - operator.pendingDecrease;
        if (active < operator.minStake || active > operator.maxStake) {
            revert StakeIsOutOfBounds(active, operator.minStake, operator.maxStake);
        }
    }

    function _factory() private pure returns (ServiceProviderFactoryStorage storage $) {
        assembly {
            $.slot := SERVICE_PROVIDER_FACTORY_SLOT
        }
    }
}
