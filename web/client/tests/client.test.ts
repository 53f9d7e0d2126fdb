/** The client's shell: promises, handles and iterations, on fake sockets. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { durable } from '../src/durable.js';
import { connect, ITERATION_MAX, SeawallError, type Client, type State } from '../src/index.js';
import { client, FakeSocket, online, quick, Server, Shelf } from './fakes.js';
import { until } from './gateway.js';

test('handles with the same name share one subscription, which ends with the last handle', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const [one, two] = [it.channel('c'), it.channel('c')];
  await until('live', () => one.state.value.phase === 'live' && two.state.value.phase === 'live');
  const count = (name: string) => server.sockets[0]!.sent.filter((frame) => name in frame).length;
  const heard: number[] = [];
  one.on('publication', () => heard.push(1));
  two.on('publication', () => heard.push(2));
  server.sockets[0]!.deliver({ publication: { channel: 'c', offset: 1, user: 'u', time: 1, data: 1 } });
  one.leave();
  one.leave();
  server.sockets[0]!.deliver({ publication: { channel: 'c', offset: 2, user: 'u', time: 1, data: 1 } });
  assert.deepEqual([heard, count('subscribe'), count('unsubscribe')], [[1, 2, 2], 1, 0]);
  two.leave();
  assert.equal(count('unsubscribe'), 1);
  assert.equal(it.channel('c').state.value.phase, 'waiting', 'subscribed again');
});

test('an iteration that falls behind delivers what it holds, then names the offset to continue from', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c');
  const iteration = room[Symbol.asyncIterator]();
  await until('live', () => room.state.value.phase === 'live');
  for (let offset = 1; offset <= ITERATION_MAX + 5; offset += 1) server.sockets[0]!.deliver({ publication: { channel: 'c', offset, user: 'u', time: 1, data: 1 } });
  for (let offset = 1; offset <= ITERATION_MAX; offset += 1) assert.equal((await iteration.next()).value.offset, offset);
  await assert.rejects(iteration.next(), (error: SeawallError) => error.code === 'overrun' && error.message.includes(String(ITERATION_MAX + 1)));
});

test('concurrent next() calls are answered in order, and return() ends the waiting ones', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c');
  const iteration = room[Symbol.asyncIterator]();
  await until('live', () => room.state.value.phase === 'live');
  const asked = [iteration.next(), iteration.next(), iteration.next(), iteration.next()];
  const publish = (offset: number) => server.sockets[0]!.deliver({ publication: { channel: 'c', offset, user: 'u', time: 1, data: 1 } });
  for (const offset of [1, 2, 3]) publish(offset);
  assert.deepEqual((await Promise.all(asked.slice(0, 3))).map(({ value }) => value.offset), [1, 2, 3]);
  const end = { done: true, value: undefined };
  assert.deepEqual(await iteration.return!(), end);
  assert.deepEqual(await asked[3], end);
  publish(4);
  assert.deepEqual(await iteration.next(), end);
});

test('a hint is added to the URL of one attempt, and the next one has none', async (t) => {
  const server = new Server();
  const it = client(t, server, { affinity: true });
  await online(it);
  server.sockets[0]!.deliver({ drain: { reason: 'rebalance', slot_ms: 0, deadline_ms: 5000, to: 'gw 2&a' } });
  await until('moved', () => server.sockets.length === 2);
  await online(it);
  server.sockets[1]!.lost();
  await until('returned', () => server.sockets.length === 3);
  const [first, moved, returned] = server.urls.map((url) => new URL(url));
  assert.deepEqual([first!.search, moved!.searchParams.get('to'), returned!.search], ['', 'gw 2&a', '?to=i']);
});

test('a publish after a final close code waits for reconnect()', async (t) => {
  const server = new Server();
  const it = client(t, server);
  await online(it);
  server.sockets[0]!.lost(4503, 'forbidden');
  assert.equal(it.state.value.phase, 'closed');
  const published = it.channel('c').publish('later');
  assert.deepEqual(it.outbox.value.map((one) => one.state), ['queued']);
  await assert.rejects(it.channel('c').history(), (error: SeawallError) => error.code === 'closed');
  it.reconnect();
  assert.equal((await published).offset, 1);
});

test('a listener that throws or publishes does not disturb other listeners', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c');
  await until('live', () => room.state.value.phase === 'live');
  const faults: unknown[] = [];
  const { queueMicrotask: later } = globalThis;
  t.mock.method(globalThis, 'queueMicrotask', (run: () => void) => later(() => {
    try { run(); } catch (error) { faults.push(error); }
  }));
  const heard: number[] = [];
  room.on('publication', () => { throw new Error('mine'); });
  room.on('publication', ({ offset }) => {
    heard.push(offset);
    if (offset === 1) void room.publish('again');
  });
  server.sockets[0]!.deliver({ publication: { channel: 'c', offset: 1, user: 'u', time: 1, data: 1 } });
  assert.deepEqual(heard, [1]);
  await until('published', () => server.stored.length === 1);
  await until('reported', () => faults.length === 1);
});

test('a frame with an unknown shape ends the connection, and the client reconnects', async (t) => {
  const server = new Server();
  const it = client(t, server);
  await online(it);
  server.sockets[0]!.deliver('not json');
  server.sockets[0]!.deliver('[]');
  assert.equal(it.state.value.phase, 'online', 'text that is not a frame is ignored');
  server.sockets[0]!.deliver({ beat: { heads: 7, revision: {} }, publication: null, lag: { channel: 'c' }, synced: 5 });
  server.sockets[0]!.deliver({ publication: { channel: 7 } });
  const room = it.channel('c');
  await until('live', () => room.state.value.phase === 'live');
  server.sockets[0]!.deliver({ synced: { channel: 'c', offset: 5 } });
  const { id } = server.sockets[0]!.sent.at(-1)!;
  server.sockets[0]!.deliver({ id, history: { channel: 'c', epoch: 'e', head: 5, floor: 1, publications: 3 } });
  const value = it.state.value as State;
  assert.ok(value.phase === 'waiting' && /could not be read/.test(value.because.message!), JSON.stringify(value));
  await online(it);
});

test('signal() sends at once or returns false', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c');
  assert.equal(room.signal({ typing: true }), false);
  await until('live', () => room.state.value.phase === 'live');
  assert.equal(room.signal({ typing: true }), true);
  assert.deepEqual(server.sockets[0]!.sent.at(-1), { signal: { channel: 'c', data: { typing: true } } });
  server.sockets[0]!.bufferedAmount = 1e6;
  assert.equal(room.signal({ typing: true }), false, 'the socket does not drain');
});

test('a signal larger than the gateway accepts is not sent', async (t) => {
  const server = new Server();
  const room = client(t, server).channel('c');
  await until('live', () => room.state.value.phase === 'live');
  assert.throws(() => room.signal('x'.repeat(70_000)), (error: SeawallError) => error.code === 'too_large');
  assert.equal(room.signal('x'.repeat(60_000)), true);
});

test('signals keep to a rate, and pause after the gateway refuses one', async (t) => {
  const server = new Server();
  let now = 1_000_000;
  const room = client(t, server, { clock: { ...quick, now: () => now } }).channel('c');
  await until('live', () => room.state.value.phase === 'live');
  const signals = (many: number) => Array.from({ length: many }, () => room.signal(1)).filter((sent) => sent).length;
  assert.equal(signals(1000), 200);
  now += 1000;
  assert.equal(signals(1000), 80);
  now += 10_000;
  server.sockets[0]!.deliver({ error: { code: 'rate_limited', message: 'limits.commands_per_s', retry_ms: 10 } });
  now += 2_999;
  assert.equal(signals(1000), 0);
  now += 1;
  assert.equal(signals(1000), 200);
});

test('a handle created in a listener receives later events, not the current one', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c', { from: { epoch: 'e', offset: 0 } });
  await until('live', () => room.state.value.phase === 'live');
  const [socket] = server.sockets;
  const heard: string[] = [];
  let also = false;
  room.on('gap', () => {
    room.leave();
    it.channel('c', { last: 2 }).on('publication', ({ offset }) => heard.push(`first ${offset}`));
    it.channel('c').on('publication', ({ offset }) => heard.push(`second ${offset}`));
    also = true;
  });
  socket!.deliver({ beat: { revision: 1, heads: { c: 12 } } });
  const { id } = socket!.sent.find((frame) => 'history' in frame)!;
  const one = (offset: number) => ({ channel: 'c', offset, user: 'u', time: 1, data: null });
  socket!.deliver({ id, history: { channel: 'c', epoch: 'e', head: 12, floor: 10, publications: [one(10), one(11), one(12)] } });
  assert.ok(also);
  assert.deepEqual(heard, []);
  await until('subscribed again', () => socket!.sent.filter((frame) => 'subscribe' in frame).length === 2);
  await until('live again', () => it.channel('c').state.value.phase === 'live');
  socket!.deliver({ publication: one(1) });
  assert.deepEqual(heard, ['first 1', 'second 1']);
});

test('a token callback that does not return a token is called again', async (t) => {
  const server = new Server();
  const answers: unknown[] = [null, undefined, '', 7, 'good'];
  const it = client(t, server, { clock: quick, token: () => answers.shift() as string });
  const reasons = new Set<string>();
  it.state.subscribe((state) => { if ('because' in state && state.because) reasons.add(`${state.because.reason}: ${state.because.message}`); });
  await online(it);
  assert.deepEqual([answers, server.sockets.length, server.sockets[0]!.sent[0]!['connect'].token], [[], 1, 'good']);
  assert.ok(reasons.has('no_token: The token callback failed: it returned null, not a token.'), [...reasons].join('\n'));
});

test('the late result of a token callback that timed out is ignored', async (t) => {
  const server = new Server();
  const calls: { resolve: (token: string) => void; reject: (error: Error) => void }[] = [];
  let now = 1_000_000;
  const token = () => new Promise<string>((resolve, reject) => calls.push({ resolve, reject }));
  const it = client(t, server, { clock: { ...quick, now: () => now }, token });
  now += 15_000;
  await until('called again', () => {
    now += 100;
    return calls.length === 2;
  });
  calls[0]!.reject(new Error('late'));
  await new Promise(setImmediate);
  calls[1]!.resolve('second');
  await online(it);
  assert.equal(server.sockets[0]!.sent[0]!['connect'].token, 'second');
});

test('close() ends pending promises, iterations and timers, and rejects later calls', async (t) => {
  const server = new Server();
  server.accepts = false;
  const it = client(t, server);
  const room = it.channel('c');
  const publish = room.publish(1);
  const page = room.history();
  const iteration = room[Symbol.asyncIterator]().next();
  it.close();
  it.close();
  for (const promise of [publish, page, room.publish(2), room.history()]) await assert.rejects(promise, (error: SeawallError) => error.code === 'closed');
  assert.deepEqual(await iteration, { done: true, value: undefined });
  assert.deepEqual([it.state.value.phase, it.channel('d').state.value.phase], ['closed', 'left']);
});

test('a client reconnects even if the system clock goes back', async (t) => {
  const server = new Server();
  let shift = 0;
  const clock = { ...quick, now: () => Date.now() + shift };
  const it = client(t, server, { clock });
  await online(it);
  shift = -3_600_000;
  server.sockets[0]!.lost();
  await until('a second connection', () => server.sockets.length > 1);
});

test('a second publish with a key that is in the outbox is rejected', async (t) => {
  const server = new Server();
  server.answers = false;
  const room = client(t, server).channel('c');
  room.publish(1, { key: 'k' }).catch(() => {});
  await assert.rejects(room.publish(1, { key: 'k' }), /k is already in the outbox/);
});

test('an observable keeps one value until it changes, and its members work detached', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const { subscribe } = it.state;
  const phases: string[] = [];
  const end = subscribe((state) => phases.push(state.phase));
  await online(it);
  const value = it.state.value;
  server.sockets[0]!.deliver({ beat: { revision: 1 } });
  assert.equal(it.state.value, value);
  end();
  server.sockets[0]!.lost();
  assert.deepEqual([phases, it.state.value.phase], [['online'], 'waiting']);
});

test('an idle client does nothing until reconnect(), also without WebSocket and with a relative address', async (t) => {
  const timers = t.mock.method(globalThis, 'setTimeout');
  const kept = { ...globalThis } as { WebSocket?: unknown };
  Object.assign(globalThis, { WebSocket: undefined });
  t.after(() => Object.assign(globalThis, { WebSocket: kept.WebSocket }));
  assert.throws(() => connect('ws://gateway.example/ws'), /idle: true/);
  const rendered = connect('/ws', { idle: true, outbox: durable() });
  rendered.channel('c');
  assert.deepEqual([rendered.state.value, rendered.outbox.storage.value, timers.mock.callCount()], [{ phase: 'connecting', attempt: 0 }, 'opening', 0]);
  assert.throws(() => rendered.reconnect(), /WebSocket/);
  const server = new Server();
  const [shelf, saved] = [new Shelf(), [] as string[]];
  const put = shelf.put.bind(shelf);
  shelf.put = async (entry) => { saved.push(entry.key); await put(entry); };
  const it = client(t, server, { idle: true, outbox: durable({ storage: shelf, locks: null }) });
  const published = it.channel('c').publish(1, { key: 'k' });
  assert.equal(server.sockets.length, 0);
  it.reconnect();
  assert.equal((await published).offset, 1);
  assert.deepEqual([saved[0], server.sockets.length], ['k', 1]);
});

test('each ending has a message, with what the runtime says about a failed connection', async (t) => {
  const server = new Server();
  const message = (it: Client) => ('because' in it.state.value ? it.state.value.because?.message : undefined);
  const it = client(t, server);
  await online(it);
  server.sockets[0]!.lost();
  assert.equal(message(it), 'The connection was lost.');
  for (const [event, text] of [
    [{}, /wrong address/],
    [{ message: 'Unexpected server response: 404' }, /^Unexpected server response: 404$/],
    [{ message: '', error: { message: 'failed', cause: { message: 'connect ECONNREFUSED; 127.0.0.1:1' } } }, /^connect ECONNREFUSED, 127\.0\.0\.1:1$/],
  ] as const) {
    const none = new Server();
    none.accepts = false;
    const other = client(t, none);
    none.sockets[0]!.onerror!(event as never);
    await until('refused', () => other.state.value.phase === 'waiting');
    assert.match(message(other)!, text);
  }
  it.close();
  assert.equal(message(it), 'The app closed the client.');
});

test('wrong arguments of plain JavaScript are named', async (t) => {
  const it = client(t, new Server());
  const room = it.channel('c');
  assert.throws(() => room.on('bogus' as never, () => {}), /"bogus" is not an event of a channel: listen to publication, edit,/);
  assert.throws(() => room.on('gap', undefined as never), /must be a function/);
  assert.throws(() => it.channel(5 as never), /5 is not a channel name/);
  await assert.rejects(room.publish(1, { key: 5 as never }), /key must be/);
  assert.throws(() => connect(undefined as never, { WebSocket: new Server().Socket }), /undefined is not a gateway address/);
});

test('the client continues after a socket throws', async (t) => {
  const server = new Server();
  const it = client(t, server);
  await online(it);
  const room = it.channel('c');
  await until('live', () => room.state.value.phase === 'live');
  const { send } = FakeSocket.prototype;
  t.mock.method(server.sockets[0]!, 'send', () => { throw new Error('not now'); }, { times: 1 });
  assert.throws(() => room.signal(1), /not now/);
  server.sockets[0]!.send = send;
  assert.equal((await room.publish(2)).offset, 1);
});
