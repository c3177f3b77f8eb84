// What the three programs share: where the chain is, whose keys have ether, and what is deployed on it.
import { readFileSync } from 'node:fs';

/** Where the chain speaks HTTP and WebSocket, and where the compiled contracts lie. */
export const { CHAIN_URL: url, CHAIN_WS_URL: wsUrl, ARTIFACTS: artifacts, RELAY_URL: relayUrl } = process.env;

/** Keys that the test has given ether. */
export const keys = [1, 2, 3].map((seed) => '0x' + seed.toString(16).padStart(2, '0').repeat(32));

/** A key without ether. */
export const poorKey = '0x' + '44'.repeat(32);

export const chainId = 1337;

export function artifact(name) {
  return JSON.parse(readFileSync(`${artifacts}/${name}.json`, 'utf8'));
}

/** One call, as it is spoken. */
export async function rpc(method, ...params) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
  });
  const answer = await response.json();
  if (answer.error) {
    throw Object.assign(new Error(answer.error.message), answer.error);
  }
  return answer.result;
}

/** Runs the steps in order and says which one fails. */
export async function steps(all) {
  for (const [name, step] of Object.entries(all)) {
    try {
      await within(step());
    } catch (error) {
      console.error(`failed: ${name}`);
      console.error(error);
      process.exit(1);
    }
    console.log(`ok: ${name}`);
  }
  process.exit(0);
}

/** A promise that fails after half a minute instead of hanging. */
export function within(promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error('nothing happened for 30 s')), 30_000).unref();
  });
  return Promise.race([promise, late]);
}

/** An action as the contract takes it, and the type strings of its digest. */
export const action = {
  userId: 3_000_001n,
  entityType: 'User',
  entityId: 3_000_001n,
  action: 'Create',
  metadata: '{"handle":"tools"}',
  nonce: '0x' + '07'.repeat(32),
};
export const domainType = 'EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)';
export const actionType =
  'ManageEntity(uint userId,string entityType,uint entityId,string action,string metadata,bytes32 nonce)';
export const actionFields = [
  { name: 'userId', type: 'uint' },
  { name: 'entityType', type: 'string' },
  { name: 'entityId', type: 'uint' },
  { name: 'action', type: 'string' },
  { name: 'metadata', type: 'string' },
  { name: 'nonce', type: 'bytes32' },
];

/** The typehashes of the two spellings: the first is the one that counts. */
export const actionTypehash = '0x9a6b44fb0f3210845b6e72f755bb82d1f6412455a75ca6fe91fda8b1c35f44ee';
