/** The rules of a session, step by step. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REQUEST_MS, REQUESTS_MAX } from '../src/limits.js';
import { wakeAt } from '../src/session.js';
import { Bench, LIMITS, log } from './bench.js';

test('only stable time online resets the attempt counter, and 1013 counts twice', () => {
  const bench = new Bench().online();
  bench.closed(1006);
  assert.equal(bench.waits(), 500, 'attempt 1 of 1000 ms, half');
  bench.pass(500).welcome().closed(1013);
  assert.equal(bench.waits(), 2000, 'attempt 3');
  bench.pass(2000).welcome().pass(9_999).closed(1006);
  assert.equal(bench.waits(), 4000, 'not stable yet');
  bench.pass(4000).welcome().pass(10_000).closed(1006);
  assert.equal(bench.waits(), 500, 'stable');
});

test('a retry time from the gateway is not brought forward by the page or the network', () => {
  const bench = new Bench().online().closed(1011, 'unavailable; dependency=store; retry_ms=5200; ref=k3f9');
  assert.deepEqual(bench.because, { code: 1011, reason: 'unavailable', message: 'The gateway ended the connection: unavailable (1011).', dependency: 'store', reference: 'k3f9', retryMs: 5200 });
  bench.tell({ is: 'visible' }).tell({ is: 'network', online: false }).tell({ is: 'network', online: true });
  assert.equal(bench.waits(), 5200);
  const other = new Bench().online().pass(20_000).closed(1006).tell({ is: 'network', online: false });
  assert.equal(other.state.view.phase, 'offline');
  other.tell({ is: 'network', online: true });
  assert.equal(other.waits(), 100, 'without a hint, the network brings it forward');
  other.pass(100).closed(1006).tell({ is: 'visible' });
  assert.equal(other.waits(), 1000, 'no sooner than a second after the last attempt');
});

test('the personal channel is that of the last connection', () => {
  const bench = new Bench().online({ personal: '$user:u' }).closed(1006);
  assert.equal(bench.state.personal, '$user:u', 'it is kept between connections');
  bench.pass(500).welcome();
  assert.equal(bench.state.personal, undefined, 'auth is off now');
});

test('a retry_ms of 0 still waits 100 ms', () => {
  const bench = new Bench().online().closed(1012, 'restart; retry_ms=0');
  assert.equal(bench.waits(), 100);
});

test('a final code stops the client, and reconnect() starts it again', () => {
  const bench = new Bench().online().closed(4503, 'forbidden: not on this server');
  assert.deepEqual([bench.state.view.phase, bench.because.message, wakeAt(bench.state)], ['closed', 'not on this server', Infinity]);
  bench.tell({ is: 'network', online: true }).tell({ is: 'visible' });
  assert.equal(bench.take('open').length, 1);
  bench.tell({ is: 'connect' });
  assert.equal(bench.take('open').length, 1);
});

test('silence, an unanswered command or an unanswered probe ends a connection', () => {
  const bench = new Bench().online().pass(49_999);
  assert.equal(bench.state.view.phase, 'online');
  assert.equal(bench.pass(1).because.reason, 'silent');
  const other = new Bench().online().publish('k').pass(9_000).frame({ beat: { revision: 1 } }).pass(1000);
  assert.equal(other.because.reason, 'unanswered');
  assert.equal(other.state.outbox[0]!.state, 'queued');
  const third = new Bench().online().pass(30_000).tell({ is: 'visible' });
  third.asked('ping');
  assert.equal(third.pass(5_000).because.reason, 'silent');
  const well = new Bench().online().pass(30_000).tell({ is: 'visible' });
  const { id } = well.asked('ping');
  assert.equal(well.frame({ id, error: { code: 'unknown_command', message: '' } }).pass(20_000).state.view.phase, 'online');
});

test('a client that lost its connection says what it has of open streams', () => {
  let streams: object | undefined = { 59: [1, 1200] };
  const bench = new Bench({ reading: (channel) => (channel === 'c' ? streams : undefined) }).tell({ is: 'subscribe', channel: 'c' }).tell({ is: 'subscribe', channel: 'd' }).online();
  const asked = bench.sent().filter((frame) => 'subscribe' in frame);
  assert.deepEqual(asked.map((frame) => frame['subscribe']), [{ channel: 'c' }, { channel: 'd' }], 'they go with a cursor');
  asked.forEach((frame, index) => bench.frame({ id: frame['id'] as number, subscribed: log(index ? 'd' : 'c', 7) }));
  bench.frame({ synced: { channel: 'c', offset: 7 } }).frame({ synced: { channel: 'd', offset: 7 } });
  bench.closed(1006).pass(500).opened();
  const recover = (more: object) => [{ channel: 'c', epoch: 'e', offset: 7, ...more }, { channel: 'd', epoch: 'e', offset: 7 }];
  assert.deepEqual(bench.asked('connect').body['recover'], recover({ streams }));
  streams = undefined;
  bench.closed(1006).pass(60_000).opened();
  assert.deepEqual(bench.asked('connect').body['recover'], recover({}));
  // One that is too long for the bound of a frame is left out, and its channel is subscribed after the connect.
  streams = { 59: 'x'.repeat(70_000) };
  bench.closed(1006).pass(60_000).opened();
  assert.deepEqual(bench.asked('connect').body['recover'], []);
});

test('on a drain the client connects in its slot and recovers before it closes the old connection', () => {
  // The old connection adds to the streams meanwhile, so that what it has now may not adjoin what the new one sends.
  const bench = new Bench({ reading: () => ({ 59: [1, 1200] }) }).tell({ is: 'subscribe', channel: 'c' }).online();
  const { id } = bench.asked('subscribe');
  bench.frame({ id, subscribed: log('c', 7) }).frame({ synced: { channel: 'c', offset: 7 } });
  const old = bench.state.link!;
  bench.publish('k1').frame({ drain: { reason: 'deploy', slot_ms: 700, deadline_ms: 20_000 } });
  const publish = bench.asked('publish');
  bench.take('open');
  assert.equal(bench.pass(699).state.view.phase, 'moving');
  assert.equal(bench.take('open').length, 0);
  bench.pass(1);
  assert.equal(bench.take('open').length, 1);
  const one = (offset: number) => ({ publication: { channel: 'c', offset, user: 'u', time: 1, data: null } });
  bench.opened();
  const connect = bench.asked('connect');
  assert.deepEqual(connect.body['recover'], [{ channel: 'c', epoch: 'e', offset: 7 }]);
  bench.frame(one(8), old);
  bench.greet(connect.id, { recovered: [log('c', 8)] });
  assert.deepEqual([bench.state.view.phase, bench.take('close').length], ['online', 0]);
  bench.frame(one(9), old).frame(one(8)).frame(one(9)).frame({ synced: { channel: 'c', offset: 9 } });
  assert.equal(bench.take('close').length, 0, 'a publish is unanswered on the old connection');
  bench.publish('k2');
  assert.equal(bench.sent().length, 0, 'the next publish of the channel waits for it');
  bench.frame({ id: publish.id, published: { channel: 'c', key: 'k1', epoch: 'e', offset: 10, time: 1, duplicate: false } }, old);
  assert.deepEqual(bench.take('close').map((effect) => effect.link), [old]);
  assert.equal(bench.asked('publish').body['key'], 'k2');
  assert.deepEqual(bench.take('emit').filter((effect) => effect.event === 'publication').map((effect) => (effect.value as { offset: number }).offset), [8, 9]);
  assert.equal(bench.state.subs.get('c')!.view.phase, 'live', 'the app sees no interruption');
});

test('a move that is refused keeps the old connection and is retried until the deadline', () => {
  const bench = new Bench().online();
  const old = bench.state.link!;
  bench.frame({ drain: { reason: 'deploy', slot_ms: 0, deadline_ms: 10_000 } });
  bench.pass(99);
  assert.equal(bench.take('open').length, 1, 'a slot of 0 does not cause a busy loop');
  bench.pass(1).take('open');
  bench.closed(1006).pass(499);
  assert.equal(bench.take('open').length, 0, 'with backoff');
  bench.pass(1);
  assert.equal(bench.take('open').length, 1);
  bench.closed(1012, 'restart; retry_ms=3000');
  assert.deepEqual([bench.state.view.phase, bench.state.link], ['moving', old]);
  bench.pass(2999);
  assert.equal(bench.take('open').length, 0, 'as the gateway asked');
  bench.pass(1).closed(1006).pass(6000).closed(1006).pass(10_000).take('open');
  assert.equal(bench.state.next, undefined, 'not after the deadline');
  bench.frame({ bye: { code: 1012, reason: 'restart', retry_ms: 1200 } }, old).closed(1012, '', old);
  assert.deepEqual([bench.state.view.phase, bench.waits()], ['waiting', 1200]);
});

test('a hint of a drain is followed by one attempt, and a rebalance is invisible', () => {
  const bench = new Bench().online();
  const old = bench.state.link!;
  bench.take('open');
  bench.frame({ drain: { reason: 'rebalance', slot_ms: 0, deadline_ms: 10_000, to: 'gw-2' } });
  bench.pass(100);
  assert.deepEqual([bench.state.view.phase, bench.take('open').map(({ to }) => to)], ['online', ['gw-2']]);
  bench.closed(1006).pass(1000);
  assert.deepEqual(bench.take('open').map(({ to }) => to), [undefined], 'the next attempt goes where it is sent');
  bench.closed(1006).pass(20_000);
  assert.deepEqual([bench.state.move, bench.state.link, bench.state.view.phase], [undefined, old, 'online'], 'nothing changed');
  bench.frame({ drain: { reason: 'deploy', slot_ms: 0, deadline_ms: 10_000 } }).pass(100);
  assert.deepEqual([bench.state.view.phase, bench.take('open').at(-1)!.to], ['moving', undefined]);
});

test('with affinity, one attempt after a loss asks for the last instance, unless that restarts', () => {
  const hints = (bench: Bench) => bench.take('open').map(({ to }) => to);
  const bench = new Bench({ affinity: true }).online();
  const { view } = bench.state;
  const instance = 'session' in view ? view.session.instance : '';
  assert.deepEqual(hints(bench), [undefined], 'not at first');
  bench.closed(1006).pass(500);
  assert.deepEqual(hints(bench), [instance]);
  bench.closed(1006).pass(1000);
  assert.deepEqual(hints(bench), [undefined]);
  bench.welcome().pass(10_000).closed(1012, 'restart; retry_ms=100').pass(100);
  assert.deepEqual(hints(bench), [undefined]);
  bench.welcome().pass(10_000).closed(1011, 'unavailable; dependency=store; retry_ms=61000; ref=k').pass(61_000);
  assert.deepEqual(hints(bench), [undefined], 'too late');
  const plain = new Bench().online();
  hints(plain);
  plain.closed(1006).pass(500);
  assert.deepEqual(hints(plain), [undefined], 'off by default');
});

test('a connection lost during a move waits for the attempt in progress', () => {
  const bench = new Bench().online();
  const old = bench.state.link!;
  bench.frame({ drain: { reason: 'deploy', slot_ms: 0, deadline_ms: 10_000 } }).pass(100).closed(1006, '', old);
  assert.deepEqual([bench.state.view.phase, bench.state.retryAt], ['connecting', undefined]);
  assert.equal(bench.welcome().state.view.phase, 'online');
  const other = new Bench().online().frame({ drain: { reason: 'deploy', slot_ms: 0, deadline_ms: 10_000 } }).pass(100);
  const { link } = other.state;
  other.closed(1012, 'restart; retry_ms=4000', link).pass(10).closed(1006);
  assert.equal(other.tell({ is: 'visible' }).waits(), 3990, 'the wait that the gateway asked for outlives the attempt');
});

test('history requests are bounded, time out, and are sent again on the next connection', () => {
  const bench = new Bench().tell({ is: 'connect' });
  for (let n = 0; n <= REQUESTS_MAX; n += 1) bench.tell({ is: 'history', request: n, body: { channel: 'c' } });
  assert.deepEqual(bench.take('answer').map((effect) => effect.failure!.code), ['too_many']);
  bench.welcome().sent();
  bench.closed(1006).pass(500).welcome();
  assert.equal(bench.sent().filter((frame) => 'history' in frame).length, 16, 'at most the window');
  bench.closed(1006).pass(REQUEST_MS);
  assert.deepEqual([...new Set(bench.take('answer').map((effect) => effect.failure!.code))], ['timeout']);
  bench.tell({ is: 'close' }).tell({ is: 'history', request: 99, body: {} });
  assert.equal(bench.take('answer')[0]!.failure!.code, 'closed');
});

test('a refused subscription reports its error and is retried on the next connection', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c' }).online();
  bench.frame({ id: bench.asked('subscribe').id, error: { code: 'unavailable', message: 'store', retry_ms: 300 } });
  assert.deepEqual([bench.state.subs.get('c')!.view.phase, bench.state.subs.get('c')!.view.error!.code], ['waiting', 'unavailable']);
  bench.pass(300).frame({ id: bench.asked('subscribe').id, error: { code: 'forbidden', message: 'no' } }).pass(5000);
  assert.equal(bench.state.subs.get('c')!.view.phase, 'refused');
  assert.equal(bench.sent().length, 0);
  bench.closed(1006).pass(500).welcome().asked('subscribe');
});

/** Returns a bench with live subscriptions to these channels. */
function live(...channels: string[]): Bench {
  const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: 't1' });
  for (const channel of channels) bench.tell({ is: 'subscribe', channel, from: { epoch: 'e', offset: 7 } });
  bench.welcome({ recovered: channels.map((channel) => log(channel, 7)) });
  for (const channel of channels) bench.frame({ synced: { channel, offset: 7 } });
  bench.take('emit');
  return bench;
}

const phases = (bench: Bench) => Object.fromEntries([...bench.state.subs.values()].map((sub) => [sub.name, sub.view.phase]));
const subscribes = (bench: Bench) => bench.sent().filter((frame) => 'subscribe' in frame).map((frame) => frame['subscribe'] as { channel: string });

test('a subscription that the gateway ends is refused, and requested again after each refresh', () => {
  const bench = live('a', 'b');
  const refresh = () => {
    bench.pass(100).state = { ...bench.state, refreshAt: bench.now };
    bench.pass(0).tell({ is: 'token', token: 't2' }).frame({ id: bench.asked('refresh').id, refreshed: {} });
  };
  refresh();
  bench.frame({ unsubscribed: { channel: 'a', because: 'forbidden' } });
  assert.deepEqual([phases(bench), bench.state.subs.get('a')!.view.error!.code, subscribes(bench)], [{ a: 'refused', b: 'live' }, 'forbidden', []]);
  bench.frame({ publication: { channel: 'a', offset: 8, user: 'u', time: 1, data: null } });
  assert.deepEqual(bench.take('emit'), [], 'nothing is delivered any more');
  refresh();
  const { id, body } = bench.asked('subscribe');
  assert.deepEqual(body, { channel: 'a', recover: { epoch: 'e', offset: 7 } });
  bench.frame({ id, error: { code: 'forbidden', message: 'no' } }).pass(5000);
  assert.deepEqual([phases(bench), subscribes(bench)], [{ a: 'refused', b: 'live' }, []]);
  refresh();
  bench.frame({ id: bench.asked('subscribe').id, subscribed: log('a', 9) });
  for (const offset of [8, 9]) bench.frame({ publication: { channel: 'a', offset, user: 'u', time: 1, data: null } });
  bench.frame({ synced: { channel: 'a', offset: 9 } });
  assert.deepEqual(bench.take('emit').map((effect) => effect.event), ['publication', 'publication', 'synced'], 'nothing was missed');
  bench.frame({ unsubscribed: { channel: 'a', because: 'a_word_of_a_later_version' } });
  assert.equal(phases(bench)['a'], 'refused');
});

test('a subscription that the gateway ended is requested again when a repeated check of the token gives the right back', () => {
  const bench = live('a', 'b');
  bench.frame({ refreshed: {} }).frame({ unsubscribed: { channel: 'a', because: 'forbidden' } }).pass(5000);
  assert.deepEqual([phases(bench), subscribes(bench)], [{ a: 'refused', b: 'live' }, []]);
  const refreshed = { expires: bench.now + 600_000, expires_in_ms: 600_000 };
  bench.frame({ refreshed });
  assert.deepEqual(bench.asked('subscribe').body, { channel: 'a', recover: { epoch: 'e', offset: 7 } });
  assert.ok('session' in bench.state.view && bench.state.view.session.expires === refreshed.expires);
});

test('a page that was on its way when the gateway ended the subscription is not delivered', () => {
  const bench = live('a').frame({ beat: { revision: 1, heads: { a: 8 } } });
  const { id } = bench.asked('history');
  bench.frame({ unsubscribed: { channel: 'a', because: 'forbidden' } });
  bench.frame({ id, history: { channel: 'a', epoch: 'e', head: 8, floor: 1, publications: [{ channel: 'a', offset: 8, user: 'u', time: 1, data: null }] } });
  assert.deepEqual([phases(bench)['a'], bench.take('emit')], ['refused', []]);
});

test('each place that becomes free is taken by a channel that was refused for want of one', () => {
  const bench = live('a', 'b');
  bench.state = { ...bench.state, refreshAt: bench.now + 150 };
  for (const channel of ['c', 'd', 'e']) bench.tell({ is: 'subscribe', channel });
  const asked = bench.sent().filter((frame) => 'subscribe' in frame);
  for (const { id } of asked) bench.frame({ id: id as number, error: { code: 'too_large', message: 'limits.subscriptions' } });
  bench.pass(100);
  assert.deepEqual(phases(bench), { a: 'live', b: 'live', c: 'refused', d: 'refused', e: 'refused' });
  bench.pass(100).tell({ is: 'token', token: 't2' }).frame({ id: bench.asked('refresh').id, refreshed: {} });
  assert.deepEqual(subscribes(bench), [], 'a refresh frees no place');
  bench.tell({ is: 'unsubscribe', channel: 'a' });
  const { id } = bench.asked('unsubscribe');
  assert.deepEqual(phases(bench)['c'], 'refused', 'not before the gateway has answered');
  bench.frame({ id, unsubscribed: { channel: 'a' } });
  assert.deepEqual(subscribes(bench), [{ channel: 'c' }]);
  bench.frame({ unsubscribed: { channel: 'b', because: 'forbidden' } });
  assert.deepEqual(subscribes(bench), [{ channel: 'd' }], 'also if the gateway ended the subscription');
});

test('after a connect that was too large, the next one recovers nothing', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c', from: { epoch: 'e', offset: 3 } }).tell({ is: 'connect' }).opened();
  const { id } = bench.asked('connect');
  bench.frame({ id, error: { code: 'too_large', message: 'limits.subscriptions' } }).pass(500).opened();
  const again = bench.asked('connect');
  assert.deepEqual(again.body['recover'], []);
  bench.greet(again.id, {});
  assert.deepEqual(bench.asked('subscribe').body, { channel: 'c', recover: { epoch: 'e', offset: 3 } });
});

test('a hole requested on a lost connection is requested again', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c', from: { epoch: 'e', offset: 3 } }).tell({ is: 'connect' });
  bench.welcome({ recovered: [{ ...log('c', 900), because: 'too_far' }] }).frame({ synced: { channel: 'c', offset: 900 } });
  assert.deepEqual(bench.asked('history').body, { channel: 'c', after: 3, limit: 300 });
  bench.closed(1006).pass(500).welcome({ recovered: [{ ...log('c', 900), because: 'too_far' }] }).frame({ synced: { channel: 'c', offset: 900 } });
  assert.deepEqual(bench.asked('history').body, { channel: 'c', after: 3, limit: 300 });
});

test('if the log changes during a move, publications from the old connection are ignored', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c', from: { epoch: 'e', offset: 7 } }).tell({ is: 'connect' });
  bench.welcome({ recovered: [log('c', 7)] }).frame({ synced: { channel: 'c', offset: 7 } });
  const old = bench.state.link!;
  bench.frame({ drain: { reason: 'deploy', slot_ms: 0, deadline_ms: 9000 } }).pass(100);
  bench.welcome({ recovered: [{ ...log('c', 0, 1, 'other'), because: 'epoch_changed' }] });
  bench.frame({ publication: { channel: 'c', offset: 1, user: 'u', time: 1, data: 'old' } }, old);
  assert.deepEqual(bench.take('emit').map((effect) => effect.event), ['synced', 'reset']);
  assert.deepEqual(bench.take('close').map((effect) => effect.link), [old]);
});

test('an empty page is requested again only after a second', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c', from: { epoch: 'e', offset: 3 } }).tell({ is: 'connect' });
  bench.welcome({ recovered: [log('c', 3)] }).frame({ synced: { channel: 'c', offset: 3 } }).frame({ beat: { revision: 1, heads: { c: 5 } } });
  bench.frame({ id: bench.asked('history').id, history: { channel: 'c', epoch: 'e', head: 5, floor: 1, publications: [] } }).pass(999);
  assert.deepEqual(bench.sent(), []);
  assert.deepEqual(bench.pass(1).asked('history').body['after'], 3);
});

test('the reply to a left subscription is not applied to the next one of the same name', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c', last: 5 }).online();
  const { id } = bench.asked('subscribe');
  bench.tell({ is: 'unsubscribe', channel: 'c' }).tell({ is: 'subscribe', channel: 'c', last: 2 });
  bench.frame({ id, subscribed: log('c', 100) });
  assert.equal(bench.state.subs.get('c')!.epoch, undefined);
  bench.frame({ id: bench.asked('subscribe').id, subscribed: log('c', 100) });
  assert.equal(bench.state.subs.get('c')!.last, 98);
});

test('publications that arrive while a hole is filled are requested as well', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c', from: { epoch: 'e', offset: 3 } }).tell({ is: 'connect' });
  bench.welcome({ recovered: [log('c', 3)] }).frame({ synced: { channel: 'c', offset: 3 } }).frame({ beat: { revision: 1, heads: { c: 5 } } });
  const one = (offset: number) => ({ channel: 'c', offset, user: 'u', time: 1, data: null });
  const { id } = bench.asked('history');
  bench.take('emit');
  // 6 was committed after the page was read, and its push overtook the page.
  bench.frame({ publication: one(6) });
  bench.frame({ id, history: { channel: 'c', epoch: 'e', head: 5, floor: 1, publications: [one(4), one(5)] } });
  assert.ok(!bench.take('emit').some((effect) => effect.event === 'synced'), 'one publication is still missing');
  assert.deepEqual(bench.asked('history').body['after'], 5);
});

test('a channel left during `connect` is unsubscribed at the gateway', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c', from: { epoch: 'e', offset: 3 } }).tell({ is: 'connect' }).opened();
  const { id } = bench.asked('connect');
  bench.tell({ is: 'unsubscribe', channel: 'c' }).greet(id, { recovered: [log('c', 3)] });
  assert.deepEqual(bench.asked('unsubscribe').body, { channel: 'c' });
});

test('a connect keeps to the frame size that the gateway accepts', () => {
  const limits = { ...LIMITS, frame_bytes: 8192 };
  const bench = new Bench({ token: 't'.repeat(900) });
  for (let n = 0; n < 128; n += 1) bench.tell({ is: 'subscribe', channel: `a-channel-of-some-length-${n}`, from: { epoch: 'epoch', offset: 123_456 } });
  bench.online({ limits }).closed(1006).pass(500).opened();
  const [connect] = bench.take('send').filter((effect) => effect.text.includes('"connect"')).slice(-1);
  assert.ok(connect!.text.length <= 8192 && connect!.text.length > 6000, `${connect!.text.length} bytes`);
});

test('a signal received on both connections of a move is emitted once', () => {
  const bench = new Bench().tell({ is: 'subscribe', channel: 'c', from: { epoch: 'e', offset: 7 } }).tell({ is: 'connect' });
  bench.welcome({ recovered: [log('c', 7)] }).frame({ synced: { channel: 'c', offset: 7 } });
  const old = bench.state.link!;
  bench.publish('k').frame({ drain: { reason: 'deploy', slot_ms: 0, deadline_ms: 9000 } }).pass(100);
  bench.welcome({ recovered: [log('c', 7)] });
  const signal = { signal: { channel: 'c', user: 'u', data: 'calls' } };
  bench.frame(signal, old).frame(signal);
  assert.equal(bench.take('emit').filter((effect) => effect.event === 'signal').length, 1);
});
