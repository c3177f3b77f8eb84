#!/usr/bin/env node
// Lets Foundry drive the JavaScript build of solc: `--version`, or standard JSON on stdin.
'use strict';
const fs = require('fs');
const path = require('path');
const solc = require('solc');

const args = process.argv.slice(2);
if (args.includes('--version')) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
  process.exit(0);
}
const basePathIdx = args.indexOf('--base-path');
const basePath = basePathIdx >= 0 ? args[basePathIdx + 1] : process.cwd();

function readImport(importPath) {
  try {
    return { contents: fs.readFileSync(path.resolve(basePath, importPath), 'utf8') };
  } catch (error) {
    return { error: error.message };
  }
}

let output = Buffer.from(solc.compile(fs.readFileSync(0, 'utf8'), { import: readImport }));
while (output.length > 0) {
  output = output.subarray(fs.writeSync(1, output));
}
