// ethers.js signs an action for a running peer, as it would by itself and by hand.
import assert from 'node:assert/strict';
import { ethers } from 'ethers';
import { action, actionFields, actionTypehash, chainId, domainType, keys, relayUrl, steps } from './chain.mjs';

const wallet = new ethers.Wallet(keys[0]);
const domain = {
  name: 'Entity Manager', version: '1', chainId, verifyingContract: process.env.ENTITY_MANAGER,
};

/** As a relayer takes it, and as a peer's owner publishes it. */
function bodies(signature) {
  const { userId, entityId, entityType, action: name, metadata, nonce } = action;
  const signed = {
    userId: Number(userId), entityId: Number(entityId), entityType, action: name, metadata, nonce, signature,
    wallet: wallet.address,
  };
  return [[relayUrl, signed], [process.env.PUBLISH_URL, { action: signed, roots: [] }]];
}

async function post([url, body]) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${process.env.OWNER_TOKEN}` },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

await steps({
  async 'the signature that ethers makes of the literal uint is refused with a hint'() {
    const signature = await wallet.signTypedData(domain, { ManageEntity: actionFields }, action);
    for (const request of bodies(signature)) {
      const { status, body } = await post(request);
      assert.equal(status, 400, JSON.stringify(body));
      assert.equal(body.error.code, 'signature');
      assert.match(body.error.hint, /`uint256` where the EIP-712 type string spells `uint`/);
    }
  },

  async 'the signature over the digest by hand is the wallet\'s'() {
    const coder = ethers.AbiCoder.defaultAbiCoder();
    const hash = (text) => ethers.keccak256(ethers.toUtf8Bytes(text));
    const separator = ethers.keccak256(coder.encode(
      ['bytes32', 'bytes32', 'bytes32', 'uint256', 'address'],
      [hash(domainType), hash(domain.name), hash(domain.version), chainId, domain.verifyingContract],
    ));
    const struct = ethers.keccak256(coder.encode(
      ['bytes32', 'uint256', 'bytes32', 'uint256', 'bytes32', 'bytes32', 'bytes32'],
      [actionTypehash, action.userId, hash(action.entityType), action.entityId, hash(action.action),
        hash(action.metadata), action.nonce],
    ));
    const digest = ethers.keccak256(ethers.concat(['0x1901', separator, struct]));
    for (const request of bodies(wallet.signingKey.sign(digest).serialized)) {
      const { status, body } = await post(request);
      assert.notEqual(body.error?.code, 'signature', `${status} ${JSON.stringify(body)}`);
    }
  },
});
