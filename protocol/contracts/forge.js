// Runs forge with the JavaScript build of solc and passes its exit status on, which forge's npm wrapper does not.
'use strict';
const path = require('path');
const { spawnSync } = require('child_process');

const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' };
const suffix = process.platform === 'win32' ? '.exe' : '';
const platformPackage = `@foundry-rs/forge-${process.platform}-${ARCHITECTURES[process.arch]}`;

let binary;
try {
  binary = require.resolve(`${platformPackage}/bin/forge${suffix}`);
} catch {
  console.error(`${platformPackage} is not installed\nhint: run \`npm ci\` in ${__dirname}`);
  process.exit(1);
}
const args = [...process.argv.slice(2), '--use', path.join(__dirname, 'solc-adapter.js')];
const run = spawnSync(binary, args, { cwd: __dirname, stdio: 'inherit' });
if (run.error) {
  console.error(`${binary} did not start: ${run.error.message}`);
}
process.exit(run.status ?? 1);
