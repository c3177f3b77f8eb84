// Runs slither (PyPI: slither-analyzer) over our contracts, with forge and the JavaScript build of solc.
'use strict';
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');

// What all contracts have in common and is no fault in any.
const EXCLUDED = [
  'assembly', // storage lies in namespaces, whose pointers only assembly can set
];

// Slither looks for `forge` on the path and has it build everything but the tests, here in a place of its own.
const bin = path.join(__dirname, 'cache/slither');
fs.mkdirSync(bin, { recursive: true });
fs.writeFileSync(path.join(bin, 'forge'), `#!/bin/sh\n[ "$1" = clean ] && exit 0\nexec "${process.execPath}" "${path.join(__dirname, 'forge.js')}" "$@"\n`, {
  mode: 0o755,
});
const slither = process.env.SLITHER ?? 'slither';
const args = ['.', '--filter-paths', '(node_modules|test)/', '--exclude', EXCLUDED.join(), ...process.argv.slice(2)];
const run = spawnSync(slither, args, {
  cwd: __dirname,
  stdio: 'inherit',
  env: { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH}`, FOUNDRY_OUT: 'cache/slither/out', FOUNDRY_CACHE_PATH: 'cache/slither' },
});
if (run.error) {
  console.error(`${slither} did not start: ${run.error.message}`);
  console.error('hint: `pip install slither-analyzer==0.11.6` into a virtual environment, and name its slither in SLITHER');
}
process.exit(run.status ?? 1);
