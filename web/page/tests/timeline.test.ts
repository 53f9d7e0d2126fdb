import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { authorOf, Timeline, type MessageRow, type Outgoing, type Row, type LogEntry } from '../src/timeline.ts';

const entry = (offset: number, more: Partial<LogEntry> = {}): LogEntry =>
  ({ offset, key: `key-${offset}`, user: 'anonymous', time: offset * 1000, data: { name: 'ann', text: `text ${offset}` }, ...more });

const rowsOf = (timeline: Timeline, outgoing: Outgoing[] = [], own: (entry: LogEntry) => boolean = () => false): Row[] =>
  timeline.rows('anonymous', outgoing, own);

const messages = (rows: Row[]): MessageRow[] => rows.filter((row) => row.kind === 'message');

const waiting = (key: string, more: Partial<Outgoing> = {}): Outgoing =>
  ({ key, at: 1, kind: 'original', of: 0, data: { name: 'ann', text: 'mine' }, progress: { state: 'sending' }, ...more });

test('the last edit replaces the text, and a delete removes it', () => {
  const timeline = new Timeline();
  [entry(1), entry(2, { edits: 1, data: { text: 'second' } }), entry(3, { edits: 1, data: { text: 'third' } })].forEach((one) => timeline.absorb(one));
  assert.deepEqual(messages(rowsOf(timeline)).map(({ text, edited }) => [text, edited]), [['third', true]]);
  timeline.absorb(entry(4, { deletes: 1, data: null }));
  assert.deepEqual(messages(rowsOf(timeline)).map(({ text, edited, deleted }) => [text, edited, deleted]), [['deleted', false, true]]);
});

test('the rows are the same in whatever order publications arrive', () => {
  const event = fc.oneof(
    fc.constant({}),
    fc.record({ edits: fc.integer({ min: 1, max: 10 }) }),
    fc.record({ deletes: fc.integer({ min: 1, max: 10 }) }),
  );
  const log = fc.array(event, { minLength: 1, maxLength: 30 })
    .map((events) => events.map((more, index) => entry(index + 1, more)));
  const shuffled = log.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
  fc.assert(fc.property(shuffled, ([inOrder, mixed]) => {
    const [one, two] = [new Timeline(), new Timeline()];
    inOrder.forEach((publication) => one.absorb(publication));
    mixed.forEach((publication) => two.absorb(publication));
    assert.deepEqual(rowsOf(two), rowsOf(one));
  }));
});

test('an outgoing message is shown below stored ones, and keeps its row once it is stored', () => {
  const timeline = new Timeline();
  timeline.absorb(entry(1));
  const before = rowsOf(timeline, [waiting('mine')]);
  assert.deepEqual(before.map((row) => row.id), ['m1', 'kmine']);
  timeline.absorb(entry(2, { key: 'mine' }));
  const after = rowsOf(timeline, [waiting('mine', { progress: { state: 'sent' } })], (one) => one.key === 'mine');
  assert.deepEqual(after.map((row) => row.id), ['m1', 'kmine']);
  assert.equal(messages(after)[1]?.outgoing, undefined);
});

test("another user's message with the same key does not hide my outgoing message", () => {
  const timeline = new Timeline();
  timeline.absorb(entry(1, { key: 'mine' }));
  assert.equal(rowsOf(timeline, [waiting('mine')]).length, 2);
});

test('the progress of an edit is shown in the message that it edits', () => {
  const timeline = new Timeline();
  timeline.absorb(entry(1));
  const rows = messages(rowsOf(timeline, [waiting('e', { kind: 'edits', of: 1 })]));
  assert.deepEqual(rows.map((row) => [row.id, row.outgoing?.kind]), [['m1', 'edits']]);
});

test('a notice is shown where publications are missing', () => {
  const timeline = new Timeline();
  [entry(1), entry(5)].forEach((one) => timeline.absorb(one));
  timeline.notice(5, 'three are gone');
  timeline.notice(9, 'more to come');
  assert.deepEqual(rowsOf(timeline).map((row) => row.text), ['text 1', 'three are gone', 'text 5', 'more to come']);
});

test('messages over the bound are dropped, oldest first, and keep their edits when loaded again', () => {
  const timeline = new Timeline();
  for (let offset = 1; offset <= 3000; offset += 1) timeline.absorb(entry(offset));
  timeline.absorb(entry(3001, { edits: 1 }));
  const first = timeline.trim();
  assert.equal(first, 1001);
  assert.equal(timeline.size, 2000);
  assert.equal(messages(rowsOf(timeline))[0]?.offset, 1001);
  assert.equal(timeline.trim(), undefined);
  timeline.absorb(entry(1));
  assert.equal(messages(rowsOf(timeline))[0]?.edited, true);
});

test('consecutive messages of one author are grouped under one name', () => {
  const timeline = new Timeline();
  const later = 20 * 60_000;
  [entry(1), entry(2), entry(3, { data: { name: 'bob', text: 'x' } }), entry(4, { data: { name: 'bob', text: 'y' }, time: later })]
    .forEach((one) => timeline.absorb(one));
  assert.deepEqual(messages(rowsOf(timeline)).map((row) => row.next), [false, true, false, false]);
});

test('a display name cannot pass for another user', () => {
  assert.equal(authorOf('ann', { name: 'bob' }), 'bob · ann');
  assert.equal(authorOf('ann', { name: 'ann' }), 'ann');
  assert.equal(authorOf('anonymous', { name: '  ' }), 'anonymous');
  assert.equal(authorOf('anonymous', 'no object'), 'anonymous');
  assert.equal(authorOf('anonymous', { name: 'x'.repeat(99) }).length, 40);
});
