// The runner runs a test again that was late, and none that was wrong.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const RUNNER = fileURLToPath(new URL('run.mjs', import.meta.url));

/** The source of a test that throws this each time, or only the first. */
const throws = (name, error, onlyOnce = true) => `test(${JSON.stringify(name)}, () => {
  if (${onlyOnce} && existsSync(${JSON.stringify(`${name} ran`)})) return;
  writeFileSync(${JSON.stringify(`${name} ran`)}, '');
  throw ${error};
});`;
const late = (name, onlyOnce) => throws(name, `new Error('not within 20 ms: it\\nand what the page shows')`, onlyOnce);

/** Runs files of tests; returns the exit status, the lines about late tests, and how many tests ran again. */
async function outcome(t, ...files) {
  const folder = mkdtempSync(join(tmpdir(), 'seawall-run-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const names = files.map((source, index) => {
    writeFileSync(join(folder, `${index}.test.mjs`), `import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
test('passes', () => {});\n${source}\n`);
    return `${index}.test.mjs`;
  });
  const { NODE_TEST_CONTEXT, ...env } = process.env;
  const child = spawn(process.execPath, [RUNNER, '--concurrency=2', ...names], { cwd: folder, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more) => { text += more; });
  const status = await new Promise((done) => child.once('close', done));
  return [status, text.match(/^late once: .*$/gm) ?? [], text.match(/: once more, alone$/gm)?.length ?? 0];
}

test('a test that was late once runs again, and is named', async (t) => {
  assert.deepEqual(await outcome(t, late('it? (late)'), ''), [0, ['late once: it? (late) (0.test.mjs: not within 20 ms: it)'], 1]);
  const [status, lines] = await outcome(t, throws('clicks', `new Error('locator.click: Timeout 30000ms exceeded.\\nCall log:')`));
  assert.deepEqual([status, lines.length], [0, 1]);
  assert.deepEqual(await outcome(t, '', ''), [0, [], 0]);
});

test('a test that was wrong never runs again, and neither do late ones with it', async (t) => {
  const wrong = throws('wrong', `new assert.AssertionError({ message: 'not 3', actual: 2, expected: 3, operator: 'equal' })`);
  await Promise.all([
    [wrong],
    [late('late'), wrong],
    [late('late'), `after(() => { throw new Error('a leak'); });`],
    [`test('a hook', (t) => { t.after(() => { throw new Error('not within 20 ms: it'); }); });`],
    [late('late'), `test('crashes', async () => { setTimeout(() => process.abort(), 50); await new Promise((done) => { setTimeout(done, 5000); }); });`],
    [`throw new Error('not within 20 ms: it');`],
  ].map(async (files) => assert.deepEqual(await outcome(t, ...files), [1, [], 0], files.join('\n'))));
});

test('a test that was late twice fails, and so do more than three', async (t) => {
  const four = ['a', 'b', 'c', 'd'].map((name) => late(name));
  const [twice, many, [status, lines, again]] = await Promise.all([[late('late', false)], four, four.slice(1)].map((files) => outcome(t, ...files)));
  assert.deepEqual([twice, many], [[1, [], 1], [1, [], 0]]);
  assert.deepEqual([status, lines.length, again], [0, 3, 3]);
});
