/** The examples run, and print what docs/sdk.md says they do. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { connect } from '../src/index.js';
import { Gateway, missing, until } from './gateway.js';

function example(name: string, ...args: string[]): Promise<string> {
  const path = fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
  const child = spawn(process.execPath, [path, ...args], { timeout: 60_000 });
  let text = '';
  child.stdout.on('data', (more) => { text += more; });
  child.stderr.on('data', (more) => { text += more; });
  return new Promise((resolve, reject) => child.once('exit', (code) => (code === 0 ? resolve(text) : reject(new Error(`${name}: ${code} ${text}`)))));
}

test('an example without its arguments says how to call it, and leaves no file behind', async () => {
  await assert.rejects(example('archive.mjs', 'ws://127.0.0.1:1/ws'), /archive\.mjs: 2 usage: node archive\.mjs URL FILE/);
  assert.ok(!existsSync('undefined.new'));
});

test('the examples for Node print what docs/sdk.md shows', { skip: missing }, async (t) => {
  const it = new Gateway();
  await it.start();
  t.after(() => it.stop());
  const folder = mkdtempSync(join(tmpdir(), 'seawall-examples-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'archive.json');
  assert.match(await example('talk.mjs', it.url), /^connection: online\nanonymous: hello\nstored at 1\nconnection: closed\n$/);
  await example('talk.mjs', it.url);
  assert.equal(await example('archive.mjs', it.url, file, '2'), 'kept 1\nkept 2\n');
  await example('talk.mjs', it.url);
  assert.equal(await example('archive.mjs', it.url, file, '3'), 'kept 3\n');
  assert.match(await example('timeline.mjs', it.url), /helo \((queued|sending|sent)\)\n.*hello \(edited\).*hello \(edited\) \| deleted\n$/s);
  const errors = await example('errors.mjs', it.url);
  assert.match(errors, /^not_found: .*\nfailed: \{"text":"better"\}, not_found\nleft: 0\n$/);
});

test('the example for personal channels prints what is sent to the user, on each device', { skip: missing }, async (t) => {
  const secret = '0123456789abcdef0123456789abcdef';
  const it = new Gateway({ SEAWALL_AUTH_SECRET: secret });
  await it.start();
  t.after(() => it.stop());
  const token = (claims: object) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part({ alg: 'HS256' })}.${part(claims)}`;
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  };
  const devices = [1, 2].map(() => example('personal.mjs', it.url, token({ sub: 'ann@example.com' }), '2'));
  const backend = connect(it.url, { WebSocket, token: token({ sub: 'shop', channels: [{ pattern: '$user:*', rights: ['publish'] }] }) });
  t.after(() => backend.close());
  const inbox = backend.channel('$user:ann:40example.com');
  for (const text of ['paid', 'sent']) await inbox.publish({ text });
  for (const device of devices) assert.equal(await device, 'waiting for messages to $user:ann:40example.com\nshop: paid\nshop: sent\n');
  assert.equal(backend.personal, '$user:shop');
});

test('the example server publishes for programs that speak HTTP, once for each key', { skip: missing }, async (t) => {
  const it = new Gateway();
  await it.start();
  t.after(() => it.stop());
  const path = fileURLToPath(new URL('../../examples/server.mjs', import.meta.url));
  const child = spawn(process.execPath, [path, it.url, '0'], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  let out = '';
  child.stdout.on('data', (text) => { out += text; });
  await until('it listens', () => /listening on (\S+)\n/.test(out));
  const base = /listening on (\S+)\n/.exec(out)![1]!;
  const post = async (channel: string, body: string, key: string) => {
    const answer = await fetch(`${base}/${channel}`, { method: 'POST', body, headers: { 'Idempotency-Key': key } });
    return [answer.status, await answer.json()];
  };
  assert.deepEqual(await post('orders', 'paid', 'order-1'), [200, { offset: 1, duplicate: false }]);
  assert.deepEqual(await post('orders', 'paid', 'order-1'), [200, { offset: 1, duplicate: true }]);
  assert.equal((await post('orders', 'other', 'order-1'))[0], 409);
  assert.deepEqual(await post('orders', 'paid', 'order-1'), [200, { offset: 1, duplicate: true }], 'the refused one is not in the way');
  assert.equal((await post('no%20name', 'x', 'k'))[0], 400);
  assert.equal((await post('orders', 'x'.repeat(70_000), 'long'))[0], 413);
  // A request that is made while the gateway is down is answered when it is back.
  await it.end('SIGKILL');
  const late = post('orders', 'late', 'order-2');
  await it.start();
  assert.deepEqual(await late, [200, { offset: 2, duplicate: false }]);
  child.kill('SIGTERM');
  await until('it ends', () => child.exitCode === 0);
});
