/** The download size of the kit without React and the SDK, minified with gzip, alone and in parts; and the length of its source files. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const LINES_MAX = 450;
/** Bytes. A bundler leaves out what an app does not import. */
const GZIP_MAX = {
  'seawall-react': 6_560,
  'both entries': 9_880,
  'all three entries': 11_200,
  'boundaries and errors': 4_300,
};
const BOUNDARIES = 'createKit, rootOptions, AppBoundary, ChatBoundary, ThreadBoundary, MessageBoundary';
const EXPORTS: Record<keyof typeof GZIP_MAX, string> = {
  'seawall-react': "export * from './src/index.js'",
  'both entries': "export * from './src/index.js'; export * from './src/chat.js'",
  'all three entries': "export * from './src/index.js'; export * from './src/chat.js'; export * from './src/streams.js'",
  'boundaries and errors': `export { ${BOUNDARIES} } from './src/index.js'`,
};
const folder = new URL('../../', import.meta.url).pathname;

for (const [name, most] of Object.entries(GZIP_MAX)) {
  test(`${name}: at most ${most} bytes, minified with gzip`, async () => {
    const { outputFiles } = await build({
      stdin: { contents: EXPORTS[name as keyof typeof GZIP_MAX], resolveDir: folder },
      bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', legalComments: 'none', jsx: 'automatic',
      external: ['react', 'react/jsx-runtime', 'seawall-client', 'seawall-client/*'],
    });
    const size = gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
    console.log(`${name}: ${outputFiles[0]!.contents.length} bytes minified, ${size} with gzip`);
    assert.ok(size <= most, `${size} bytes`);
  });
}

test('the style sheet has at most 3000 bytes with gzip', () => {
  assert.ok(gzipSync(readFileSync(`${folder}src/styles.css`), { level: 9 }).length <= 3_000);
});

test(`no file has more than ${LINES_MAX} lines`, () => {
  const files = readdirSync(`${folder}src`);
  assert.ok(files.length > 15);
  for (const name of files) {
    const lines = readFileSync(`${folder}src/${name}`, 'utf8').split('\n').length - 1;
    assert.ok(lines <= LINES_MAX, `${name} has ${lines} lines: split it by topic`);
  }
});
