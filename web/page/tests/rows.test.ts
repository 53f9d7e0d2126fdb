import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OutboxEntry } from 'seawall-client';
import type { TimelineItem, TimelineMessage } from 'seawall-client/timeline';
import { authorOf, faceOf, firstUnread, isolated, Rows, type MessageRow, type Row, type Situation } from '../src/rows.ts';

const message = (offset: number, more: Partial<TimelineMessage> = {}): TimelineItem => ({
  kind: 'message', id: `m${offset}`, offset, user: 'anonymous', own: false, time: offset * 1000, edited: false, deleted: false,
  data: { name: 'ann', text: `text ${offset}` }, ...more,
} as TimelineMessage);

const entry = (key: string, more: Partial<OutboxEntry> = {}): OutboxEntry => ({ key, channel: 'c', data: { text: key }, at: 1, state: 'sending', ...more });
const CALM: Situation = { isOwn: () => false, progress: () => ({ state: 'sending' }), going: new Set(), firstNew: undefined, beginning: undefined };

const rowsOf = (items: TimelineItem[], rows = new Rows(), more: Partial<Situation> = {}): Row[] => rows.list(items, { ...CALM, ...more });
const messages = (rows: Row[]): MessageRow[] => rows.filter((row) => row.kind === 'message');

test('a deleted message has no text of its own, and keeps its user', () => {
  const [row] = messages(rowsOf([message(1, { user: 'ann', deleted: true, data: null })]));
  assert.deepEqual([row?.data, row?.user, row?.deleted], ['Message deleted', 'ann', true]);
  const rows = new Rows();
  rowsOf([message(1)], rows);
  const deleted = message(1, { deleted: true, data: null });
  const names = [0, 1].map(() => messages(rowsOf([deleted], rows))[0]?.user);
  assert.deepEqual([names, messages(rowsOf([deleted]))[0]?.user], [['ann', 'ann'], 'anonymous'], 'the name stays for a reader who saw it');
});

test('an answer has no text of its own while it is written, and knows the question if that is the own', () => {
  const items = (own: boolean): TimelineItem[] => [
    message(1, { own }), message(2, { stream: 'begun', data: { answers: 1 } }), message(3, { stream: 'failed', data: { text: 'half', begun: { answers: 1 } } }),
    message(4, { stream: 'completed', data: { report: 7 } }),
  ];
  const shown = (own: boolean) => messages(rowsOf(items(own))).slice(1).map(({ data, stream, question }) => [data, stream, question]);
  assert.deepEqual(shown(true), [['', 'begun', 1], ['half', 'failed', 1], ['{"report":7}', 'completed', undefined]]);
  assert.deepEqual(shown(false).map(([, , question]) => question), [undefined, undefined, undefined]);
});

test('a row that is not changed is the same object', () => {
  const rows = new Rows();
  const items = [message(1), message(2, { pending: entry('e', { edits: 2 }) })];
  const before = rowsOf(items, rows);
  assert.deepEqual(rowsOf(items, rows).map((row, index) => row === before[index]), [true, true]);
  const failed = rowsOf(items, rows, { progress: () => ({ state: 'failed', note: 'No.' }) });
  assert.deepEqual(failed.map((row, index) => row === before[index]), [true, false]);
  assert.deepEqual(messages(failed)[1]?.outgoing, { key: 'e', kind: 'edits', progress: { state: 'failed', note: 'No.' } });
  const others = rowsOf([message(0, { data: { name: 'bob', text: '' } }), ...items], rows);
  assert.equal(others[2], rowsOf(items, rows)[1]);
});

test('what another tab of this browser sent is its own, and no other message is', () => {
  const items = [message(1, { key: 'mine' }), message(2, { key: 'other' }), message(3, { key: 'mine', user: 'bob' }), message(4, { own: true })];
  assert.deepEqual(messages(rowsOf(items, new Rows(), { isOwn: (key) => key === 'mine' })).map(({ own }) => own), [true, false, false, true]);
});

test('a message that waits has no offset and shows its progress', () => {
  const waiting = { ...message(1), id: 'kmine', offset: undefined, user: undefined, pending: entry('mine') } as unknown as TimelineItem;
  const [row] = messages(rowsOf([waiting]));
  assert.deepEqual([row?.id, row?.offset, row?.user, row?.outgoing?.kind], ['kmine', undefined, 'ann', 'original']);
});

test('gaps, resets and the beginning are notices, and an empty channel has none', () => {
  const rows = new Rows();
  const items: TimelineItem[] = [{ kind: 'gap', id: 'g4', from: 2, to: 4, because: 'expired' }, { kind: 'reset', id: 'r', epoch: 'r', offset: 0 }];
  const all = rowsOf(items, rows, { beginning: 'Here.' });
  assert.deepEqual(all.map(({ data }) => data), ['Here.', '3 messages here are no longer stored.', 'This channel was reset. Earlier messages may be gone.']);
  assert.equal(rowsOf(items, rows, { beginning: 'Here.' })[0], all[0]);
  assert.deepEqual(rowsOf([], rows, { beginning: 'Here.' }), []);
});

test('consecutive messages of one author are grouped under one name, and the line "New" begins another group', () => {
  const later = 20 * 60_000;
  const items = [message(1), message(2), message(3, { data: { name: 'bob', text: 'x' } }), message(4, { data: { name: 'bob', text: 'y' }, time: later })];
  const rows = new Rows();
  assert.deepEqual(messages(rowsOf(items, rows)).map((row) => row.next), [false, true, false, false]);
  const marked = messages(rowsOf(items, rows, { firstNew: 'm2' }));
  assert.deepEqual(marked.map((row) => [row.next, row.isFirstNew]), [[false, false], [false, true], [false, false], [false, false]]);
});

test('a message whose deletion can be undone is marked', () => {
  const rows = new Rows();
  const items = [message(1), message(2)];
  assert.deepEqual(messages(rowsOf(items, rows, { going: new Set([2]) })).map(({ isGoing }) => isGoing), [false, true]);
  assert.deepEqual(messages(rowsOf(items, rows)).map(({ isGoing }) => isGoing), [false, false]);
});

test('the first unread message is counted from the end, over own and deleted ones', () => {
  const items = [message(1), message(2), message(3, { own: true }), message(4, { deleted: true, data: null }), message(5)];
  assert.deepEqual([0, 1, 2, 3, 9].map((unread) => firstUnread(items, unread)), [undefined, 'm5', 'm2', 'm1', undefined]);
});

test('a display name cannot pass for another user', () => {
  assert.equal(authorOf('ann', { name: 'bob' }), 'bob · ann');
  assert.equal(authorOf('ann', { name: 'ann' }), 'ann');
  assert.equal(authorOf('ann', { name: 'b\u202Eob\u2069' }), 'bob · ann', 'a name cannot turn the user around');
  assert.equal(isolated('a\u2069\u202Eb'), '\u2068ab\u2069');
  assert.equal(authorOf('anonymous', { name: '  ' }), 'anonymous');
  assert.equal(authorOf('anonymous', 'no object'), 'anonymous');
  assert.equal(authorOf('anonymous', { name: 'x'.repeat(99) }).length, 40);
});

test('a face has initials, and the same colour each time', () => {
  assert.deepEqual(['ada', 'Ada Lovelace', 'guest-x7', 'مرحبا', ''].map((name) => faceOf(name).initials), ['AD', 'AL', 'GX', 'مر', '?']);
  assert.equal(faceOf('ada').colour, faceOf('ada').colour);
  const colours = new Set(Array.from({ length: 100 }, (_, at) => faceOf(`user ${at}`).colour));
  assert.equal(colours.size, 8);
});
