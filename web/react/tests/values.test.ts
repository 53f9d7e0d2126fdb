/** Errors, the banner, the window of a list and the texts for a screen reader. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { connect } from 'seawall-client';
import { enqueue, WAITING_MAX, type Announcement } from '../src/announcements.js';
import { BACK_MS, banner, CALM, CARD_MS, TEXT_MS, type BannerMemory, type BannerView } from '../src/banner.js';
import type { ErrorGroup } from 'seawall-client/reports';
import { createKit, type OwnKit } from '../src/kit.js';
import { roomOf } from '../src/rooms.js';
import { sentenceEnd } from '../src/sentences.js';
import { lineOf, plainText, textOf } from '../src/text.js';
import { above, below, isNewDay, lastStored, range, ROWS_MAX, storedAfter } from '../src/window.js';
import { WORDS } from '../src/words.js';
import { Echo } from './gateway.js';

test('an error is counted once however often it is reported, and a hook that throws does no harm', () => {
  const kit = createKit({ context: () => { throw new Error('hook'); } });
  const error = new Error('x');
  assert.equal(kit.report(error), kit.report(error, 'chat'));
  assert.deepEqual(kit.errors.value.groups.map(({ count, level }) => [count, level]), [[1, 'chat']]);
});

test('a kit reports its errors, those of before the client included, and later that they took more', async () => {
  const reported: unknown[] = [];
  const reports = () => ({
    add: ({ name, level }: ErrorGroup) => reported.push([name, level]),
    raise: (_: string, level: string) => reported.push(level),
    close: () => {
      reported.push('closed');
      return left.splice(0);
    },
  });
  const left: ErrorGroup[] = [];
  const kit = createKit({ reports }) as OwnKit;
  const [early, late] = [new RangeError('x'), new TypeError('x')];
  kit.report(early);
  kit.report(early, 'thread');
  const end = kit.reportTo({} as never);
  await null;
  kit.report(late);
  kit.report(late, 'chat');
  left.push(kit.errors.value.groups[1]!);
  end();
  kit.report(new SyntaxError('x'));
  kit.reportTo({} as never);
  await null;
  assert.deepEqual(reported, [['RangeError', 'thread'], ['TypeError', 'message'], 'chat', 'closed', ['TypeError', 'chat'], ['SyntaxError', 'message']], 'what the first client did not report is reported through the next');
});

const online = { online: true, hasFailed: false, closed: false, unwell: false };
const offline = { ...online, online: false, hasFailed: true };

test('the banner says nothing for 2 s, a line to 5 s, then the cause, and at the end that all is well', () => {
  let memory: BannerMemory = CALM;
  const views: BannerView[] = [];
  for (const [at, input] of [
    [0, offline], [TEXT_MS - 1, offline], [TEXT_MS, offline], [CARD_MS - 1, offline], [CARD_MS, offline], [6_000, online], [6_000 + BACK_MS - 1, online],
    [6_000 + BACK_MS, online], [20_000, offline], [20_100, online], [30_000, { ...online, unwell: true }], [31_000, online], [40_000, { ...offline, closed: true }],
  ] as const) {
    const [next, view] = banner(memory, input, at);
    memory = next;
    views.push(view);
  }
  assert.deepEqual(views, ['nothing', 'nothing', 'text', 'text', 'card', 'back', 'back', 'nothing', 'nothing', 'nothing', 'status', 'back', 'card']);
});

test('a first attempt in progress is not mentioned', () => {
  assert.deepEqual(banner(CALM, { ...offline, hasFailed: false }, 60_000).slice(1), ['nothing']);
});

test('the banner never stays, and never hides a lasting outage, whatever happens', () => {
  const inputs = fc.record({ online: fc.boolean(), hasFailed: fc.boolean(), closed: fc.boolean(), unwell: fc.boolean(), after: fc.nat(4_000) });
  fc.assert(fc.property(fc.array(inputs, { maxLength: 60 }), (all) => {
    let [memory, view, wake, now]: [BannerMemory, BannerView, number | undefined, number] = [CALM, 'nothing', undefined, 0];
    const look = (input: (typeof all)[number] | typeof online) => { [memory, view, wake] = banner(memory, input, now); };
    for (const input of all) {
      now += input.after;
      look(input);
      assert.ok(wake === undefined || wake > now, 'it asks for a later time');
    }
    // It is asked again only when it wants to be.
    look(online);
    for (let turn = 0; turn < 3 && wake !== undefined; turn += 1) [now] = [wake], look(online);
    assert.equal(view, 'nothing');
    look(offline);
    for (let turn = 0; turn < 3 && wake !== undefined; turn += 1) [now] = [wake], look(offline);
    assert.equal(view, 'card');
  }), { numRuns: 200 });
});

const items = (count: number) => Array.from({ length: count }, (_, at) => ({ id: `m${at}` }));

test('the window has at most 150 rows, moves by 50, and finds its place again', () => {
  const all = items(1_000);
  assert.deepEqual(range(all, undefined), { from: 900, to: 1_000 });
  assert.deepEqual(range(all, 'm900'), { from: 900, to: 1_000 });
  assert.equal(above(all, range(all, 'm900')), 'm850');
  assert.deepEqual(range(all, 'm850'), { from: 850, to: 1_000 });
  assert.equal(below(all, range(all, 'm0')), 'm50');
  assert.equal(below(all, range(all, 'm860')), 'm900');
  assert.equal(above(all, range(all, 'm20')), 'm0');
  assert.deepEqual(range(all, 'gone'), { from: 0, to: ROWS_MAX });
  assert.deepEqual(['m997', undefined, 'gone'].map((seen) => storedAfter(all, seen).length), [2, 0, 0]);
  const waiting = { id: 'k', pending: { key: 'k', state: 'queued' } };
  assert.equal(lastStored([...all, waiting]), 'm999');
  assert.deepEqual(storedAfter([...all, { id: 'new' }, waiting], 'm999'), [{ id: 'new' }]);
  fc.assert(fc.property(fc.nat(2_000), fc.nat(2_000), (count, first) => {
    const { from, to } = range(items(count), `m${first}`);
    assert.ok(from >= 0 && to <= count && to - from <= ROWS_MAX && (count === 0 || to > from));
  }), { numRuns: 50 });
});

test('a day begins at midnight of the reader', () => {
  const at = (day: number, hour: number) => ({ id: '', time: new Date(2026, 10, day, hour).getTime() });
  assert.deepEqual([isNewDay(at(27, 1), undefined), isNewDay(at(27, 23), at(27, 1)), isNewDay(at(28, 0), at(27, 23)), isNewDay({ id: '' }, at(27, 1))], [true, false, true, false]);
});

test('more texts than a screen reader can follow are summed up, and urgent ones come first', () => {
  let queue: readonly Announcement[] = [];
  const say = (text: string, urgent = false) => { queue = enqueue(queue, { text, urgent }, (count) => `${count} more`); };
  for (let at = 0; at < WAITING_MAX; at += 1) say(`m${at}`);
  say('failed', true);
  assert.deepEqual(queue.map(({ text }) => text), ['failed', 'm0', 'm1', 'm2']);
  say('m3');
  assert.deepEqual(queue.map(({ text }) => text), ['failed', '4 more']);
  for (let at = 0; at < 100; at += 1) say(`x${at}`, at % 2 === 0);
  assert.ok(queue.length <= 5 + WAITING_MAX);
});

test('the plain text of an item never throws', () => {
  const cycle: Record<string, unknown> = {};
  cycle['data'] = cycle;
  const hostile = { get data(): never { throw new Error('x'); } };
  for (const one of [undefined, null, 1, cycle, hostile, { data: { text: 7 } }, { data: 1n }]) assert.equal(typeof textOf(one), 'string');
  assert.equal(textOf({ data: { text: 'a' } }), 'a');
  assert.equal(textOf({ data: 'b' }), 'b');
  for (const one of [undefined, null, { user: 1 }]) assert.equal(typeof plainText(one), 'string');
  assert.equal(plainText({ kind: 'message', user: 'grace', data: { text: 'hi' } }), 'grace: hi');
  assert.equal(lineOf({ kind: 'message', deleted: true, data: null }, WORDS), 'Message deleted');
  assert.equal(lineOf({ kind: 'gap', from: 3, to: 3 }, WORDS), '1 message here is no longer stored.');
});

test('a room of a render that was thrown away goes, and one that is open or new stays', (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const client = connect('ws://gateway.example/ws', { idle: true, WebSocket: new Echo().Socket });
  const [thrown, open] = ['thrown', 'open'].map((name) => roomOf(client, name));
  const end = open!.use();
  now = 11_000;
  const fresh = roomOf(client, 'fresh');
  const other = roomOf(client, 'other').use();
  assert.deepEqual(['open', 'fresh'].map((name) => roomOf(client, name)), [open, fresh]);
  assert.notEqual(roomOf(client, 'thrown'), thrown);
  end();
  other();
  client.close();
});

test('a sentence ends before a space, at the end of a line, or with a full stop of Chinese and Japanese', () => {
  const cut = (text: string, from = 0) => text.slice(from, sentenceEnd(text, from));
  assert.equal(cut('It is 1.5 m long. Is it? Ye'), 'It is 1.5 m long. Is it?');
  assert.equal(cut('He said "no." And'), 'He said "no."');
  assert.equal(cut('No end yet.'), '', 'more may follow: 1.5');
  assert.equal(cut('One. Two', 4), '');
  assert.equal(cut('# Title\ntext'), '# Title\n');
  assert.equal(cut('你好。我'), '你好。');
});
