/** Questions that the gateway relays to a backend, and their answers, as an app with this library sees them. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { connect } from '../src/index.js';
import { resume, type Place } from '../src/producer.js';
import { streams, type Stream } from '../src/streams.js';
import { freePort, Gateway, missing, until } from './gateway.js';

const AGENT = fileURLToPath(new URL('../../../../examples/relay_agent.py', import.meta.url));
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const AUTH = '0123456789abcdef0123456789abcdef';

const route = (url: string) => `[[relay]]\nname = "assistant"\npattern = "thread.*"\nurl = "${url}"\nsecrets = ["env:RELAY_SECRET"]\nuser = "assistant"\n`
  + '[[dependency]]\nname = "assistant"\nkind = "tcp"\n' + `address = "${new URL(url).host}"\ncriticality = "optional"\nlost = ["replies"]\ninterval_ms = 200\ntimeout_ms = 2000\nfailures = 1\nsuccesses = 1\n`;

async function start(t: TestContext, url: string, env: Record<string, string> = {}): Promise<Gateway> {
  const it = new Gateway({ RELAY_SECRET: SECRET, ...env }, route(url));
  await it.start();
  t.after(() => it.stop());
  return it;
}

/** Starts examples/relay_agent.py. Returns its address. */
async function agent(t: TestContext, port = 0): Promise<string> {
  const env = { ...process.env, RELAY_SECRET: SECRET, PYTHONDONTWRITEBYTECODE: '1' };
  const child = spawn('python3', [AGENT, String(port)], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  let out = '';
  child.stdout.on('data', (text) => { out += text; });
  await until('it listens', () => out.includes('/seawall\n'));
  return /listening on (\S+)/.exec(out)![1]!;
}

function asker(t: TestContext, url: string, token?: string) {
  const client = connect(url, { WebSocket, ...(token !== undefined && { token }) });
  t.after(() => client.close());
  const room = client.channel<{ text: string }>('thread.7', { last: 20 });
  return { client, room, open: streams(room) };
}

/** Records the states of a stream. */
function states(stream: Stream): string[] {
  const all: string[] = [stream.state.value];
  stream.state.subscribe((state) => all.push(state));
  return all;
}

test('a question leads to its answer, whose text is that of the backend', { skip: missing }, async (t) => {
  const it = await start(t, await agent(t));
  const { room, open } = asker(t, it.url);
  const question = 'Häl 🌍 wörld, and more words than one window of the gateway takes in';
  const sent = await room.publish({ text: question });
  assert.equal(sent.answer, sent.offset + 1);
  const answer = open.of(sent)!;
  const seen = states(answer);
  let text = '';
  for await (const piece of answer) text += piece.text ?? '';
  assert.equal(text, `You said: ${question}`);
  assert.deepEqual([answer.text.value, seen.at(-1)], [text, 'completed']);
  const again = await room.publish({ text: question }, { key: sent.key });
  assert.deepEqual([again.offset, again.answer, again.duplicate], [sent.offset, sent.answer, true]);
  const whole = open.of(again)!;
  await until('the answer of the repeat', () => whole.state.value === 'completed');
  assert.equal(whole.text.value, text);
});

test('a question waits for a backend that is down, and is answered when it is back', { skip: missing }, async (t) => {
  const port = await freePort();
  const it = await start(t, `http://127.0.0.1:${port}/seawall`);
  const { client, room, open } = asker(t, it.url);
  const answer = open.of(await room.publish({ text: 'Why?' }))!;
  await until('it waits', () => answer.state.value === 'accepted');
  await until('people are informed', () => client.status.value.lost.includes('replies'));
  await agent(t, port);
  await until('the answer', () => answer.state.value === 'completed');
  assert.equal(answer.text.value, 'You said: Why?');
  await until('all is well', () => client.status.value.lost.length === 0);
});

test('Stop ends an answer that waits at once, and one that is written with what is written', { skip: missing }, async (t) => {
  const port = await freePort();
  const it = await start(t, `http://127.0.0.1:${port}/seawall`);
  const { room, open } = asker(t, it.url);
  const waits = open.of(await room.publish({ text: 'never sent' }))!;
  await waits.cancel();
  await until('it is stopped', () => waits.state.value === 'cancelled');
  await agent(t, port);
  const question = 'again and '.repeat(500);
  const answer = open.of(await room.publish({ text: question }))!;
  await until('some of it', () => answer.text.value.length > 20);
  await answer.cancel();
  await until('it is stopped', () => answer.state.value === 'cancelled');
  assert.ok(`You said: ${question}`.startsWith(answer.text.value));
});

test('a backend that takes a question with 202 answers over a WebSocket', { skip: missing }, async (t) => {
  const token = (claims: object) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part({ alg: 'HS256' })}.${part(claims)}`;
    return `${text}.${createHmac('sha256', AUTH).update(text).digest('base64url')}`;
  };
  const places: Place[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => { body += chunk; }).on('end', () => {
      places.push(JSON.parse(body).data.answer);
      response.writeHead(202).end();
    });
  });
  await new Promise<void>((done) => { server.listen(0, '127.0.0.1', done); });
  t.after(() => { server.closeAllConnections(); server.close(); });
  const it = await start(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}/seawall`, { SEAWALL_AUTH_SECRET: AUTH });
  const rights = (...all: string[]) => [{ pattern: 'thread.*', rights: all }];
  const backend = connect(it.url, { WebSocket, token: token({ sub: 'assistant', channels: rights('publish', 'stream') }) });
  t.after(() => backend.close());
  const { room, open } = asker(t, it.url, token({ sub: 'ann', channels: rights('subscribe', 'history', 'publish') }));
  const answer = open.of(await room.publish({ text: 'Why?' }))!;
  await until('the backend has it', () => places.length === 1);
  await until('that is shown', () => answer.state.value === 'processing');
  const out = await resume(backend, places[0]!);
  await out.event('thinking');
  await out.write('Because.');
  await out.end();
  await until('the answer', () => answer.state.value === 'completed');
  assert.deepEqual([answer.text.value, answer.offset], ['Because.', places[0]!.offset]);
});
