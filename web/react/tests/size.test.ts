/** The download size of the kit without React and the SDK, minified with gzip, alone and in parts; and the length of its source files. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const LINES_MAX = 450;
/** Bytes. A bundler leaves out what an app does not import. */
const GZIP_MAX = {
  'seawall-react': 6_510,
  'both entries': 9_930,
  'all three entries': 11_500,
  'boundaries and errors': 4_290,
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

/** Bytes, with gzip, of a bundle for an app with Preact. */
async function bundled(contents: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder }, bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', legalComments: 'none', jsx: 'automatic',
    alias: {
      react: 'preact/compat', 'react/jsx-runtime': 'preact/jsx-runtime', 'seawall-client': '../client/src/index.ts',
      'seawall-client/reports': '../client/src/reports.ts', 'seawall-client/telemetry': '../client/src/telemetry.ts',
    },
  });
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
}

test('an app with Preact and the client grows by at most 6000 bytes with all of seawall-react', async () => {
  const client = "export { connect } from 'seawall-client'; export { add, describe, hash, NO_ERRORS, raise } from 'seawall-client/reports'; export { telemetry } from 'seawall-client/telemetry';";
  const react = "export { Component, createContext, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'; export { Fragment, jsx, jsxs } from 'react/jsx-runtime';";
  const size = await bundled(`${client}${react}${EXPORTS['seawall-react']}`) - await bundled(client + react);
  console.log(`in an app: ${size} bytes with gzip`);
  assert.ok(size > 3_000 && size <= 6_000, `${size} bytes`);
});

test('the style sheets have at most 3000 bytes with gzip', async () => {
  const { outputFiles } = await build({ entryPoints: [`${folder}src/styles.css`], bundle: true, write: false });
  assert.ok(gzipSync(outputFiles[0]!.contents, { level: 9 }).length <= 3_000);
});

test(`no file has more than ${LINES_MAX} lines`, () => {
  const files = readdirSync(`${folder}src`);
  assert.ok(files.length > 15);
  for (const name of files) {
    const lines = readFileSync(`${folder}src/${name}`, 'utf8').split('\n').length - 1;
    assert.ok(lines <= LINES_MAX, `${name} has ${lines} lines: split it by topic`);
  }
});
