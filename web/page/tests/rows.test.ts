import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OutboxEntry } from 'seawall-client';
import type { TimelineItem, TimelineMessage } from 'seawall-client/timeline';
import { authorOf, isolated, Rows, type MessageRow, type Row } from '../src/rows.ts';
import type { Progress } from '../src/words.ts';

const message = (offset: number, more: Partial<TimelineMessage> = {}): TimelineItem => ({
  kind: 'message', id: `m${offset}`, offset, user: 'anonymous', own: false, time: offset * 1000, edited: false, deleted: false,
  data: { name: 'ann', text: `text ${offset}` }, ...more,
} as TimelineMessage);

const entry = (key: string, more: Partial<OutboxEntry> = {}): OutboxEntry => ({ key, channel: 'c', data: { text: key }, at: 1, state: 'sending', ...more });
const sending = (): Progress => ({ state: 'sending' });

const rowsOf = (items: TimelineItem[], rows = new Rows(), progress: (entry: OutboxEntry) => Progress = sending, own = (_key?: string) => false): Row[] =>
  rows.list(items, own, progress);

const messages = (rows: Row[]): MessageRow[] => rows.filter((row) => row.kind === 'message');

test('a deleted message has no text of its own', () => {
  const [row] = messages(rowsOf([message(1, { user: 'ann', deleted: true, data: null })]));
  assert.deepEqual([row?.text, row?.author, row?.deleted], ['deleted', 'ann', true]);
  const rows = new Rows();
  rowsOf([message(1)], rows);
  const deleted = message(1, { deleted: true, data: null });
  const names = [0, 1].map(() => messages(rowsOf([deleted], rows))[0]?.author);
  assert.deepEqual([names, messages(rowsOf([deleted]))[0]?.author], [['ann', 'ann'], 'anonymous'], 'the name stays for a reader who saw it');
});

test('a row that is not changed is the same object', () => {
  const rows = new Rows();
  const items = [message(1), message(2, { pending: entry('e', { edits: 2 }) })];
  const before = rowsOf(items, rows);
  assert.deepEqual(rowsOf(items, rows).map((row, index) => row === before[index]), [true, true]);
  const failed = rowsOf(items, rows, () => ({ state: 'failed', note: 'No.' }));
  assert.deepEqual(failed.map((row, index) => row === before[index]), [true, false]);
  assert.deepEqual(messages(failed)[1]?.outgoing, { key: 'e', kind: 'edits', progress: { state: 'failed', note: 'No.' } });
  const others = rowsOf([message(0, { data: { name: 'bob', text: '' } }), ...items], rows);
  assert.equal(others[2], rowsOf(items, rows)[1]);
});

test('what another tab of this browser sent is its own, and no other message is', () => {
  const items = [message(1, { key: 'mine' }), message(2, { key: 'other' }), message(3, { key: 'mine', user: 'bob' }), message(4, { own: true })];
  assert.deepEqual(messages(rowsOf(items, new Rows(), sending, (key) => key === 'mine')).map(({ own }) => own), [true, false, false, true]);
});

test('a message that waits has no offset and shows its progress', () => {
  const waiting = { ...message(1), id: 'kmine', offset: undefined, user: undefined, pending: entry('mine') } as unknown as TimelineItem;
  const [row] = messages(rowsOf([waiting]));
  assert.deepEqual([row?.id, row?.offset, row?.author, row?.outgoing?.kind], ['kmine', 0, 'ann', 'original']);
});

test('gaps and resets are notices', () => {
  const rows = rowsOf([{ kind: 'gap', id: 'g4', from: 2, to: 4, because: 'expired' }, { kind: 'reset', id: 'r', epoch: 'r', offset: 0 }]);
  assert.deepEqual(rows.map(({ text }) => text), ['3 messages here are no longer stored.', 'This channel was reset. Earlier messages may be gone.']);
});

test('consecutive messages of one author are grouped under one name', () => {
  const later = 20 * 60_000;
  const rows = rowsOf([message(1), message(2), message(3, { data: { name: 'bob', text: 'x' } }), message(4, { data: { name: 'bob', text: 'y' }, time: later })]);
  assert.deepEqual(messages(rows).map((row) => row.next), [false, true, false, false]);
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
