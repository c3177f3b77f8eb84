// Compiles the deployable contracts into artifacts/<Name>.json ({abi, bytecode, deployedBytecode}).
// With --check it writes nothing and fails when a committed artifact differs from a fresh compile.
'use strict';
const fs = require('fs');
const path = require('path');
const solc = require('solc');

const ROOT = __dirname;
const ARTIFACTS = path.join(ROOT, 'artifacts');
const DEPLOYABLES = [
  ['eth/ColivingToken.sol', 'ColivingToken'],
  ['eth/ServiceTypeManager.sol', 'ServiceTypeManager'],
  ['eth/Staking.sol', 'Staking'],
  ['eth/ServiceProviderFactory.sol', 'ServiceProviderFactory'],
  ['eth/DelegateManager.sol', 'DelegateManager'],
  ['eth/ClaimsManager.sol', 'ClaimsManager'],
  ['eth/PeerRegistry.sol', 'PeerRegistry'],
  ['eth/Records.sol', 'Records'],
  ['eth/Registry.sol', 'Registry'],
  ['eth/Governance.sol', 'Governance'],
  ['eth/TrustedNotifierManager.sol', 'TrustedNotifierManager'],
  ['eth/Evidence.sol', 'Evidence'],
  ['data/EntityManager.sol', 'EntityManager'],
  ['data/SocialVerifier.sol', 'SocialVerifier'],
  ['data/PaymentRouter.sol', 'PaymentRouter'],
  ['@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol', 'ERC1967Proxy'],
];
// EIP-170.
const RUNTIME_BYTES_MAX = 24576;

function readSource(name) {
  const base = name.startsWith('@') ? path.join(ROOT, 'node_modules') : ROOT;
  return fs.readFileSync(path.join(base, name), 'utf8');
}

function readImport(name) {
  try {
    return { contents: readSource(name) };
  } catch (error) {
    return { error: error.message };
  }
}

function compile() {
  const selection = {};
  for (const [source, name] of DEPLOYABLES) {
    selection[source] = { [name]: ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] };
  }
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(DEPLOYABLES.map(([source]) => [source, { content: readSource(source) }])),
    settings: {
      evmVersion: 'prague',
      optimizer: { enabled: true, runs: 200 },
      metadata: { bytecodeHash: 'none', appendCBOR: false },
      outputSelection: selection,
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: readImport }));
  let failed = false;
  for (const message of output.errors || []) {
    if (message.severity !== 'error' && message.sourceLocation?.file.startsWith('@')) {
      continue; // a warning about somebody else's source
    }
    console.error(message.formattedMessage);
    failed ||= message.severity !== 'info';
  }
  if (failed) {
    process.exit(1);
  }
  return DEPLOYABLES.map(([source, name]) => [name, artifact(name, output.contracts[source][name])]);
}

function artifact(name, contract) {
  const runtimeBytes = contract.evm.deployedBytecode.object.length / 2;
  if (runtimeBytes > RUNTIME_BYTES_MAX) {
    console.error(`${name} is ${runtimeBytes} bytes of code, at most ${RUNTIME_BYTES_MAX} can be deployed`);
    process.exit(1);
  }
  const abi = contract.abi.map((item) => `    ${JSON.stringify(item)}`).join(',\n');
  return `{
  "abi": [
${abi}
  ],
  "bytecode": "0x${contract.evm.bytecode.object}",
  "deployedBytecode": "0x${contract.evm.deployedBytecode.object}"
}
`;
}

function check(artifacts) {
  const expected = new Map(artifacts.map(([name, text]) => [`${name}.json`, text]));
  const present = fs.existsSync(ARTIFACTS) ? fs.readdirSync(ARTIFACTS) : [];
  const problems = present.filter((file) => !expected.has(file)).map((file) => `${file} is not one of ours`);
  for (const [file, text] of expected) {
    if (!present.includes(file)) {
      problems.push(`${file} is missing`);
    } else if (fs.readFileSync(path.join(ARTIFACTS, file), 'utf8') !== text) {
      problems.push(`${file} differs from a fresh compile`);
    }
  }
  if (problems.length > 0) {
    console.error(`${problems.join('\n')}\nhint: run \`npm run compile\` and commit artifacts/`);
    process.exit(1);
  }
}

const artifacts = compile();
if (process.argv.includes('--check')) {
  check(artifacts);
  console.log(`${artifacts.length} artifacts match their sources (solc ${solc.version()})`);
} else {
  fs.mkdirSync(ARTIFACTS, { recursive: true });
  for (const [name, text] of artifacts) {
    fs.writeFileSync(path.join(ARTIFACTS, `${name}.json`), text);
  }
  console.log(`${artifacts.length} artifacts written (solc ${solc.version()})`);
}
