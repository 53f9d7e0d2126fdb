/** Producers: what they write is stored once and in order, whatever happens to the connection. */

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { begin, type Producer } from '../src/producer.js';
import { client, fast, Server, type FakeSocket } from './fakes.js';
import { until } from './gateway.js';
import { Streams, type Stream } from './streams.js';

const start = (t: TestContext) => {
  const server = new Streams();
  return { server, it: client(t, server, { clock: fast() }) };
};

test('a text is stored as it was written, with events in their places, and ends with its state', async (t) => {
  const { server, it } = start(t);
  const out = await begin(it, 'c', { key: 'run_81', for: 'ann', idleMs: 30_000, events: 'keep' });
  assert.deepEqual([out.offset, out.key, out.stored], [1, 'run_81', 0]);
  for (const token of ['Häl', 'lo ', '\ud83c', '\udf0d', '\ufeff', '\ud83c']) await out.write(token);
  await out.event('tool_executing', { tool_name: 'search' });
  out.alive();
  await out.write('x'.repeat(10_000));
  assert.deepEqual(await out.end('completed', { report: 7 }), { state: 'completed', edit: 99 });
  const [{ text, events, state, data, options }] = server.streams as [Stream];
  assert.equal(text.toString(), `Hällo 🌍\ufeff\ufffd${'x'.repeat(10_000)}`);
  assert.deepEqual([events, state, data, options], [[{ type: 'tool_executing', data: { tool_name: 'search' } }], 'completed', { report: 7 }, { for: 'ann', idle_ms: 30_000, events: 'keep' }]);
  await assert.rejects(out.write('more'), { code: 'ended' });
  assert.equal(out.cancelled.aborted, false, 'its own end is not a cancel');
});

test('a lost connection loses and doubles nothing, before and after the store has the piece', async (t) => {
  const { server, it } = start(t);
  server.losses = ['before', 'after', 'after', 'before', 'before', 'after'];
  const out = await begin(it, 'c', { key: 'k' });
  let text = '';
  for (let token = 0; token < 120; token += 1) {
    text += `${token} é🌍`;
    await out.write(`${token} é🌍`);
    if (token % 10 === 0) await out.event('step', token);
    if (token % 4 === 0) await new Promise(setImmediate);
  }
  await out.end();
  assert.deepEqual(server.losses, []);
  assert.equal(server.streams[0]!.text.toString(), text);
  assert.equal(server.streams[0]!.events.length, 12);
  assert.equal(server.streams.length, 1);
});

test('what was lost with the connection is sent again although nothing follows, and a store that lost some is noticed', async (t) => {
  const { server, it } = start(t);
  server.losses = ['before'];
  const out = await begin(it, 'c');
  for (const token of ['a', 'b', 'c', 'd', 'e']) {
    void out.write(token);
    await new Promise(setImmediate);
  }
  await until('stored', () => out.stored === 5);
  const [stream] = server.streams as [Stream];
  stream.positions = stream.positions.subarray(0, 2);
  server.sockets.at(-1)!.lost();
  await until('noticed', () => out.cancelled.aborted);
  assert.deepEqual([out.cancelled.reason.code, out.cancelled.reason.next], ['gap', 2]);
});

test('a producer that is not acknowledged waits at its window, and one that does not wait gets an error', async (t) => {
  const { server, it } = start(t);
  server.acknowledges = false;
  const out = await begin(it, 'c');
  let isWritten = false;
  const first = out.write('x'.repeat(70_000)).then(() => { isWritten = true; });
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  assert.equal(isWritten, false);
  void out.write('y'.repeat(70_000));
  await assert.rejects(out.write('z'), { code: 'outbox_full' });
  server.acknowledges = true;
  for (const socket of server.sockets) socket.deliver({ appended: { channel: 'c', offset: 1, gen: 1, next: 140_000 } });
  await first;
  assert.equal(out.stored, 140_000);
});

test('a process that is started again continues what is stored, or starts over', async (t) => {
  const { server, it } = start(t);
  const first = await begin(it, 'c', { key: 'k' });
  await first.write('Hello');
  await until('stored', () => first.stored === 5);
  const second = await begin(client(t, server), 'c', { key: 'k' });
  assert.equal(second.stored, 5);
  await second.write('!');
  await until('stored', () => second.stored === 6);
  assert.equal(server.streams[0]!.text.toString(), 'Hello!');
  await second.restart();
  await second.write('Good');
  await second.end('failed');
  assert.deepEqual([server.streams[0]!.text.toString(), server.streams[0]!.state, server.streams[0]!.gen], ['Good', 'failed', 2]);
  await assert.rejects(begin(it, 'c', { key: 'k' }), { code: 'ended', state: 'failed', edit: 99 });
  await first.write('late').catch(() => {});
  await until('notified', () => first.cancelled.aborted);
  assert.equal(first.cancelled.reason.code, 'ended');
});

test('a cancel aborts the signal, and the producer still ends the stream', async (t) => {
  const { server, it } = start(t);
  const out = await begin(it, 'c');
  server.sockets.at(-1)!.deliver({ cancel: { channel: 'c', offset: 2, gen: 1, user: 'ann', end_ms: 5000 } });
  assert.equal(out.cancelled.aborted, false, 'another stream');
  server.sockets.at(-1)!.deliver({ cancel: { channel: 'c', offset: 1, gen: 1, user: 'ann', end_ms: 5000 } });
  assert.equal(out.cancelled.reason.code, 'cancelled');
  await out.write(' (stopped)');
  assert.deepEqual(await out.end('cancelled'), { state: 'cancelled', edit: 99 });
  assert.equal(server.streams[0]!.text.toString(), ' (stopped)');
});

test('an end by others, a refusal and a gateway without streams stop the producer', async (t) => {
  const { server, it } = start(t);
  const out = await begin(it, 'c');
  Object.assign(server.streams[0]!, { state: 'interrupted' });
  await out.write('late');
  await until('notified', () => out.cancelled.aborted);
  await assert.rejects(out.write('x'), { code: 'ended', state: 'interrupted' });
  const other = await begin(it, 'c');
  server.refuses = { code: 'too_large', message: 'the stream would outgrow a publication' };
  await other.write('long');
  await until('notified', () => other.cancelled.aborted);
  await assert.rejects(other.end(), { code: 'too_large' });
  const old = new Server();
  await assert.rejects(begin(client(t, old), 'c'), { code: 'unknown_command' });
  it.close();
  await assert.rejects(begin(it, 'c'), { code: 'closed' });
});

test('a refusal for now is followed by another try', async (t) => {
  const { server, it } = start(t);
  const out = await begin(it, 'c');
  server.refuses = { code: 'rate_limited', message: '', retry_ms: 5 };
  await out.write('Hello');
  await new Promise((resolve) => { setTimeout(resolve, 12); });
  server.refuses = undefined;
  await out.end();
  assert.equal(server.streams[0]!.text.toString(), 'Hello');
});

/** The appends that a server was sent, over all connections. */
const appends = (server: Streams) => server.sockets.flatMap(({ sent }) => sent).flatMap(({ append }) => append ?? []);
const turn = () => new Promise(setImmediate);

test('pieces that were refused are sent again together and once, and other streams of the client wait as well', async (t) => {
  const { server, it } = start(t);
  const [out, other] = [await begin(it, 'c'), await begin(it, 'c')];
  // A slow machine must not reach it before it looks.
  server.refuses = { code: 'rate_limited', message: '', retry_ms: 2_000 };
  let text = '';
  // More than the gateway refuses before the first refusal is here.
  for (let token = 0; token < 100; token += 1) {
    text += `${token} `;
    void out.write(`${token} `);
    await Promise.resolve();
  }
  await turn();
  // The producer also says that it is alive.
  const texts = () => appends(server).filter(({ text }) => text).length;
  const refused = texts();
  void other.write('waits');
  await turn();
  assert.equal(texts(), refused, 'nothing is sent before the time that the gateway said');
  server.refuses = undefined;
  await until('stored', () => out.stored === text.length && other.stored === 5);
  assert.equal(texts(), refused + 2);
  assert.deepEqual(server.streams.map((one) => one.text.toString()), [text, 'waits']);
});

test('after a lost connection many streams join with one small frame each, and none is published again', async (t) => {
  const { server, it } = start(t);
  const all: Producer[] = [];
  for (let count = 0; count < 60; count += 1) all.push(await begin(it, 'c'));
  await all[0]!.write('kept');
  await until('stored', () => all[0]!.stored === 4);
  server.acknowledges = false;
  for (const token of ['a', 'b', 'c']) {
    void all[1]!.write(token);
    await turn();
  }
  server.acknowledges = true;
  const old = server.sockets.splice(0).at(-1)!;
  old.lost();
  const sent = () => server.sockets.flatMap((socket) => socket.sent);
  await until('all join', () => new Set(appends(server).map(({ offset }) => offset)).size === 60);
  await until('what was not acknowledged is', () => all[1]!.stored === 3);
  assert.deepEqual(sent().filter(({ publish }) => publish), []);
  assert.deepEqual(appends(server).filter(({ text }) => text), [], 'the store has it: only the acknowledgement was lost');
  await all[1]!.write('!');
  assert.deepEqual([await all[0]!.end(), await all[1]!.end()].map(({ state }) => state), ['completed', 'completed']);
  assert.deepEqual(server.streams.slice(0, 2).map((one) => one.text.toString()), ['kept', 'abc!']);
});

test('an end after the end by the gateway, or whose reply was lost, is no error', async (t) => {
  const { server, it } = start(t);
  const out = await begin(it, 'c');
  Object.assign(server.streams[0]!, { state: 'cancelled' });
  await out.write('late');
  await until('notified', () => out.cancelled.aborted);
  assert.deepEqual(await out.end('cancelled'), { state: 'cancelled', edit: 99 });
  assert.deepEqual(await out.end('cancelled'), { state: 'cancelled', edit: 99 });
  const other = await begin(it, 'c');
  await other.write('Hello');
  await until('stored', () => other.stored === 5);
  const ended = other.end();
  // Stored, but the connection is lost before the reply.
  Object.assign(server.streams[1]!, { state: 'completed' });
  server.sockets.at(-1)!.lost();
  assert.deepEqual(await ended, { state: 'completed', edit: 99 });
  assert.equal(other.cancelled.aborted, false);
});

test('a restart drops what was written before it, and keeps what is written during it', async (t) => {
  const { server, it } = start(t);
  const out = await begin(it, 'c');
  await out.write('stored');
  void out.write('not sent');
  const restarted = out.restart();
  void out.write('new');
  await turn();
  await restarted;
  server.sockets.at(-1)!.deliver({ error: { code: 'stale', message: 'a piece of the old text', channel: 'c', offset: 1, gen: 2 } });
  assert.deepEqual(await out.end(), { state: 'completed', edit: 99 });
  assert.deepEqual([server.streams[0]!.text.toString(), server.streams[0]!.gen], ['new', 2]);
  const other = await begin(it, 'c');
  server.sockets.at(-1)!.deliver({ error: { code: 'stale', message: 'another run', channel: 'c', offset: 2, gen: 2 } });
  assert.equal(other.cancelled.reason.code, 'stale');
});

test('a cancel that comes with the reply to the begin is not missed', async (t) => {
  class Cancels extends Streams {
    override handle(socket: FakeSocket, frame: Record<string, any>): void {
      super.handle(socket, frame);
      const cancel = (offset: number) => socket.deliver({ cancel: { channel: 'c', offset, gen: 1, user: 'ann', end_ms: 5000 } });
      if (frame['publish'] && this.streams.length === 1) [cancel(7), cancel(1)];
    }
  }
  const it = client(t, new Cancels(), { clock: fast() });
  const [out, other] = [await begin(it, 'c'), await begin(it, 'c')];
  assert.equal(out.cancelled.reason?.code, 'cancelled');
  assert.equal(other.cancelled.aborted, false, 'it was about another stream');
});
