/** What the package costs a page. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const GZIP_MAX = 11_500;

test(`minified and compressed it has at most ${GZIP_MAX} bytes`, async () => {
  const entry = fileURLToPath(new URL('../../src/index.ts', import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', legalComments: 'none' });
  const size = gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
  console.log(`${outputFiles[0]!.contents.length} bytes minified, ${size} with gzip`);
  assert.ok(size <= GZIP_MAX, `${size} bytes`);
});
