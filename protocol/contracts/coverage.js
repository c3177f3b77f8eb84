// Runs forge coverage and fails when our own contracts' branches are reached too seldom.
'use strict';
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');

const BRANCH_PERCENT_MIN = 95;
const OWN = /^(common|data|eth)\//;
const REPORT = path.join(__dirname, 'cache/lcov.info');

const args = ['coverage', '--report', 'summary', '--report', 'lcov', '--report-file', REPORT, ...process.argv.slice(2)];
const run = spawnSync(process.execPath, [path.join(__dirname, 'forge.js'), ...args], { stdio: 'inherit' });
if (run.status !== 0) {
  process.exit(run.status ?? 1);
}

let file = '';
const all = { found: 0, hit: 0 };
const missed = [];
for (const line of fs.readFileSync(REPORT, 'utf8').split('\n')) {
  if (line.startsWith('SF:')) {
    file = path.relative(__dirname, path.resolve(__dirname, line.slice(3)));
  } else if (line.startsWith('BRDA:') && OWN.test(file)) {
    const [number, , , taken] = line.slice(5).split(',');
    all.found += 1;
    if (taken !== '-' && taken !== '0') {
      all.hit += 1;
    } else {
      missed.push(`${file}:${number}`);
    }
  }
}
const percent = (100 * all.hit) / all.found;
console.log(`branches of our own contracts: ${all.hit} of ${all.found}, ${percent.toFixed(1)} %`);
for (const place of missed) {
  console.log(`not taken: ${place}`);
}
if (!(percent >= BRANCH_PERCENT_MIN)) {
  console.error(`hint: at least ${BRANCH_PERCENT_MIN} % are asked for; test what is not taken`);
  process.exit(1);
}
