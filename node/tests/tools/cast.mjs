// Foundry's cast against the development chain.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { artifact, chainId, keys, poorKey, rpc, steps, url, wsUrl } from './chain.mjs';

const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' };
const suffix = process.platform === 'win32' ? '.exe' : '';
const binary = createRequire(import.meta.url)
  .resolve(`@foundry-rs/cast-${process.platform}-${ARCHITECTURES[process.arch]}/bin/cast${suffix}`);
const run = promisify(execFile);

async function cast(...args) {
  const { stdout } = await run(binary, args, { env: { ...process.env, ETH_RPC_URL: url, NO_COLOR: '1' } });
  return stdout.trim();
}

async function fails(args, pattern) {
  await assert.rejects(cast(...args), (error) => {
    assert.match(`${error.stderr}`, pattern);
    return true;
  });
}

const key = ['--private-key', keys[0]];
let wallet, other, token, sent;

await steps({
  async 'the chain, blocks and fees'() {
    wallet = await cast('wallet', 'address', ...key);
    other = await cast('wallet', 'address', '--private-key', keys[1]);
    assert.equal(await cast('chain-id'), `${chainId}`);
    assert.match(await cast('client'), /^coliving-devchain\//);
    assert.equal(await cast('block-number'), `${Number(await rpc('eth_blockNumber'))}`);
    const block = JSON.parse(await cast('block', 'latest', '--json'));
    assert.equal(block.hash, (await rpc('eth_getBlockByNumber', 'latest', false)).hash);
    assert.ok(BigInt(await cast('gas-price')) > 0n);
    assert.ok(BigInt(await cast('basefee')) > 0n);
    await cast('block', 'pending', '--json');
  },

  async 'a contract is created and called'() {
    const implementation = await cast('send', ...key, '--json', '--create', artifact('ColivingToken').bytecode);
    const data = await cast('calldata', 'initialize(address,address)', wallet, wallet);
    const { contractAddress } = JSON.parse(implementation);
    const code = artifact('ERC1967Proxy').bytecode;
    const proxy = await cast('send', ...key, '--json', '--create', code, 'constructor(address,bytes)', contractAddress, data);
    token = JSON.parse(proxy).contractAddress;
    assert.equal(await cast('call', token, 'symbol()(string)'), '"DGC"');
    assert.notEqual(await cast('code', token), '0x');
  },

  async 'a transaction is sent and read back'() {
    sent = JSON.parse(await cast('send', ...key, '--json', token, 'transfer(address,uint256)', other, '5'));
    assert.equal(sent.status, '0x1');
    assert.equal(await cast('call', token, 'balanceOf(address)(uint256)', other), '5');
    const receipt = JSON.parse(await cast('receipt', sent.transactionHash, '--json'));
    assert.equal(receipt.gasUsed, sent.gasUsed);
    const transaction = JSON.parse(await cast('tx', sent.transactionHash, '--json'));
    assert.equal(transaction.from.toLowerCase(), wallet.toLowerCase());
    assert.equal(await cast('tx', sent.transactionHash, 'nonce'), `${Number(transaction.nonce)}`);
    await cast('send', ...key, '--legacy', other, '--value', '1');
    await cast('send', ...key, token, 'transfer(address,uint256)', other, '1', '--access-list');
    assert.equal(await cast('nonce', wallet), `${Number(await rpc('eth_getTransactionCount', wallet, 'latest'))}`);
  },

  async 'logs, balances, storage and gas'() {
    const logs = JSON.parse(await cast('logs', '--json', '--from-block', '0', '--address', token,
      'Transfer(address indexed,address indexed,uint256)', wallet, other));
    assert.equal(logs.length, 2);
    assert.equal(logs[0].transactionHash, sent.transactionHash);
    assert.ok(BigInt(await cast('balance', wallet)) > 0n);
    assert.match(await cast('storage', token, '0'), /^0x[0-9a-f]{64}$/);
    const gas = await cast('estimate', '--from', wallet, token, 'transfer(address,uint256)', other, '1');
    assert.ok(BigInt(gas) > 21_000n);
    const list = await cast('access-list', '--from', wallet, token, 'transfer(address,uint256)', other, '1');
    assert.match(list, /gas used/i);
  },

  async 'what is refused says why'() {
    await fails(['call', '--from', other, token, 'transfer(address,uint256)', wallet, '99'], /ERC20InsufficientBalance|0xe450d38c/);
    await fails(['send', '--private-key', poorKey, other, '--value', '1', '--gas-limit', '21000'], /insufficient funds/i);
    await fails(['send', ...key, '--nonce', '0', other, '--value', '1', '--gas-limit', '21000'], /nonce too low/);
    await fails(['proof', token], /eth_getProof is not supported/);
    await fails(['rpc', 'eth_sendTransaction', '{}'], /holds no keys/);
  },

  async 'the hooks'() {
    const height = Number(await cast('block-number'));
    await cast('rpc', 'anvil_mine', '0x10', '0xd');
    assert.equal(await cast('block-number'), `${height + 16}`);
    await cast('rpc', 'evm_increaseTime', '3600');
    await cast('rpc', 'evm_mine');
    const age = Number(await cast('block', 'latest', '--field', 'timestamp')) - Number(await cast('block', `${height}`, '--field', 'timestamp'));
    assert.ok(age >= 3_600 + 15 * 13, `${age}`);
    assert.equal(await cast('find-block', await cast('block', `${height + 5}`, '--field', 'timestamp')), `${height + 5}`);
  },

  async 'a subscription over WebSocket'() {
    assert.equal(await cast('block-number', '--rpc-url', wsUrl), await cast('block-number'));
    const heard = new Promise((resolve, reject) => {
      const child = execFile(binary, ['logs', '--subscribe', '--rpc-url', wsUrl, '--address', token, '--json'], () => {});
      child.stdout.once('data', (data) => { child.kill(); resolve(`${data}`); });
      child.once('error', reject);
    });
    // Sent until one of them is heard: cast does not say when it listens.
    let isHeard = false;
    heard.then(() => { isHeard = true; });
    while (!isHeard) {
      await cast('send', ...key, token, 'transfer(address,uint256)', other, '1');
    }
    assert.match(await heard, /0xddf252ad/);
  },
});
