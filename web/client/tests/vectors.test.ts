/** The examples in tests/vectors, which the gateway's own tests read too: the contract between both sides. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { delay, nextAttempt } from '../src/backoff.js';
import { check } from '../src/channel.js';
import { advice, ending, type Bye } from '../src/close.js';
import { hear, reset, skip, take, wants, type Cursor } from '../src/cursor.js';
import { begin, step } from '../src/session.js';
import { command, publicationOf, read, type Frame } from '../src/wire.js';

interface File<T> { cases: (T & { name: string })[] }
const file = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../../tests/vectors/${name}`, import.meta.url), 'utf8')) as T;

interface Wait { attempt: number; random: number; advised_ms?: number; wait_ms: number }
interface Counter { name: string; events: string[]; attempt: number | null }

test('backoff.json: delays and attempt counters match the examples', () => {
  const { cases, counters } = file<File<Wait> & { counters: Counter[] }>('backoff.json');
  for (const { name, attempt, random, advised_ms, wait_ms } of cases) assert.equal(delay(attempt, random, advised_ms), wait_ms, name);
  for (const { name, events, attempt } of counters) {
    let next: number | null = 0;
    for (const event of events) {
      if (event === 'stable') next = 0;
      else if (event === 'stop') next = null;
      else if (event !== 'connected') next = nextAttempt(next!, event === 'patient' ? 'patient' : 'return');
    }
    assert.equal(next, attempt, name);
  }
});

test('personal.json: the name of every personal channel is accepted', () => {
  const { personal } = file<{ personal: Record<string, string> } & File<never>>('personal.json');
  for (const name of Object.values(personal)) check(name, {});
  for (const name of ['$user:', '$users:a', 'a$user:b', `$user:${'a'.repeat(123)}`, 'a b', '']) assert.throws(() => check(name, {}), { code: 'invalid' }, name);
});

interface Close { code: number; bye: string | null; close: string | null; client: string }

test('closes.json: every end is understood, from the bye or from the close reason alone', () => {
  const { cases, codes } = file<File<Close> & { codes: { code: number; client: string }[] }>('closes.json');
  for (const { code, client } of codes) assert.equal(advice(code), client, `${code}`);
  for (const { name, code, bye, close, client } of cases) {
    assert.equal(advice(code), client, name);
    const push = bye === null ? undefined : (JSON.parse(bye) as { bye: Bye }).bye;
    const full = ending(code, close ?? '', push);
    const read = ending(code, close ?? '');
    const ends = [full, read, ending(code, ''), ending(code, '', undefined, false), ending(code, 'word: '), ...(push ? [ending(code, '', { ...push, message: '' })] : [])];
    for (const { message } of ends) assert.ok(message.length > 10 || message === push?.message, `${name}: ${message}`);
    assert.equal(full.code, code, name);
    // If the close reason is cut off, only the bye is complete.
    if (push && !name.includes('cut')) assert.deepEqual(read, full, name);
    if (push) assert.deepEqual([full.reason, full.retryMs, full.reference], [push.reason, push.retry_ms, push.reference], name);
  }
});

type Happening = {
  publication?: number; synced?: number; beat?: number; lag?: { from: number; head: number };
  page?: { floor: number; offsets: number[] }; subscribed?: { epoch: 'same' | 'other'; head: number; floor: number };
};
interface Course { last: number; events: Happening[]; actions: object[]; ends_at: number }

/** Applies one event of the examples. */
function follow(cursor: Cursor, event: Happening, actions: object[]): void {
  const took = (offset: number) => actions.push({ [take(cursor, offset)]: offset });
  if (event.publication !== undefined) took(event.publication);
  if (event.synced !== undefined) cursor.replaying = false;
  hear(cursor, event.synced ?? event.beat ?? event.lag?.head ?? 0);
  if (event.page) {
    cursor.asked = false;
    const gap = skip(cursor, event.page.floor - 1);
    if (gap) actions.push({ gap: [gap.from, gap.to] });
    event.page.offsets.forEach(took);
  }
  if (event.subscribed) {
    cursor.replaying = true;
    if (event.subscribed.epoch === 'other') {
      reset(cursor, event.subscribed.floor);
      actions.push({ reset: cursor.last });
    }
  }
  if (!wants(cursor)) return;
  cursor.asked = true;
  actions.push({ history_after: cursor.last });
}

test('cursor.json: a cursor follows a channel as in the examples', () => {
  for (const { name, last, events, actions, ends_at } of file<File<Course>>('cursor.json').cases) {
    const cursor: Cursor = { last, heard: last, asked: false, replaying: false };
    const done: object[] = [];
    for (const event of events) follow(cursor, event, done);
    assert.deepEqual(done, actions, name);
    assert.equal(cursor.last, ends_at, name);
    assert.ok(cursor.heard <= cursor.last, `${name}: something is still missing`);
  }
});

/** Feeds the same examples to a session: frames in, frames and events out. */
test('cursor.json: the session does the same with frames', () => {
  for (const { name, last, events, actions } of file<File<Course>>('cursor.json').cases) {
    let [state] = step(begin({}), { is: 'connect' }, 0, 0);
    const done: object[] = [];
    let asked = 0;
    const receive = (frame: Frame) => {
      const [next, effects] = step(state, { is: 'frame', link: 1, frame }, 0, 0);
      state = next;
      for (const effect of effects) {
        if (effect.do === 'emit' && effect.event === 'publication') done.push({ apply: effect.value.offset });
        if (effect.do === 'emit' && effect.event === 'gap') done.push({ gap: [effect.value.from, effect.value.to] });
        if (effect.do === 'emit' && effect.event === 'reset') done.push({ reset: effect.value.offset });
        const sent = effect.do === 'send' ? JSON.parse(effect.text) as { id: number; history?: { after: number } } : undefined;
        if (sent?.history) {
          done.push({ history_after: sent.history.after });
          asked = sent.id;
        }
      }
    };
    [state] = step(state, { is: 'subscribe', channel: 'c1', from: { epoch: 'same', offset: last } }, 0, 0);
    [state] = step(state, { is: 'opened', link: 1 }, 0, 0);
    const start = events[0]?.subscribed;
    const log = { channel: 'c1', epoch: start?.epoch ?? 'same', head: start?.head ?? last, floor: start?.floor ?? 1 };
    const limits = { frame_bytes: 65536, publishes_per_s: 20, publishes_burst: 40, subscriptions: 128 };
    const status = { level: 'ok', revision: 1, dependencies: [], lost: [] } as const;
    receive({ id: 2 + 1, connected: { connection: 'c', instance: 'i', user: 'u', ping_ms: 25000, stable_ms: 10000, limits, status, recovered: [log] } });
    if (!start) receive({ synced: { channel: 'c1', offset: last } });
    for (const event of events) {
      const { publication, synced, beat, lag, page } = event;
      const one = (offset: number) => ({ channel: 'c1', offset, user: 'u', time: 1, data: null });
      if (publication !== undefined) receive({ publication: one(publication) });
      if (synced !== undefined) receive({ synced: { channel: 'c1', offset: synced } });
      if (beat !== undefined) receive({ beat: { revision: 1, heads: { c1: beat } } });
      if (lag) receive({ lag: { channel: 'c1', ...lag } });
      if (page) receive({ id: asked, history: { channel: 'c1', epoch: log.epoch, head: 1000, floor: page.floor, publications: page.offsets.map(one) } });
    }
    assert.deepEqual(done, actions.filter((action) => !('drop' in action || 'ahead' in action)), name);
  }
});

interface Asked { text: string; request?: { id: number | null } & Record<string, Record<string, unknown>> }

test('commands.json: the commands that the client sends match the examples', () => {
  const clients = ['connect', 'refresh', 'subscribe', 'unsubscribe', 'publish', 'history', 'signal'];
  let built = 0;
  for (const { name, text, request } of file<File<Asked>>('commands.json').cases) {
    const frame = request && read(text) as Record<string, Record<string, unknown>> | undefined;
    const verb = clients.find((one) => frame && one in frame);
    if (!frame || !verb || !/^\s*\{"id":|^\s*\{"signal"/.test(text)) continue;
    const { data, ...body } = frame[verb]!;
    const json = (request[verb]?.['data_text'] ?? undefined) as string | undefined;
    const mine = command(request.id ?? undefined, verb, body, data === undefined ? undefined : json);
    assert.deepEqual(JSON.parse(mine), frame, name);
    if (data !== undefined) assert.ok(mine.includes(json!), `${name}: data is inserted byte for byte`);
    built += 1;
  }
  assert.ok(built >= 20, `${built} of the examples were built`);
});

interface Pushed { value: Record<string, unknown>; text: string }

test('pushes.json: every push of the gateway is parsed and applied', () => {
  for (const { name, text } of file<File<Pushed>>('pushes.json').cases) {
    const frame = read(text);
    assert.ok(frame, name);
    let [state] = step(begin({}), { is: 'connect' }, 0, 0);
    [state] = step(state, { is: 'subscribe', channel: 'c1', from: { epoch: 'k3f9', offset: (frame.publication?.offset ?? 58) - 1 } }, 0, 0);
    [state] = step(state, { is: 'opened', link: 1 }, 0, 0);
    const sub = state.subs.get('c1')!;
    sub.on = 1;
    state.link = 1;
    const [next, effects] = step(state, { is: 'frame', link: 1, frame }, 0, 0);
    const emitted = effects.find((effect) => effect.do === 'emit');
    if (frame.publication?.channel === 'c1') assert.deepEqual(emitted?.value, publicationOf(frame.publication), name);
    if (frame.signal?.channel === 'c1') assert.deepEqual(emitted?.value, frame.signal, name);
    if (frame.status) assert.deepEqual(next.status, frame.status, name);
    if (frame.bye) assert.deepEqual(next.links.get(1)!.bye, frame.bye, name);
    if (frame.lag?.channel === 'c1') assert.equal(next.subs.get('c1')!.heard, frame.lag.head, name);
  }
});
