/** The ladder's table, row by row, and what holds for every sequence of failures. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { failed, MEMORY_MAX, POLICY, retried, type Decision, type Level, type Memory } from '../src/ladder.js';

type Step = readonly [at: number, key: string] | 'ask';

const ABOVE: Record<Level, string | undefined> = { message: 'thread', thread: 'chat', chat: 'app', app: undefined };

/** Plays failures of boundaries of one level, below one boundary or none, and returns the decisions. `ask` is a person's retry of the last one. */
function play(level: Level, steps: readonly Step[], isAlone = false): Decision[] {
  let memory: Memory = new Map();
  let last = '';
  const decisions: Decision[] = [];
  for (const step of steps) {
    if (step === 'ask') {
      memory = retried(memory, last);
      continue;
    }
    const [now, key] = step;
    last = key;
    const [next, decision] = failed(memory, { level, key, within: isAlone ? undefined : ABOVE[level] }, POLICY, now);
    memory = next;
    decisions.push(decision);
  }
  return decisions;
}

const UP: Decision = { do: 'escalate' };
const again = (retryMs: number): Decision => ({ do: 'fall_back', canRetry: true, retryMs });
const STAY: Decision = { do: 'fall_back', canRetry: true };
const END: Decision = { do: 'fall_back', canRetry: false };

const TABLE: [string, Level, readonly Step[], readonly Decision[]][] = [
  ['a message is rendered again once after 300 ms', 'message', [[0, 'a'], [300, 'a']], [again(300), STAY]],
  ['a message can be shown again three times', 'message', [[0, 'a'], [300, 'a'], 'ask', [400, 'a'], 'ask', [500, 'a'], 'ask', [600, 'a']], [again(300), STAY, STAY, STAY, END]],
  ['one message never takes its thread', 'message', Array.from({ length: 50 }, (_, at) => [at, 'a'] as const), [again(300), ...Array<Decision>(49).fill(STAY)]],
  ['a message is rendered again by itself after a minute without failures', 'message', [[0, 'a'], [300, 'a'], [60_300, 'a']], [again(300), STAY, again(300)]],
  ['five messages in 10 s take their thread', 'message', [[0, 'a'], [1, 'b'], [2, 'c'], [3, 'd'], [9_999, 'e']], [again(300), again(300), again(300), again(300), UP]],
  ['five messages in more than 10 s do not', 'message', [[0, 'a'], [1, 'b'], [2, 'c'], [3, 'd'], [10_000, 'e']], Array<Decision>(5).fill(again(300))],
  ['four messages and their retries do not', 'message', [[0, 'a'], [1, 'b'], [2, 'c'], [3, 'd'], [300, 'a'], [301, 'b'], 'ask', [302, 'b']], [...Array<Decision>(4).fill(again(300)), STAY, STAY, STAY]],
  ['old failures that a person tries again do not', 'message', [[0, 'a'], [1, 'b'], [2, 'c'], [3, 'd'], [90_000, 'a'], [90_000, 'b'], [90_000, 'c'], [90_000, 'd'], [90_000, 'e']], Array<Decision>(9).fill(again(300))],
  ['a thread is rendered again once after 1 s', 'thread', [[0, 'a'], [1_000, 'a']], [again(1_000), STAY]],
  ['three failures of a thread in 60 s take its chat', 'thread', [[0, 'a'], [1_000, 'a'], [59_999, 'a']], [again(1_000), STAY, UP]],
  ['three failures of a thread in more do not', 'thread', [[0, 'a'], [1_000, 'a'], [60_000, 'a']], [again(1_000), STAY, STAY]],
  ['two threads take their chat', 'thread', [[0, 'a'], [59_999, 'b']], [again(1_000), UP]],
  ['a chat is rendered again once after 2 s', 'chat', [[0, 'a'], [2_000, 'a']], [again(2_000), STAY]],
  ['three failures of a chat in 120 s take the app', 'chat', [[0, 'a'], [2_000, 'a'], [119_999, 'a']], [again(2_000), STAY, UP]],
  ['three failures of a chat in more do not', 'chat', [[0, 'a'], [2_000, 'a'], [120_000, 'a']], [again(2_000), STAY, STAY]],
  ['two chats do not take the app', 'chat', [[0, 'a'], [1, 'b']], [again(2_000), again(2_000)]],
  ['the app is not rendered again', 'app', [[0, 'a'], [1, 'a']], [END, END]],
];

for (const [name, level, steps, decisions] of TABLE) test(name, () => assert.deepEqual(play(level, steps), decisions));

test('nothing escalates without a boundary above', () => {
  for (const level of ['message', 'thread', 'chat'] as const) {
    for (const decision of play(level, Array.from({ length: 20 }, (_, at) => [at, String(at % 7)] as const), true)) assert.equal(decision.do, 'fall_back');
  }
});

test('failures below other boundaries are not counted together', () => {
  let memory: Memory = new Map();
  for (let at = 0; at < 12; at += 1) {
    const [next, decision] = failed(memory, { level: 'message', key: String(at), within: `thread ${at % 3}` }, POLICY, at);
    memory = next;
    assert.equal(decision.do, 'fall_back');
  }
});

const failures = fc.array(fc.record({
  level: fc.constantFrom<Level>('message', 'thread', 'chat', 'app'), key: fc.nat(400), after: fc.nat(20_000), asked: fc.boolean(),
}), { maxLength: 400 });

test('whatever fails, a boundary is retried at most autoRetries times in its time, and the memory is bounded', () => {
  fc.assert(fc.property(failures, (all) => {
    let memory: Memory = new Map();
    let now = 0;
    const retries = new Map<string, number[]>();
    for (const { level, key, after, asked } of all) {
      now += after;
      const name = `${level}${key}`;
      const { autoRetries, failuresMs } = POLICY[level];
      const known = memory.has(name);
      if (asked) memory = retried(memory, name);
      const [next, decision] = failed(memory, { level, key: name, within: ABOVE[level] }, POLICY, now);
      memory = next;
      assert.ok(memory.size <= MEMORY_MAX);
      if (!known) retries.delete(name);
      if (decision.do === 'fall_back' && decision.retryMs !== undefined) {
        const times = [...(retries.get(name) ?? []), now].filter((at) => now - at < failuresMs);
        retries.set(name, times);
        assert.ok(times.length <= autoRetries, `${name} at ${now}`);
      }
    }
  }), { numRuns: 60 });
});
