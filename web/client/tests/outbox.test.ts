/** A session's outbox: sending, order, and failures. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeptEntry } from '../src/api.js';
import { OUTBOX_AGE_MAX_MS, OUTBOX_ENTRIES_MAX } from '../src/limits.js';
import { owned } from '../src/outbox.js';
import { step } from '../src/session.js';
import { Bench, jwt, LIMITS } from './bench.js';

/** The keys that an app sees in its outbox. */
const listed = (bench: Bench) => owned(bench.state).map((one) => one.key);

test('the outbox is bounded in entries, size and age', () => {
  const bench = new Bench().tell({ is: 'connect' });
  for (let n = 0; n < OUTBOX_ENTRIES_MAX; n += 1) bench.publish(`k${n}`);
  assert.equal(bench.take('settle').length, 0);
  assert.equal(bench.publish('over').take('settle')[0]!.failure!.code, 'outbox_full');
  assert.equal(bench.publish('large', 'c', `"${'é'.repeat(40_000)}"`).take('settle')[0]!.failure!.code, 'too_large');
  bench.pass(OUTBOX_AGE_MAX_MS - 1);
  assert.equal(bench.take('settle').length, 0);
  bench.pass(1);
  const expired = bench.take('settle');
  assert.deepEqual([expired.length, expired[0]!.failure!.code], [OUTBOX_ENTRIES_MAX, 'expired']);
  bench.take('forget');
  bench.publish('new');
  assert.equal(bench.take('settle').length, 0);
  assert.deepEqual([bench.take('forget')[0]!.key, bench.state.outbox.length], ['k0', OUTBOX_ENTRIES_MAX]);
  bench.tell({ is: 'retry', key: 'k1', newKey: 'k1b' });
  assert.ok(bench.state.outbox.some((one) => one.key === 'k1b' && one.state === 'queued'), 'the gateway may have forgotten the old key');
});

test('an entry is neither listed nor sent while another user is connected, and sent when its author is back', () => {
  const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: jwt('ann') });
  bench.publish('early').welcome({ user: 'ann' }).closed(1006).publish('later', 'd');
  assert.deepEqual(bench.take('save').map((effect) => effect.entry.user), ['ann', 'ann']);
  bench.pass(1000).closed(4501).pass(2000).tell({ is: 'token', token: jwt('bob') });
  assert.deepEqual(listed(bench), [], 'before the connection');
  bench.welcome({ user: 'bob' });
  bench.publish('of bob', 'd').tell({ is: 'retry', key: 'early', newKey: 'x' }).tell({ is: 'discard', key: 'later' });
  const { id, body } = bench.asked('publish');
  assert.deepEqual([listed(bench), body['key'], bench.take('settle')], [['of bob'], 'of bob', []]);
  bench.frame({ id, published: { channel: 'd', key: 'of bob', epoch: 'e', offset: 1, time: 1, duplicate: false } }).pass(5_000).frame({ beat: { revision: 1 } }).pass(5_000).closed(4501).pass(1000).sent();
  bench.tell({ is: 'token', token: jwt('ann') }).welcome({ user: 'ann' });
  assert.deepEqual(bench.sent().map((frame) => (frame['publish'] as { key: string }).key), ['early', 'later']);
  assert.deepEqual(listed(bench), ['early', 'later']);
});

test('an entry belongs to the user of the options, else of the token, else of the connection', () => {
  const author = (bench: Bench) => bench.publish('k').take('save')[0]!.entry.user;
  assert.equal(author(new Bench({ account: '42', token: jwt('ann') })), '42');
  assert.equal(author(new Bench({ token: jwt('käthe') })), 'käthe');
  for (const token of [undefined, 'opaque', 'a.b.c', `e30.${btoa('{"sub":7}')}.x`, jwt('')]) assert.equal(author(new Bench({ token })), undefined, token);
  const named = new Bench({ token: jwt('ann') }).publish('before').online({ user: 'user-7' }).publish('after');
  assert.deepEqual(listed(named), ['before', 'after'], 'the gateway may name the same user differently');
  assert.equal(named.asked('publish').body['key'], 'before');
});

test('a full outbox drops nothing of another user', () => {
  const bench = new Bench({ token: jwt('ann') }).tell({ is: 'connect' });
  const error = { code: 'forbidden', message: '' } as const;
  bench.tell({ is: 'restored', entries: [{ key: 'bobs', order: 1, channel: 'c', json: '1', at: bench.now, user: 'bob', error }] });
  for (let n = 1; n < OUTBOX_ENTRIES_MAX; n += 1) bench.publish(`k${n}`);
  assert.equal(bench.publish('over').take('settle')[0]!.failure!.code, 'outbox_full');
  assert.deepEqual(bench.take('forget'), []);
});

test('a final error fails the entry and sends the next; a transient one is retried with its key, in order', () => {
  const bench = new Bench().online().publish('k1').publish('k2').publish('k3');
  const first = bench.asked('publish');
  bench.frame({ id: first.id, error: { code: 'unconfirmed', message: '', retry_ms: 400 } }).pass(399);
  assert.equal(bench.sent().length, 0);
  const again = bench.pass(1).asked('publish');
  assert.equal(again.body['key'], 'k1');
  bench.frame({ id: again.id, error: { code: 'forbidden', message: 'no' } });
  const second = bench.asked('publish');
  assert.equal(second.body['key'], 'k2');
  assert.deepEqual(bench.take('settle').map((effect) => [effect.key, effect.failure!.code]), [['k1', 'forbidden']]);
  assert.equal(bench.take('save').at(-1)!.entry.error!.code, 'forbidden', 'a failure is stored as well');
  assert.ok(bench.tell({ is: 'discard', key: 'k2' }).state.outbox.some((one) => one.key === 'k2'), 'an entry that is being sent stays');
});

test('restored entries are sent first, in their order, and not twice', () => {
  const stored = (key: string, error?: KeptEntry['error']): KeptEntry => ({ key, order: 1, channel: 'c', json: '1', at: 1_000_000, error });
  const bench = new Bench().tell({ is: 'connect' }).publish('new');
  bench.tell({ is: 'restored', entries: [stored('a'), stored('bad', { code: 'forbidden', message: '' }), stored('b'), stored('new')] });
  assert.deepEqual(bench.state.outbox.map((one) => [one.key, one.state]), [['a', 'queued'], ['bad', 'failed'], ['b', 'queued'], ['new', 'queued']]);
  assert.equal(bench.welcome().asked('publish').body['key'], 'a');
});

test('an entry that version 0.1.0 marked `other_user` is sent by its author', () => {
  const error = { code: 'other_user', message: '' } as unknown as KeptEntry['error'];
  const bench = new Bench().online().tell({ is: 'restored', entries: [{ key: 'k', order: 1, channel: 'c', json: '1', at: 1_000_000, user: 'u', error }] });
  assert.equal(bench.asked('publish').body['key'], 'k');
});

test('an entry is not sent before it is stored', () => {
  const bench = new Bench().online();
  const [state, effects] = step(bench.state, { is: 'publish', entry: { key: 'k', channel: 'c', json: '1', data: 1 } }, bench.now, 0);
  assert.deepEqual(effects.map((effect) => effect.do), ['save']);
  const [, later] = step(state, { is: 'saved', key: 'k' }, bench.now, 0);
  assert.deepEqual(later.map((effect) => effect.do), ['send']);
});

test('publishing keeps to the rate that the gateway allows', () => {
  const bench = new Bench().online();
  for (let n = 0; n < 100; n += 1) bench.publish(`k${n}`, `c${n}`);
  assert.equal(bench.sent().filter((frame) => 'publish' in frame).length, 40);
  for (let n = 0; n < 10; n += 1) bench.pass(100).frame({ beat: { revision: 1 } });
  assert.equal(bench.sent().filter((frame) => 'publish' in frame).length, 20);
});

test('an entry written before the first connection is stored with its user before it is sent', () => {
  const bench = new Bench().tell({ is: 'connect' }).publish('early');
  bench.take('save');
  bench.welcome();
  assert.equal(bench.asked('publish').body['key'], 'early');
  assert.deepEqual(bench.take('save').map((effect) => effect.entry.user), ['u']);
});

test('a retry under a new key is stored before the old key is removed', () => {
  const bench = new Bench().tell({ is: 'connect' }).publish('old').pass(OUTBOX_AGE_MAX_MS);
  bench.effects = [];
  bench.tell({ is: 'retry', key: 'old', newKey: 'new' });
  assert.deepEqual(bench.effects.map((effect) => effect.do).filter((what) => what === 'save' || what === 'forget'), ['save', 'forget']);
});

test('entries taken over from several tabs are sent in the order in which they were written', () => {
  const stored = (key: string, order: number): KeptEntry => ({ key, order, channel: 'c', json: '1', at: order });
  const bench = new Bench().tell({ is: 'connect' }).publish('mine');
  bench.tell({ is: 'restored', entries: [stored('k1', 1001), stored('k2', 1002)] });
  bench.tell({ is: 'restored', entries: [stored('k3', 1003), stored('k4', 1004)] });
  assert.deepEqual(bench.state.outbox.map((one) => one.key), ['k1', 'k2', 'k3', 'k4', 'mine']);
});

test('committed entries that wait for their publication are dropped to make room', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c', from: { epoch: 'e', offset: 0 } });
  bench.online({ limits: { ...LIMITS, publishes_per_s: 0 } });
  for (let n = 0; n < OUTBOX_ENTRIES_MAX + 10; n += 1) {
    const { id, body } = bench.publish(`k${n}`).asked('publish');
    bench.frame({ id, published: { channel: 'c', key: body['key'] as string, epoch: 'e', offset: 10_000 + n, time: 1, duplicate: false } });
  }
  assert.ok(bench.take('settle').every((effect) => effect.published));
  assert.deepEqual([bench.state.outbox.length, bench.state.outbox[0]!.key], [OUTBOX_ENTRIES_MAX, 'k10']);
});

test('a publish waits for a pending subscription of its channel, so that it is received back', () => {
  const publishes = (bench: Bench) => bench.sent().filter((frame) => 'publish' in frame).length;
  const asked = () => {
    const bench = new Bench().online().tell({ is: 'subscribe', channel: 'c' });
    return { bench, subscribe: bench.publish('k', 'c').publish('other', 'd').asked('subscribe') };
  };
  const { bench, subscribe } = asked();
  assert.deepEqual(bench.state.outbox.map((one) => [one.key, one.state]), [['k', 'queued'], ['other', 'sending']]);
  bench.frame({ id: subscribe.id, error: { code: 'unavailable', message: '', retry_ms: 500 } });
  assert.equal(publishes(bench), 0, 'a temporary refusal');
  const again = bench.pass(500).asked('subscribe');
  bench.frame({ id: again.id, subscribed: { channel: 'c', epoch: 'e', head: 3, floor: 1 } });
  assert.equal(bench.asked('publish').body['key'], 'k');

  const refused = asked();
  refused.bench.sent();
  refused.bench.frame({ id: refused.subscribe.id, error: { code: 'forbidden', message: '' } });
  assert.equal(refused.bench.asked('publish').body['key'], 'k', 'a user without the right to read may still write');
  const left = asked();
  left.bench.sent();
  left.bench.tell({ is: 'unsubscribe', channel: 'c' });
  assert.equal(publishes(left.bench), 1, 'the app has left the channel');
  const known = new Bench().online().tell({ is: 'subscribe', channel: 'c', from: { epoch: 'e', offset: 0 } });
  assert.equal(publishes(known.publish('k', 'c')), 1, 'with a cursor, nothing can be missed');
});
