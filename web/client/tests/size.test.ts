/** The download size of the package: each module alone, minified, with gzip. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const GZIP_MAX = { index: 11_800, durable: 1_850 };

for (const [name, most] of Object.entries(GZIP_MAX)) {
  test(`${name} has at most ${most} bytes, minified with gzip`, async () => {
    const entry = fileURLToPath(new URL(`../../src/${name}.ts`, import.meta.url));
    const { outputFiles } = await build({ entryPoints: [entry], bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', legalComments: 'none' });
    const size = gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
    console.log(`${name}: ${outputFiles[0]!.contents.length} bytes minified, ${size} with gzip`);
    assert.ok(size <= most, `${size} bytes`);
  });
}
