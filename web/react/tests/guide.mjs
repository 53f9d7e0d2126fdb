// Writes every `tsx` block of docs/react.md into tests/guide/, where tsc checks it together with the tests.
// A block keeps its line numbers, so an error in guide/react-30.tsx names a line of docs/react.md.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const folder = new URL('guide/', import.meta.url);
const guide = readFileSync(new URL('../../../docs/react.md', import.meta.url), 'utf8');

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
for (const { index, 1: block } of guide.matchAll(/^```tsx\n(.*?)^```$/gms)) {
  const line = guide.slice(0, index).split('\n').length;
  writeFileSync(new URL(`react-${line}.tsx`, folder), '\n'.repeat(line) + block);
}
