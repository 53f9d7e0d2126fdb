// The bytes of the page with gzip, and what is in its two files.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

// The tests run in the folder of the page.
const dist = new URL('../dist/', `file://${process.cwd()}/`);
const assets = readdirSync(new URL('assets/', dist));
const named = (name: string, ending: string) => assets.filter((file) => file.startsWith(`${name}-`) && file.endsWith(ending)).map((file) => new URL(`assets/${file}`, dist));
const bytes = (name: string, ending: string) => named(name, ending).reduce((sum, file) => sum + readFileSync(file).length, 0);

test('a first view takes at most 39,300 bytes of script and styles, and the rest at most 12,450', () => {
  assert.deepEqual(assets.filter((file) => !/\.gz$/.test(file)).map((file) => file.replace(/-\w+\./, '.')).sort(), ['icon.svg', 'later.css', 'later.js', 'page.css', 'page.js']);
  const first = bytes('page', '.js.gz') + bytes('page', '.css.gz');
  const later = bytes('later', '.js.gz') + bytes('later', '.css.gz');
  console.log(`first view: ${first} bytes with gzip, later: ${later}`);
  assert.ok(first > 20_000 && first <= 39_300, `${first} bytes`);
  assert.ok(later > 5_000 && later <= 12_450, `${later} bytes`);
});

test('what a first view does not need is in the second file only', () => {
  const [page, later] = ['page', 'later'].map((name) => readFileSync(named(name, '.js')[0]!, 'utf8')) as [string, string];
  for (const text of ['A token says who you are', 'Stopping…', 'Pull the plug', 'seawall-reports', 'never_opened', 'sw-banner']) {
    assert.ok(later.includes(text) && !page.includes(text), text);
  }
});
