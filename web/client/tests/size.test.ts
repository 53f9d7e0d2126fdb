/** The download size of the package: each module alone, minified, with gzip. And the length of its source files. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** As for the gateway's sources: a longer file holds more than one topic. */
const LINES_MAX = 450;
const GZIP_MAX = { index: 12_420, durable: 1_870, flags: 210, presence: 1_500, producer: 3_000, reports: 3_400, streams: 2_440, telemetry: 640, timeline: 2_300 };

for (const [name, most] of Object.entries(GZIP_MAX)) {
  test(`${name} has at most ${most} bytes, minified with gzip`, async () => {
    const entry = fileURLToPath(new URL(`../../src/${name}.ts`, import.meta.url));
    const { outputFiles } = await build({ entryPoints: [entry], bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', legalComments: 'none' });
    const size = gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
    console.log(`${name}: ${outputFiles[0]!.contents.length} bytes minified, ${size} with gzip`);
    assert.ok(size <= most, `${size} bytes`);
  });
}

for (const folder of ['client/src', 'page/src']) {
  test(`${folder} has no file with more than ${LINES_MAX} lines`, () => {
    const sources = new URL(`../../../${folder}/`, import.meta.url);
    const files = readdirSync(sources).filter((name) => /\.tsx?$/.test(name));
    assert.ok(files.length > 5);
    for (const name of files) {
      const lines = readFileSync(new URL(name, sources), 'utf8').split('\n').length - 1;
      assert.ok(lines <= LINES_MAX, `${name} has ${lines} lines: split it by topic`);
    }
  });
}
