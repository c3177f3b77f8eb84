// Measures the gas of what users and operators send most, each as a transaction of its own, and compares it with
// gas.json. With --write it writes gas.json instead.
'use strict';
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');

const COMMITTED = path.join(__dirname, 'gas.json');
const MEASURED = path.join(__dirname, 'cache/gas/transactions.json');

fs.rmSync(MEASURED, { force: true });
const args = ['test', '--isolate', '--match-contract', '^GasTest$'];
const run = spawnSync(process.execPath, [path.join(__dirname, 'forge.js'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
if (run.status !== 0 || !fs.existsSync(MEASURED)) {
  process.stderr.write(run.stdout);
  console.error('the gas was not measured');
  process.exit(1);
}
const measured = JSON.parse(fs.readFileSync(MEASURED, 'utf8'));
const text = `${JSON.stringify(
  Object.fromEntries(Object.keys(measured).sort().map((name) => [name, Number(measured[name])])), null, 2)}\n`;

if (process.argv.includes('--write')) {
  fs.writeFileSync(COMMITTED, text);
  console.log(`gas of ${Object.keys(measured).length} transactions written`);
  process.exit(0);
}
const committed = fs.existsSync(COMMITTED) ? fs.readFileSync(COMMITTED, 'utf8') : '{}';
if (committed === text) {
  console.log(`gas of ${Object.keys(measured).length} transactions is as in gas.json`);
  process.exit(0);
}
const before = JSON.parse(committed);
for (const name of new Set([...Object.keys(before), ...Object.keys(measured)])) {
  if (String(before[name]) !== String(measured[name])) {
    console.error(`${name}: ${before[name] ?? 'nothing'} in gas.json, ${measured[name] ?? 'nothing'} measured`);
  }
}
console.error('hint: run `npm run gas` and commit gas.json');
process.exit(1);
