// Writes every `ts` block of docs/sdk.md into tests/guide/, where tsc checks it together with the tests.
// A block keeps its line numbers, so an error in guide/sdk-300.ts names a line of docs/sdk.md.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const folder = new URL('guide/', import.meta.url);
const guide = readFileSync(new URL('../../../docs/sdk.md', import.meta.url), 'utf8');

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
for (const { index, 1: block } of guide.matchAll(/^```ts\n(.*?)^```$/gms)) {
  const line = guide.slice(0, index).split('\n').length;
  writeFileSync(new URL(`sdk-${line}.ts`, folder), '\n'.repeat(line) + block);
}
