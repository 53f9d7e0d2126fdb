// Runs test files. A test that failed because a deadline passed runs once more, alone, at the end.
//
//   node tests/run.mjs [--concurrency=N] FILE...
//
// On a machine that is busy for seconds, a test can miss a deadline and nothing is wrong. A test that failed for another reason does not
// run again: a wrong value, an error of the page, a hook, a file that crashed. Neither does one that was late twice, nor any if more than
// AGAIN_MAX were late. What was late once is printed on a line that begins with `late once: `.

import { spec } from 'node:test/reporters';
import { run } from 'node:test';
import { basename, resolve } from 'node:path';

/** The most tests that run again: if more are late, it is not the machine. */
const AGAIN_MAX = 3;
/** The most characters of a message that are printed again. */
const MESSAGE_MAX = 160;
/** The messages of `until`, and of Playwright. */
const LATE = /^not within \d+ ms: |^\S+: Timeout \d+ms exceeded/;

/** Returns the message of a failed test if its deadline passed, and nothing else is wrong. */
function lateness({ name, file, details: { error } }) {
  const cause = error?.cause ?? error;
  // A fault of a file outside of its tests has the name of the file.
  if (error?.failureType !== 'testCodeFailure' || resolve(name) === file) return undefined;
  const [message] = String(cause?.message ?? cause).split('\n');
  return LATE.test(message) ? message : undefined;
}

/** Runs files and prints what they do; returns the failed tests, how many passed, and how many a crash kept from their end. */
async function tests(options) {
  const failed = [];
  let [passed, open] = [0, 0];
  const stream = run(options);
  stream.on('test:enqueue', () => { open += 1; }).on('test:complete', () => { open -= 1; });
  stream.on('test:fail', (test) => { if (!test.todo) failed.push(test); });
  stream.on('test:pass', (test) => { if (test.skip === undefined && resolve(test.name) !== test.file) passed += 1; });
  const printed = stream.compose(new spec());
  printed.pipe(process.stdout, { end: false });
  await new Promise((done, wrong) => { printed.on('end', done).on('error', wrong); });
  return { failed, passed, open };
}

const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');

/** Runs files, and the late tests once more; returns true if all is well. */
async function runAll(files, concurrency) {
  const { failed, open } = await tests({ files: files.map((file) => resolve(file)), concurrency });
  const late = failed.map((test) => ({ test, message: lateness(test) }));
  if (open > 0) return false;
  if (late.length === 0) return true;
  if (late.length > AGAIN_MAX || late.some(({ message }) => message === undefined)) return false;
  const lines = [];
  for (const { test: { name, file }, message } of late) {
    console.log(`\n${name}: once more, alone`);
    const again = await tests({ files: [file], concurrency: 1, testNamePatterns: [new RegExp(`^${escaped(name)}$`)] });
    if (again.failed.length > 0 || again.passed === 0 || again.open > 0) return false;
    lines.push(`late once: ${name} (${basename(file)}: ${message.slice(0, MESSAGE_MAX)})`);
  }
  console.log(`\n${lines.join('\n')}`);
  return true;
}

const [, , ...args] = process.argv;
const concurrency = args.find((arg) => arg.startsWith('--concurrency='))?.split('=')[1];
const files = args.filter((arg) => !arg.startsWith('--'));
if (files.length === 0) throw new Error('run.mjs: name the test files');
process.exitCode = (await runAll(files, concurrency === undefined ? true : Number(concurrency))) ? 0 : 1;
