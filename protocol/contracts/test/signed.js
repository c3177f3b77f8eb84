// Recomputes every example hash of docs/formats/signed.md from its type string and its fields alone.
'use strict';
const fs = require('fs');
const path = require('path');
const { keccak256 } = require('js-sha3');

const PAGE = path.join(__dirname, '../../../docs/formats/signed.md');
const DOMAIN_TYPE = 'EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)';

function keccak(bytes) {
  return Buffer.from(keccak256.arrayBuffer(bytes));
}

function hex(text) {
  if (!/^0x([0-9a-f]{2})*$/.test(text)) {
    throw new Error(`${text} is not lower-case hex`);
  }
  return Buffer.from(text.slice(2), 'hex');
}

function word(bytes, left) {
  if (bytes.length > 32) {
    throw new Error(`${bytes.length} bytes do not fit a word`);
  }
  const filled = Buffer.alloc(32);
  bytes.copy(filled, left ? 0 : 32 - bytes.length);
  return filled;
}

function uint(text, bits) {
  const value = BigInt(text);
  if (value < 0n || value >= 1n << BigInt(bits)) {
    throw new Error(`${text} does not fit uint${bits}`);
  }
  return hex(`0x${value.toString(16).padStart(64, '0')}`);
}

function fixed(text, length) {
  const bytes = hex(text);
  if (bytes.length !== length) {
    throw new Error(`${text} is not ${length} bytes`);
  }
  return bytes;
}

function encode(type, value) {
  if (type.endsWith('[]')) return keccak(Buffer.concat(value.map((item) => encode(type.slice(0, -2), item))));
  if (type === 'string') return keccak(Buffer.from(value, 'utf8'));
  if (type === 'bytes') return keccak(hex(value));
  if (type === 'address') return word(fixed(value, 20), false);
  if (type.startsWith('bytes')) return word(fixed(value, Number(type.slice(5))), true);
  if (type.startsWith('uint')) return uint(value, Number(type.slice(4)));
  throw new Error(`type ${type} is not used here`);
}

function structHash(type, message) {
  const fields = type.slice(type.indexOf('(') + 1, -1).split(',').map((field) => field.split(' '));
  const names = fields.map(([, name]) => name);
  if (Object.keys(message).join() !== names.join()) {
    throw new Error(`the example has ${Object.keys(message)}, the type ${names}`);
  }
  const words = fields.map(([fieldType, name]) => encode(fieldType, message[name]));
  return keccak(Buffer.concat([keccak(Buffer.from(type)), ...words]));
}

function only(section, pattern, what) {
  const found = pattern.exec(section);
  if (!found) {
    throw new Error(`no ${what}`);
  }
  return found[1];
}

function expect(actual, claimed, what) {
  if (`0x${actual.toString('hex')}` !== claimed) {
    throw new Error(`${what} is 0x${actual.toString('hex')}, the page says ${claimed}`);
  }
}

const page = fs.readFileSync(PAGE, 'utf8');
const sections = new Map(page.split(/^## /m).slice(1).map((text) => [text.slice(0, text.indexOf('\n')), text]));

function example(name) {
  const section = sections.get(name);
  if (!section) {
    throw new Error('no such section');
  }
  return {
    section,
    message: JSON.parse(only(section, /```json\n([^`]*)```/, 'example')),
  };
}

let current = 'Domain';
try {
  const domain = example('Domain');
  const separator = structHash(DOMAIN_TYPE, domain.message);
  expect(separator, only(domain.section, /domain separator `(0x[0-9a-f]{64})`/, 'domain separator'), 'domain separator');
  const records = [...sections.keys()].filter((name) => name !== 'Domain');
  for (const name of records) {
    current = name;
    const { section, message } = example(name);
    const type = only(section, /```\n([^`\n]*)\n```/, 'type string');
    if (!type.startsWith(`${name}(`)) {
      throw new Error(`the type string is ${type}`);
    }
    const hash = structHash(type, message);
    expect(hash, only(section, /struct hash `(0x[0-9a-f]{64})`/, 'struct hash'), 'struct hash');
    const digest = keccak(Buffer.concat([hex('0x1901'), separator, hash]));
    expect(digest, only(section, /digest `(0x[0-9a-f]{64})`/, 'digest'), 'digest');
  }
  console.log(`${records.length} example hashes of signed.md hold`);
} catch (error) {
  console.error(`signed.md, ${current}: ${error.message}`);
  process.exit(1);
}
