/** Streams with the gateway: examples/echo_agent.py writes, and this library reads, cancels and writes as well. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { connect } from '../src/index.js';
import { begin, resume } from '../src/producer.js';
import { streams, type Stream } from '../src/streams.js';
import { Gateway, missing, until } from './gateway.js';

const AGENT = fileURLToPath(new URL('../../../../examples/echo_agent.py', import.meta.url));

async function start(t: TestContext): Promise<Gateway> {
  const it = new Gateway();
  await it.start();
  t.after(() => it.stop());
  return it;
}

/** Starts the program. Returns a function with its output so far. */
function agent(t: TestContext, url: string): () => string {
  const child = spawn('python3', [AGENT, url, 'lobby'], { env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
  t.after(() => child.kill('SIGKILL'));
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { out += text; });
  return () => out;
}

function reader(t: TestContext, url: string) {
  const client = connect(url, { WebSocket });
  t.after(() => client.close());
  const room = client.channel<{ text: string }>('lobby', { last: 20 });
  const open = streams(room);
  const ends: { text: unknown; stream: string | undefined }[] = [];
  room.on('edit', ({ data, stream }) => ends.push({ text: (data as { text?: unknown } | null)?.text, stream }));
  return { client, room, open, ends };
}

test('the example answers word by word over a lost connection, and stops when it is cancelled', { skip: missing }, async (t) => {
  const it = await start(t);
  const out = agent(t, it.url);
  const { room, open, ends } = reader(t, it.url);
  await until('it answers', () => out().includes('answering #lobby as'));
  const seen: string[] = [];
  const follow = async (stream: Stream) => { for await (const { text } of stream) seen.push(text ?? ''); };
  let followed: Promise<void> | undefined;
  open.subscribe(([first]) => { followed ??= first && follow(first); });
  const question = 'Häl 🌍 wörld, and more words than one window of the gateway takes in';
  await room.publish({ text: question });
  await until('some of it is written', () => seen.length > 2);
  await it.end('SIGKILL');
  await it.start();
  await until('the end', () => ends.length === 1);
  await followed;
  assert.deepEqual(ends, [{ text: `You said: ${question}`, stream: 'completed' }]);
  assert.equal(seen.join(''), `You said: ${question}`);
  await until('it answers again', () => (out().match(/answering #lobby/g) ?? []).length === 2);
  await room.publish({ text: 'stop '.repeat(200) });
  await until('the next one', () => (open.value[0]?.text.value.length ?? 0) > 20);
  await open.value[0]!.cancel();
  await until('the end', () => ends.length === 2);
  assert.equal(ends[1]!.stream, 'cancelled');
  assert.match(String(ends[1]!.text), /^You said: (stop )+$/);
  await until('the program has noticed', () => out().includes(': cancelled'));
});

test('a producer of this library writes through a killed gateway, and readers have its text', { skip: missing }, async (t) => {
  const it = await start(t);
  const { client, open, ends } = reader(t, it.url);
  const writer = connect(it.url, { WebSocket });
  t.after(() => writer.close());
  const out = await begin(writer, 'lobby', { key: 'run_1', events: 'keep' });
  let text = '';
  const write = async (from: number) => {
    for (let token = from; token < from + 200; token += 1) {
      text += `${token} é🌍 `;
      await out.write(`${token} é🌍 `);
      if (token % 50 === 0) await out.event('step', { token });
    }
  };
  await write(0);
  await until('some of it is read', () => (open.value[0]?.text.value.length ?? 0) > 100);
  const [stream] = open.value;
  await it.end('SIGKILL');
  await write(200);
  await it.start();
  await write(400);
  const { state } = await out.end();
  await until('the end', () => ends.length === 1);
  assert.deepEqual([state, ends[0]], ['completed', { text, stream: 'completed' }]);
  assert.deepEqual([stream!.text.value, stream!.state.value], [text, 'completed']);
  assert.equal(client.state.value.phase, 'online');
  await assert.rejects(begin(writer, 'lobby', { key: 'run_1' }), { code: 'ended', state: 'completed' });
});

test('a stream is continued at its place by another process, which a restart shuts out', { skip: missing }, async (t) => {
  const it = await start(t);
  const { ends } = reader(t, it.url);
  const [one, other] = [connect(it.url, { WebSocket }), connect(it.url, { WebSocket })];
  t.after(() => { one.close(); other.close(); });
  const first = await begin(one, 'lobby', { key: 'run_1' });
  await first.write('Light ');
  await until('it is stored', () => first.stored === 6);
  one.close();
  const place = { channel: 'lobby', offset: first.offset, gen: 1 };
  const second = await resume(other, place);
  assert.deepEqual([second.offset, second.stored], [first.offset, 6]);
  await second.write('scatters: λ⁻⁴.');
  assert.equal((await second.end()).state, 'completed');
  await until('the end', () => ends.length === 1);
  assert.deepEqual(ends, [{ text: 'Light scatters: λ⁻⁴.', stream: 'completed' }]);
  await assert.rejects(resume(other, place), { code: 'ended', state: 'completed' });
  const again = await begin(other, 'lobby', { key: 'run_2' });
  await again.restart();
  await assert.rejects(resume(other, { ...place, offset: again.offset }), { code: 'stale', gen: 2 });
  await again.end();
});
