// ethers.js 6 against the development chain.
import assert from 'node:assert/strict';
import { ethers } from 'ethers';
import {
  action, actionFields, actionType, actionTypehash, artifact, chainId, domainType, keys, poorKey, rpc, steps, url, wsUrl,
} from './chain.mjs';

const http = new ethers.JsonRpcProvider(url, undefined, { cacheTimeout: -1, pollingInterval: 50 });
const ws = new ethers.WebSocketProvider(wsUrl);
const [wallet, other] = keys.map((key) => new ethers.Wallet(key, http));
const poor = new ethers.Wallet(poorKey, http);
let token, manager, mined;

async function deployed(name, args) {
  const { abi, bytecode } = artifact(name);
  const implementation = await new ethers.ContractFactory(abi, bytecode, wallet).deploy();
  await implementation.waitForDeployment();
  const data = implementation.interface.encodeFunctionData('initialize', args);
  const proxy = artifact('ERC1967Proxy');
  const factory = new ethers.ContractFactory(proxy.abi, proxy.bytecode, wallet);
  const front = await factory.deploy(await implementation.getAddress(), data);
  await front.waitForDeployment();
  return new ethers.Contract(await front.getAddress(), abi, wallet);
}

async function refused(promise, code) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.code, code, `${error.code}: ${error.message}`);
    return true;
  });
}

const transfer = (nonce, more) => ({
  type: 2, chainId, nonce, to: other.address, value: 1n, gasLimit: 21_000n,
  maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 10n ** 9n, ...more,
});

await steps({
  async 'the network, blocks and fees'() {
    assert.equal((await http.getNetwork()).chainId, BigInt(chainId));
    const block = await http.getBlock('latest');
    assert.equal(block.number, await http.getBlockNumber());
    assert.equal((await http.getBlock(block.hash)).number, block.number);
    const fees = await http.getFeeData();
    assert.ok(fees.maxFeePerGas > fees.maxPriorityFeePerGas);
    assert.equal(await http.getBlock(1_000_000), null);
    assert.ok((await http.getBalance(wallet.address)) > 0n);
  },

  async 'contracts are deployed and called'() {
    token = await deployed('ColivingToken', [wallet.address, wallet.address]);
    manager = await deployed('EntityManager', [wallet.address, wallet.address]);
    assert.equal(await token.totalSupply(), 10n ** 27n);
    assert.equal(await token.symbol(), 'DGC');
    assert.notEqual(await http.getCode(await token.getAddress()), '0x');
  },

  async 'a transfer is sent, waited for and has its receipt, logs and event'() {
    const response = await token.transfer(other.address, 5n);
    mined = await response.wait();
    assert.equal(mined.status, 1);
    assert.equal(mined.logs.length, 1);
    assert.equal(mined.logs[0].fragment.name, 'Transfer');
    assert.equal(await token.balanceOf(other.address), 5n);
    assert.equal(await token.balanceOf(other.address, { blockTag: mined.blockNumber - 1 }), 0n);
    const block = await http.getBlock(mined.blockNumber, true);
    assert.equal(block.prefetchedTransactions[0].hash, mined.hash);
    const sent = await http.getTransaction(mined.hash);
    assert.equal(sent.from, wallet.address);
    assert.equal(sent.blockHash, mined.blockHash);
  },

  async 'legacy and access list transactions'() {
    for (const type of [0, 1]) {
      const response = await wallet.sendTransaction({ to: other.address, value: 1n, type });
      assert.equal((await response.wait()).type, type);
    }
  },

  async 'events are queried by range and topic'() {
    const events = await token.queryFilter(token.filters.Transfer(wallet.address, other.address), 0, 'latest');
    assert.equal(events.length, 1);
    assert.equal(events[0].args.value, 5n);
    const logs = await http.getLogs({ blockHash: mined.blockHash });
    assert.equal(logs.length, 1);
    assert.equal(logs[0].transactionHash, mined.hash);
  },

  async 'custom errors and reasons are decoded'() {
    const from = token.connect(other);
    await assert.rejects(from.transfer.staticCall(wallet.address, 6n), (error) => {
      assert.equal(error.code, 'CALL_EXCEPTION');
      assert.equal(error.revert.name, 'ERC20InsufficientBalance');
      assert.deepEqual([...error.revert.args], [other.address, 5n, 6n]);
      return true;
    });
    await refused(from.transfer.estimateGas(wallet.address, 6n), 'CALL_EXCEPTION');
    const response = await from.transfer(wallet.address, 6n, { gasLimit: 100_000n });
    await refused(response.wait(), 'CALL_EXCEPTION');
  },

  async 'refused transactions have the codes that ethers gives'() {
    const nonce = await wallet.getNonce();
    const send = async (from, fields) => http.broadcastTransaction(await from.signTransaction(transfer(nonce, fields)));
    await refused(send(wallet, { nonce: 0 }), 'NONCE_EXPIRED');
    await refused(send(poor, { nonce: 0 }), 'INSUFFICIENT_FUNDS');
    await rpc('evm_setAutomine', false);
    const first = await send(wallet, {});
    await refused(send(wallet, { value: 2n }), 'REPLACEMENT_UNDERPRICED');
    assert.equal(await wallet.getNonce('pending'), nonce + 1);
    assert.equal(await http.getBalance(other.address, 'pending') - await http.getBalance(other.address), 1n);
    await rpc('evm_setAutomine', true);
    assert.equal((await first.wait()).status, 1);
    await assert.rejects(send(wallet, { nonce: nonce + 1, gasLimit: 20_999n }), /intrinsic gas too low/);
    await assert.rejects(send(wallet, { nonce: nonce + 1, gasLimit: 30_000_001n }), /exceeds block gas limit/);
    await assert.rejects(send(wallet, { nonce: nonce + 1, chainId: 5 }), /invalid chain id/);
  },

  async 'blocks, logs and pending transactions are heard over WebSocket'() {
    const heard = { block: [], log: [], pending: [] };
    const all = new Promise((resolve) => {
      const check = () => heard.block.length && heard.log.length && heard.pending.length && resolve();
      ws.on('block', (number) => check(heard.block.push(number)));
      ws.on({ address: token.target }, (log) => check(heard.log.push(log)));
      ws.on('pending', (hash) => check(heard.pending.push(hash)));
    });
    // The subscriptions are in place when a later question is answered.
    await ws.getBlockNumber();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const response = await token.transfer(other.address, 7n);
    await all;
    assert.equal(heard.log[0].transactionHash, response.hash);
    assert.equal(heard.pending[0], response.hash);
    await ws.removeAllListeners();
  },

  async 'events are heard over HTTP through polling filters'() {
    const heard = new Promise((resolve) => token.once('Transfer', (from, to, value) => resolve(value)));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await token.transfer(other.address, 8n);
    assert.equal(await heard, 8n);
  },

  async 'a digest with the literal uint names its signer, the library\'s own does not'() {
    const coder = ethers.AbiCoder.defaultAbiCoder();
    const hash = (text) => ethers.keccak256(ethers.toUtf8Bytes(text));
    assert.equal(hash(actionType), actionTypehash);
    const address = await manager.getAddress();
    const separator = ethers.keccak256(coder.encode(
      ['bytes32', 'bytes32', 'bytes32', 'uint256', 'address'],
      [hash(domainType), hash('Entity Manager'), hash('1'), chainId, address],
    ));
    const struct = ethers.keccak256(coder.encode(
      ['bytes32', 'uint256', 'bytes32', 'uint256', 'bytes32', 'bytes32', 'bytes32'],
      [actionTypehash, action.userId, hash(action.entityType), action.entityId, hash(action.action),
        hash(action.metadata), action.nonce],
    ));
    const digest = ethers.keccak256(ethers.concat(['0x1901', separator, struct]));
    const signer = async (signature) => {
      const { userId, entityType, entityId, action: name, metadata, nonce } = action;
      const response = await manager.manageEntity(userId, entityType, entityId, name, metadata, nonce, signature);
      const receipt = await response.wait();
      const event = receipt.logs.find((log) => log.fragment?.name === 'ManageEntity');
      return event.args[1];
    };
    const good = other.signingKey.sign(digest).serialized;
    assert.equal(await signer(good), other.address);
    const domain = { name: 'Entity Manager', version: '1', chainId, verifyingContract: address };
    const rewritten = await other.signTypedData(domain, { ManageEntity: actionFields }, action);
    assert.notEqual(rewritten, good);
    assert.notEqual(await signer(rewritten), other.address);
  },
});
