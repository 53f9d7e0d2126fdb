/** A session's token: requested, sent, refreshed, refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bench } from './bench.js';

test('a refused token is tried again, fresh from the callback, until it is refused 30 s after the first time', () => {
  const bench = new Bench({ renewable: true }).tell({ is: 'connect' });
  assert.deepEqual([bench.take('token').length, bench.take('open').length], [1, 0]);
  bench.tell({ is: 'token', token: 't1' });
  assert.equal(bench.opened().asked('connect').body['token'], 't1');
  bench.closed(4501, 'unauthenticated: the token expired').pass(10_000);
  assert.equal(bench.take('token').length, 1);
  bench.tell({ is: 'token', token: 't2' });
  assert.equal(bench.opened().asked('connect').body['token'], 't2');
  const first = bench.now - 10_000;
  const waits: number[] = [];
  while (bench.closed(4501, 'unauthenticated: the token expired').state.view.phase === 'waiting') {
    assert.ok(bench.now - first < 30_000, 'a second refusal that late is final');
    waits.push(bench.waits());
    bench.pass(bench.waits()).take('token');
    bench.tell({ is: 'token', token: 'again' }).opened();
  }
  assert.deepEqual([bench.state.view.phase, waits], ['closed', [1000, 2000, 4000, 7500, 7500]], 'with backoff in between');
  bench.tell({ is: 'connect' }).tell({ is: 'token', token: 'new' }).opened().closed(4501);
  assert.equal(bench.state.view.phase, 'waiting', 'reconnect() starts again');
});

test('a fixed token that is refused is tried again for 30 s; without a token the refusal is final', () => {
  const bench = new Bench({ token: 'fixed' }).tell({ is: 'connect' }).closed(4501).pass(500).closed(4501);
  assert.equal(bench.state.view.phase, 'waiting');
  bench.pass(1000).opened();
  assert.equal(bench.asked('connect').body['token'], 'fixed');
  bench.pass(14_000).closed(1006).pass(15_000).closed(4501);
  assert.equal(bench.state.view.phase, 'closed');
  assert.equal(new Bench().tell({ is: 'connect' }).closed(4501).state.view.phase, 'closed');
});

test('a stable connection between two refusals makes the second one a first', () => {
  const bench = new Bench({ token: 'fixed' }).tell({ is: 'connect' }).closed(4501).pass(500).welcome().pass(40_000).closed(4501);
  assert.equal(bench.state.view.phase, 'waiting');
});

test('a refusal that says when to return is not final', () => {
  for (const code of [4403, 4501, 4503]) {
    const bench = new Bench().tell({ is: 'connect' }).closed(code, 'unauthenticated: not valid yet; retry_ms=12000');
    assert.equal(bench.waits(), 12_000);
  }
});

test('a token callback that fails or hangs fails the attempt', () => {
  const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', message: 'no' });
  assert.deepEqual([bench.because.reason, bench.because.message, bench.waits()], ['no_token', 'no', 500]);
  bench.pass(500).pass(15_000);
  assert.equal(bench.because.reason, 'silent');
  assert.equal(bench.take('token').length >= 2, true);
});

test('a token is refreshed before it expires, and reused between connections', () => {
  const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: 't1' });
  bench.take('token');
  // The remaining lifetime counts: the gateway's clock and the local one are an hour apart.
  const expires = (inMs: number) => ({ expires: bench.now - 3_600_000 + inMs, expires_in_ms: inMs });
  bench.welcome(expires(600_000));
  for (let n = 0; n < 50; n += 1) bench.pass(10_000).frame({ beat: { revision: 1 } });
  assert.equal(bench.take('token').length, 0);
  bench.pass(10_000).frame({ beat: { revision: 1 } });
  assert.equal(bench.take('token').length, 1, '60 to 120 s before');
  const { id, body } = bench.tell({ is: 'token', token: 't2' }).asked('refresh');
  assert.deepEqual(body, { token: 't2' });
  const refreshed = expires(900_000);
  bench.frame({ id, refreshed });
  assert.ok('session' in bench.state.view && bench.state.view.session.expires === refreshed.expires);
  bench.take('token');
  for (let n = 0; n < 75; n += 1) bench.pass(10_000).frame({ beat: { revision: 1 } });
  assert.equal(bench.take('token').length, 0, 'the callback is not called repeatedly');
  bench.closed(1006).pass(1000);
  assert.equal(bench.opened().asked('connect').body['token'], 't2', 'the last token is reused');
});

test('an expired token is not sent again', () => {
  const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: 't1' });
  bench.welcome({ expires: bench.now + 5_000, expires_in_ms: 5_000 }).pass(6_000).closed(1006).take('token');
  bench.pass(500);
  assert.deepEqual([bench.take('token').length, bench.state.links.get(bench.state.next!)!.phase], [1, 'token']);
});

test('after a connect that the gateway cannot read, a fresh token is requested', () => {
  for (const code of ['malformed', 'too_large'] as const) {
    const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: 'not a token' }).opened();
    bench.take('token');
    bench.frame({ id: bench.asked('connect').id, error: { code, message: '' } }).pass(500);
    assert.equal(bench.take('token').length, 1);
    assert.equal(bench.tell({ is: 'token', token: 't2' }).opened().asked('connect').body['token'], 't2');
  }
  const passing = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: 't1' }).opened();
  passing.frame({ id: passing.asked('connect').id, error: { code: 'unavailable', message: '', retry_ms: 500 } }).take('token');
  assert.equal(passing.pass(500).opened().asked('connect').body['token'], 't1', 'a transient error does not concern the token');
});

/** Returns an online session whose token is about to expire and whose callback has just been called. */
function refreshing(): Bench {
  const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: 't1' });
  bench.welcome({ expires: bench.now + 110_000, expires_in_ms: 110_000 });
  bench.take('token');
  for (let n = 0; !bench.take('token').length; n += 1) {
    assert.ok(n < 110, 'the callback is called in time');
    beats(bench, 1);
  }
  return bench;
}

function beats(bench: Bench, seconds: number): void {
  for (let n = 0; n < seconds; n += 1) bench.pass(1_000).frame({ beat: { revision: 1 } });
}

test('a callback that hangs during a refresh is called again', () => {
  const bench = refreshing();
  beats(bench, 14);
  assert.equal(bench.take('token').length, 0);
  beats(bench, 1);
  assert.equal(bench.take('token').length, 1);
  assert.equal(bench.tell({ is: 'token', token: 't2' }).asked('refresh').body['token'], 't2');
});

test('a token that the gateway cannot check now is sent again without calling the callback', () => {
  const bench = refreshing().tell({ is: 'token', token: 't2' });
  const error = { code: 'unavailable', message: '', retry_ms: 2000, dependency: 'auth' } as const;
  bench.frame({ id: bench.asked('refresh').id, error });
  beats(bench, 2);
  assert.equal(bench.sent().length, 0, 'with jitter, later than the gateway asked');
  beats(bench, 1);
  const again = bench.asked('refresh');
  assert.deepEqual([again.body['token'], bench.take('token').length], ['t2', 0]);
  bench.frame({ id: again.id, refreshed: { expires: bench.now + 600_000, expires_in_ms: 600_000 } });
  beats(bench, 60);
  assert.deepEqual([bench.sent(), bench.take('token')], [[], []]);
});

test('after a refresh is refused, the callback is called again before the old token expires', () => {
  const bench = refreshing().tell({ is: 'token', token: 'bad' });
  bench.frame({ id: bench.asked('refresh').id, error: { code: 'unauthorized', message: '' } });
  beats(bench, 22);
  assert.equal(bench.take('token').length, 0);
  beats(bench, 1);
  assert.equal(bench.take('token').length, 1);
  assert.equal(bench.tell({ is: 'token', token: 't2' }).asked('refresh').body['token'], 't2');
});

test('a refresh reply from the replaced connection does not affect the new one', () => {
  const bench = refreshing().tell({ is: 'token', token: 't2' });
  const { id } = bench.asked('refresh');
  const old = bench.state.link!;
  bench.frame({ drain: { reason: 'deploy', slot_ms: 0, deadline_ms: 9000 } }).pass(100);
  bench.publish('k').welcome({ expires: bench.now + 40_000, expires_in_ms: 40_000 });
  const { refreshAt } = bench.state;
  bench.frame({ id, refreshed: { expires: bench.now + 600_000, expires_in_ms: 600_000 } }, old);
  assert.equal(bench.state.refreshAt, refreshAt);
});
