/** examples/relay_agent.py takes requests of the relay as docs/relay.md describes them. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from './gateway.js';

const AGENT = fileURLToPath(new URL('../../../../examples/relay_agent.py', import.meta.url));
/** The secret, a request and its signature in the tests of the Standard Webhooks repository. */
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const VECTOR = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', at: 1614265330, body: '{"test": 2432232314}', signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=' };

const signed = (body: string, at: number, id: string, secret = SECRET) =>
  `v1,${createHmac('sha256', Buffer.from(secret.slice(6), 'base64')).update(`${id}.${at}.${body}`).digest('base64')}`;

async function start(t: TestContext, ...args: string[]) {
  const env = { ...process.env, RELAY_SECRET: SECRET, PYTHONDONTWRITEBYTECODE: '1' };
  const child = spawn('python3', [AGENT, '0', ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  let out = '';
  child.stdout.on('data', (text) => { out += text; });
  await until('it listens', () => out.includes('/seawall\n'));
  const url = /listening on (\S+)/.exec(out)![1]!;
  const now = () => Math.floor(Date.now() / 1000);
  const post = (message: object, headers: Record<string, string> = {}, at = now()) => {
    const body = JSON.stringify(message);
    const all = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(at), 'webhook-signature': signed(body, at, 'msg_1'), ...headers };
    return fetch(url, { method: 'POST', body, headers: all });
  };
  return { post, now, out: () => out };
}

const question = (text: string, more: object = { answer: { channel: 'thread.7', offset: 59, gen: 1 } }) => ({
  type: 'publication', timestamp: '2026-11-30T21:04:13.115Z',
  data: { route: 'assistant', attempt: 1, epoch: 'k3f9', publication: { channel: 'thread.7', offset: 58, key: 'q1', user: 'ann', time: 1, data: { text } }, ...more },
});

test('a signed question is answered word by word, in a response whose length is not known before', async (t) => {
  const { post, out } = await start(t);
  const text = 'Häl 🌍 wörld, and more words than come at once';
  const response = await post(question(text));
  assert.deepEqual([response.status, response.headers.get('content-type'), response.headers.get('transfer-encoding')], [200, 'text/plain; charset=utf-8', 'chunked']);
  const pieces: string[] = [];
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) pieces.push(piece);
  assert.equal(pieces.join(''), `You said: ${text}`);
  assert.ok(pieces.length > 1);
  await until('a line', () => /question 58 in #thread\.7, attempt 1\n/.test(out()));
});

test('a request without a signature of the last five minutes is refused', async (t) => {
  const { post, now } = await start(t);
  const other = 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
  const ping = { type: 'test', timestamp: '2026-11-30T21:04:13.115Z', data: { route: 'assistant' } };
  const body = JSON.stringify(ping);
  const status = async (...args: Parameters<typeof post>) => (await post(...args)).status;
  assert.equal(await status(ping), 204);
  assert.equal(await status(ping, { 'webhook-signature': signed(body, now(), 'msg_1', other) }), 401);
  assert.equal(await status(ping, { 'webhook-signature': '' }), 401);
  assert.equal(await status(ping, { 'webhook-id': 'msg_2' }), 401);
  assert.equal(await status(ping, {}, now() - 400), 401);
  const at = now();
  assert.equal(await status(ping, { 'webhook-signature': `${signed(body, at, 'msg_1', other)} ${signed(body, at, 'msg_1')}` }, at), 204, 'while a secret is replaced');
  const { id, at: then, body: payload, signature } = VECTOR;
  assert.equal(signed(payload, then, id), signature, 'this test signs as the repository of Standard Webhooks does');
});

test('an answer that a user stops breaks off', async (t) => {
  const { post } = await start(t);
  const response = await post(question('again and '.repeat(2_000)));
  const reader = response.body!.getReader();
  assert.equal((await reader.read()).done, false);
  const cancel = { type: 'answer.cancelled', timestamp: '2026-11-30T21:04:13.115Z', data: { route: 'assistant', question: 58, answer: { channel: 'thread.7', offset: 59, gen: 1 } } };
  assert.equal((await post(cancel)).status, 204);
  await assert.rejects(async () => { while (!(await reader.read()).done); }, TypeError);
});

test('it can take questions without an answer', async (t) => {
  const { post } = await start(t, '--204');
  assert.equal((await post(question('Why?'))).status, 204);
  assert.equal((await (await start(t)).post(question('Why?', {}))).status, 204, 'a route that does not answer');
});
