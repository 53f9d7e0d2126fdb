/** Pieces that are sent again: joined, and at a pace. */

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Pace } from '../src/pace.js';
import { joined, PIECE_MAX, type Piece } from '../src/pieces.js';

test('senders take turns at 2,000 frames a second, and wait while the gateway wants nothing', (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
  const pace = new Pace();
  const sent: number[] = [];
  const senders = [1, 1, 1, 30, 1, 1].map((frames, index) => ({ resend: () => (sent.push(index), frames) }));
  for (const sender of [...senders, ...senders]) pace.add(sender);
  mock.timers.tick(1);
  assert.deepEqual(sent, [0, 1, 2, 3], 'each once, until there are enough frames');
  mock.timers.tick(15);
  assert.equal(sent.length, 4, '33 frames take 16.5 ms');
  pace.remove(senders[4]!);
  mock.timers.tick(2);
  assert.deepEqual(sent.splice(0), [0, 1, 2, 3, 5]);
  pace.hold(500);
  pace.hold(9_000);
  for (const sender of senders.slice(0, 2)) pace.add(sender);
  mock.timers.tick(499);
  assert.deepEqual([sent, pace.isHeld], [[], true]);
  mock.timers.tick(1);
  assert.deepEqual([sent, pace.isHeld], [[0, 1], false]);
});

test('adjoining texts are joined as far as they fit, and events stay between them', () => {
  const long = 'x'.repeat(PIECE_MAX - 1);
  const bodies: Pick<Piece, 'text' | 'event'>[] = [{ text: 'é' }, { text: 'a' }, { event: { type: 'step', data: 1 } }, { text: 'b' }, { text: long }, { text: 'c' }];
  let next = 0;
  const pieces = bodies.map((body): Piece => ({ at: next, next: (next += body.text === undefined ? 1 : Buffer.byteLength(body.text)), ...body }));
  assert.deepEqual(joined(pieces), [
    { at: 0, next: 3, text: 'éa' },
    { at: 3, next: 4, event: { type: 'step', data: 1 } },
    { at: 4, next: 4 + PIECE_MAX, text: `b${long}` },
    { at: 4 + PIECE_MAX, next: 5 + PIECE_MAX, text: 'c' },
  ]);
});
