/** examples/echo_agent.py, over real sockets: it answers word by word, over a lost connection, and until it is cancelled. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import type { FakeSocket } from './fakes.js';
import { until } from './gateway.js';
import { Streams } from './streams.js';

const AGENT = fileURLToPath(new URL('../../../../examples/echo_agent.py', import.meta.url));

/** Starts a gateway. Returns it and its address. */
async function listen(t: TestContext): Promise<[Streams, string]> {
  const server = new Streams();
  const listener = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  t.after(() => listener.close());
  listener.on('connection', (peer) => {
    const socket = { server, deliver: (frame: object) => peer.send(JSON.stringify(frame)), lost: () => peer.terminate() } as unknown as FakeSocket;
    server.sockets.push(socket);
    peer.on('message', (text) => server.handle(socket, JSON.parse(String(text)) as Record<string, unknown>));
    peer.on('close', () => server.sockets.splice(server.sockets.indexOf(socket), 1));
  });
  await new Promise((done) => { listener.on('listening', done); });
  return [server, `ws://127.0.0.1:${(listener.address() as AddressInfo).port}/ws`];
}

/** Starts a gateway and the program. Returns the gateway, and a function that publishes a question. */
async function start(t: TestContext): Promise<[Streams, (offset: number, text: string) => void]> {
  const [server, url] = await listen(t);
  const child = spawn('python3', [AGENT, url, 'c'], { env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
  t.after(() => {
    child.kill('SIGKILL');
    for (const socket of server.sockets) socket.lost();
  });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { out += text; });
  await until('it answers', () => out.includes('answering #c as anonymous'), 10_000).catch((error: Error) => { throw new Error(`${error.message}: ${out}`); });
  const ask = (offset: number, text: string) => {
    for (const socket of server.sockets) socket.deliver({ publication: { channel: 'c', offset, time: 1, user: 'ann', key: `q${offset}`, data: { text } } });
  };
  return [server, ask];
}

test('the example answers each message once, and stores every word once over a lost connection', async (t) => {
  const [server, ask] = await start(t);
  server.losses = ['before', 'after'];
  ask(1, 'Häl 🌍 wörld, how are you on this day of many lost connections?');
  await until('the end', () => server.streams[0]?.state === 'completed', 20_000);
  const [{ text, key, options }] = server.streams as [Streams['streams'][0]];
  assert.equal(text.toString(), 'You said: Häl 🌍 wörld, how are you on this day of many lost connections?');
  assert.deepEqual([server.streams.length, server.losses, key, options], [1, [], 'echo_1', { for: 'ann' }]);
});

test('the example stops an answer that is cancelled, and answers nothing but messages', async (t) => {
  const [server, ask] = await start(t);
  for (const more of [{ stream: 'begun', data: { text: 'another answer' } }, { edits: 1, data: { text: 'an edit' } }, { data: 7 }, { deletes: 1, data: null }]) {
    for (const socket of server.sockets) socket.deliver({ publication: { channel: 'c', offset: 1, time: 1, user: 'ann', ...more } });
  }
  ask(2, 'again and '.repeat(500));
  await until('some of it', () => (server.streams[0]?.text.length ?? 0) > 20);
  for (const socket of server.sockets) socket.deliver({ cancel: { channel: 'c', offset: 1, gen: 1, user: 'ann', end_ms: 5000 } });
  await until('the end', () => server.streams[0]!.state === 'cancelled');
  assert.match(server.streams[0]!.text.toString(), /^You said: (again |and )+$/);
  assert.deepEqual([server.streams.length, server.streams[0]!.key], [1, 'echo_2']);
});

test('examples/producer.py stores every piece once, whether a connection is lost before a commit or after it', async (t) => {
  const [server, url] = await listen(t);
  server.losses = ['before', 'after', 'after', 'before'];
  const path = fileURLToPath(new URL('../../../../examples/openai_events.py', import.meta.url));
  const child = spawn('python3', [path, url, 'c', 'run_1'], { env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' }, stdio: ['pipe', 'ignore', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const say = (event: object) => child.stdin.write(`data: ${JSON.stringify(event)}\n\n`);
  const words = Array.from({ length: 40 }, (_, word) => `wörd${word} 🌍 `);
  say({ type: 'response.created', response: { model: 'gpt-5' } });
  for (const delta of words) say({ type: 'response.output_text.delta', delta });
  await until('all is stored', () => server.streams[0]?.text.toString() === words.join(''), 30_000);
  say({ type: 'response.completed', response: {} });
  await until('the end', () => server.streams[0]!.state === 'completed', 10_000);
  assert.deepEqual([server.streams.length, server.losses, server.streams[0]!.events], [1, [], [{ type: 'started', data: { model: 'gpt-5' } }]]);
});
