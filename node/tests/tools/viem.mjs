// viem against the development chain.
import assert from 'node:assert/strict';
import {
  concat, createPublicClient, createTestClient, createWalletClient, defineChain, encodeAbiParameters, encodeFunctionData,
  http, keccak256, parseEventLogs, toBytes, webSocket,
} from 'viem';
import { privateKeyToAccount, sign, serializeSignature } from 'viem/accounts';
import {
  action, actionFields, actionType, actionTypehash, artifact, chainId, domainType, keys, poorKey, steps, url, wsUrl,
} from './chain.mjs';

const chain = defineChain({
  id: chainId, name: 'Development', nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [url] } },
});
const account = privateKeyToAccount(keys[1]);
const other = privateKeyToAccount(keys[2]);
const reader = createPublicClient({ chain, transport: http(url), pollingInterval: 50, cacheTime: 0 });
const listener = createPublicClient({ chain, transport: webSocket(wsUrl) });
const wallet = createWalletClient({ account, chain, transport: http(url) });
const tester = createTestClient({ chain, mode: 'anvil', transport: http(url) });
let token, manager;

const receipt = (hash) => reader.waitForTransactionReceipt({ hash });

async function deployed(name, args) {
  const { abi, bytecode } = artifact(name);
  const implementation = (await receipt(await wallet.deployContract({ abi, bytecode }))).contractAddress;
  const proxy = artifact('ERC1967Proxy');
  const data = encodeFunctionData({ abi, functionName: 'initialize', args });
  const hash = await wallet.deployContract({ abi: proxy.abi, bytecode: proxy.bytecode, args: [implementation, data] });
  return { abi, address: (await receipt(hash)).contractAddress };
}

async function refused(promise, ...names) {
  await assert.rejects(promise, (error) => {
    const found = error.walk((cause) => names.includes(cause.name));
    assert.ok(found, `${error.name}: ${error.message}`);
    return true;
  });
}

await steps({
  async 'the chain, blocks and fees'() {
    assert.equal(await reader.getChainId(), chainId);
    const block = await reader.getBlock();
    assert.equal((await reader.getBlock({ blockHash: block.hash })).number, block.number);
    assert.equal(block.blobGasUsed, 0n);
    assert.equal((await reader.getBlock({ blockTag: 'pending' })).number, block.number + 1n);
    const fees = await reader.estimateFeesPerGas();
    assert.ok(fees.maxFeePerGas > fees.maxPriorityFeePerGas);
    const history = await reader.getFeeHistory({ blockCount: 2, rewardPercentiles: [10, 90] });
    assert.equal(history.reward.length, history.gasUsedRatio.length);
  },

  async 'contracts are deployed, called, simulated and written to'() {
    token = await deployed('ColivingToken', [account.address, account.address]);
    manager = await deployed('EntityManager', [account.address, account.address]);
    const read = (functionName, args) => reader.readContract({ ...token, functionName, args });
    assert.equal(await read('totalSupply'), 10n ** 27n);
    const { request } = await reader.simulateContract({
      ...token, account, functionName: 'transfer', args: [other.address, 5n],
    });
    const mined = await receipt(await wallet.writeContract(request));
    assert.equal(mined.status, 'success');
    const [event] = parseEventLogs({ abi: token.abi, logs: mined.logs });
    assert.equal(event.eventName, 'Transfer');
    assert.equal(event.args.value, 5n);
    assert.equal(await read('balanceOf', [other.address]), 5n);
    const sent = await reader.getTransaction({ hash: mined.transactionHash });
    assert.equal(sent.typeHex, '0x2');
    const place = { blockNumber: mined.blockNumber, index: 0 };
    assert.equal((await reader.getTransaction(place)).hash, mined.transactionHash);
    assert.equal(await reader.getTransactionConfirmations({ hash: mined.transactionHash }), 1n);
  },

  async 'all three types are sent'() {
    for (const type of ['legacy', 'eip2930', 'eip1559']) {
      const more = type === 'eip2930' ? { accessList: [] } : {};
      const mined = await receipt(await wallet.sendTransaction({ to: other.address, value: 1n, type, ...more }));
      assert.equal(mined.type, type);
    }
  },

  async 'errors are decoded'() {
    await assert.rejects(
      reader.simulateContract({ ...token, account: other, functionName: 'transfer', args: [account.address, 6n] }),
      (error) => {
        const cause = error.walk((at) => at.name === 'ContractFunctionRevertedError');
        assert.equal(cause.data.errorName, 'ERC20InsufficientBalance');
        assert.deepEqual(cause.data.args, [other.address, 5n, 6n]);
        return true;
      },
    );
  },

  async 'refused transactions have the errors that viem gives'() {
    const send = (fields) => wallet.sendTransaction({ to: other.address, value: 1n, gas: 21_000n, ...fields });
    await refused(send({ nonce: 0 }), 'NonceTooLowError');
    await refused(send({ gas: 20_999n }), 'IntrinsicGasTooLowError');
    await refused(send({ gas: 30_000_001n }), 'IntrinsicGasTooHighError');
    await refused(send({ account: privateKeyToAccount(poorKey) }), 'InsufficientFundsError');
    await refused(send({ maxFeePerGas: 1n, maxPriorityFeePerGas: 1n }), 'FeeCapTooLowError');
    await refused(reader.request({ method: 'eth_sendRawTransaction', params: ['0x03c0'] }), 'InvalidParamsRpcError');
    await refused(reader.getProof({ address: token.address, storageKeys: [] }), 'MethodNotSupportedRpcError');
  },

  async 'access lists, storage and state overrides'() {
    const data = encodeFunctionData({ abi: token.abi, functionName: 'transfer', args: [other.address, 1n] });
    const { accessList, gasUsed } = await reader.createAccessList({ account, to: token.address, data });
    assert.ok(accessList.some((item) => item.address.toLowerCase() === token.address.toLowerCase()));
    assert.ok(gasUsed > 21_000n);
    await tester.setStorageAt({ address: other.address, index: 1, value: '0x' + '00'.repeat(31) + '2a' });
    assert.equal(BigInt(await reader.getStorageAt({ address: other.address, slot: '0x1' })), 42n);
    await assert.rejects(
      reader.call({ to: token.address, data, stateOverride: [{ address: other.address, balance: 1n }] }),
      /state overrides are not supported/,
    );
  },

  async 'blocks, events and pending transactions are heard over WebSocket'() {
    const heard = { block: [], log: [], pending: [] };
    let check;
    const all = new Promise((resolve) => {
      check = () => heard.block.length && heard.log.length && heard.pending.length && resolve();
    });
    const stops = [
      listener.watchBlocks({ onBlock: (block) => check(heard.block.push(block.number)) }),
      listener.watchContractEvent({ ...token, eventName: 'Transfer', onLogs: (logs) => check(heard.log.push(...logs)) }),
      listener.watchPendingTransactions({ onTransactions: (hashes) => check(heard.pending.push(...hashes)) }),
    ];
    await listener.getBlockNumber();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const hash = await wallet.writeContract({ ...token, functionName: 'transfer', args: [other.address, 7n] });
    await all;
    assert.equal(heard.log[0].transactionHash, hash);
    assert.equal(heard.log[0].args.value, 7n);
    assert.equal(heard.pending[0], hash);
    stops.forEach((stop) => stop());
  },

  async 'a reorganisation takes logs back over WebSocket'() {
    const heard = [];
    let done;
    const all = new Promise((resolve) => { done = resolve; });
    const { unsubscribe } = await listener.transport.subscribe({
      params: ['logs', { address: token.address }],
      onData: ({ result }) => { heard.push(result); if (heard.length === 3) done(); },
    });
    const hash = await wallet.writeContract({ ...token, functionName: 'transfer', args: [other.address, 9n] });
    await receipt(hash);
    await tester.request({ method: 'coliving_reorg', params: [1, true] });
    await all;
    assert.deepEqual(heard.map((log) => log.removed), [false, true, false]);
    assert.ok(heard.every((log) => log.transactionHash === hash));
    assert.notEqual(heard[0].blockHash, heard[2].blockHash);
    await unsubscribe();
  },

  async 'events are polled over HTTP'() {
    const heard = new Promise((resolve) => {
      reader.watchContractEvent({ ...token, eventName: 'Transfer', poll: true, onLogs: ([log]) => resolve(log.args.value) });
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await wallet.writeContract({ ...token, functionName: 'transfer', args: [other.address, 8n] });
    assert.equal(await heard, 8n);
  },

  async 'the hooks of a test client'() {
    const id = await tester.snapshot();
    const height = await reader.getBlockNumber();
    await tester.mine({ blocks: 46_523, interval: 13 });
    assert.equal(await reader.getBlockNumber(), height + 46_523n);
    const [old, newest] = await Promise.all([reader.getBlock({ blockNumber: height + 1n }), reader.getBlock()]);
    assert.equal(newest.timestamp - old.timestamp, 46_522n * 13n);
    const held = { ...token, functionName: 'balanceOf', args: [other.address] };
    assert.equal(await reader.readContract({ ...held, blockNumber: height }), await reader.readContract(held));
    await tester.setBalance({ address: other.address, value: 77n });
    assert.equal(await reader.getBalance({ address: other.address }), 77n);
    await tester.setNextBlockTimestamp({ timestamp: newest.timestamp + 1_000n });
    await tester.mine({ blocks: 1 });
    assert.equal((await reader.getBlock()).timestamp, newest.timestamp + 1_000n);
    await tester.increaseTime({ seconds: 500 });
    await tester.mine({ blocks: 1 });
    assert.ok((await reader.getBlock()).timestamp >= newest.timestamp + 1_500n);
    await tester.setNonce({ address: other.address, nonce: 9 });
    assert.equal(await reader.getTransactionCount({ address: other.address }), 9);
    await tester.setAutomine(false);
    assert.equal(await tester.getAutomine(), false);
    assert.equal((await tester.getTxpoolStatus()).pending, 0);
    await tester.setAutomine(true);
    await tester.revert({ id });
    assert.equal(await reader.getBlockNumber(), height);
  },

  async 'viem refuses the literal uint, a digest by hand names its signer'() {
    const domain = { name: 'Entity Manager', version: '1', chainId, verifyingContract: manager.address };
    await assert.rejects(
      other.signTypedData({ domain, types: { ManageEntity: actionFields }, primaryType: 'ManageEntity', message: action }),
      /"uint" is not a valid EIP-712 type/,
    );
    const hash = (text) => keccak256(toBytes(text));
    const encode = (types, values) => keccak256(encodeAbiParameters(types.map((type) => ({ type })), values));
    const separator = encode(
      ['bytes32', 'bytes32', 'bytes32', 'uint256', 'address'],
      [hash(domainType), hash('Entity Manager'), hash('1'), BigInt(chainId), manager.address],
    );
    assert.equal(hash(actionType), actionTypehash);
    const { userId, entityType, entityId, action: name, metadata, nonce } = action;
    const struct = encode(
      ['bytes32', 'uint256', 'bytes32', 'uint256', 'bytes32', 'bytes32', 'bytes32'],
      [actionTypehash, userId, hash(entityType), entityId, hash(name), hash(metadata), nonce],
    );
    const digest = keccak256(concat(['0x1901', separator, struct]));
    const signature = serializeSignature(await sign({ hash: digest, privateKey: keys[2] }));
    const mined = await receipt(await wallet.writeContract({
      ...manager, functionName: 'manageEntity', args: [userId, entityType, entityId, name, metadata, nonce, signature],
    }));
    const [event] = parseEventLogs({ abi: manager.abi, logs: mined.logs, eventName: 'ManageEntity' });
    assert.ok(Object.values(event.args).includes(other.address));
  },
});
