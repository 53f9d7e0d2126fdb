/** The commands and blocks of docs/sdk.md for installing, frameworks and dev servers: each is run as it is written. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { createServer } from 'vite';
import { effectScope, reactive, ref, shallowRef, type Ref } from 'vue';
import WebSocket from 'ws';
import { connect, SeawallError, type Client, type Observable } from '../src/index.js';
import { timeline } from '../src/timeline.js';
import { client, online, Server } from './fakes.js';
import { Gateway, missing, until } from './gateway.js';

const here = fileURLToPath(new URL('../../', import.meta.url));
const guide = readFileSync(join(here, '../../docs/sdk.md'), 'utf8');

/** Returns the one block of this language that contains a text. */
function block(language: string, text: string): string {
  const found = [...guide.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, is, body]) => is === language && body!.includes(text));
  assert.equal(found.length, 1, `docs/sdk.md has one ${language} block with ${text}`);
  return found[0]![2]!;
}

/** Returns a folder below the workspace, so that modules in it find the packages. */
function folder(t: TestContext): string {
  mkdirSync(join(here, '.tests'), { recursive: true });
  const path = mkdtempSync(join(here, '.tests', 'guide-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Imports a module with this code. */
async function load<T>(t: TestContext, code: string): Promise<T> {
  const path = join(folder(t), 'block.mjs');
  writeFileSync(path, code);
  return await import(path) as T;
}

test('the commands that pack and install the library work', (t) => {
  const app = mkdtempSync(join(tmpdir(), 'seawall-app-'));
  t.after(() => rmSync(app, { recursive: true, force: true }));
  const pack = block('sh', 'npm pack').split('\n').find((line) => line.startsWith('npm pack'))!;
  const install = block('sh', 'npm install').trim();
  // The library is built already, and other tests use it.
  const run = (line: string, cwd: string) => execFileSync('sh', ['-c', line.replaceAll('/tmp', app)], { cwd, stdio: 'pipe' });
  run(`${pack} --ignore-scripts`, join(here, '..'));
  writeFileSync(join(app, 'package.json'), '{"type":"module"}');
  run(`${install} --offline --no-audit --no-fund`, app);
  const code = "import { connect } from 'seawall-client'; import { durable } from 'seawall-client/outbox'; import { timeline } from 'seawall-client/timeline'; console.log(typeof connect, typeof durable, typeof timeline);";
  assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: app, encoding: 'utf8' }), 'function function function\n');
});

test('Vue holds a client and a channel in its state, and follows an observable', async (t) => {
  const { useValue } = await load<{ useValue: <T>(of: Observable<T>) => Ref<T> }>(t, block('js', "from 'vue'"));
  const server = new Server();
  const plain = client(t, server);
  const held: Ref<Client>[] = [ref(plain) as Ref<Client>, shallowRef(plain)];
  for (const { value } of held) {
    const state = reactive({ room: value.channel('c'), outbox: value.outbox });
    assert.equal(value, plain);
    const heard: unknown[] = [];
    state.room.on('publication', ({ data }) => heard.push(data));
    assert.equal(state.room.cursor?.offset, value.channel('c').cursor?.offset);
    assert.equal(state.outbox.value, plain.outbox.value);
    state.room.leave();
  }
  const scope = effectScope();
  const phase = scope.run(() => useValue(plain.state))!;
  await online(plain);
  assert.equal(phase.value.phase, 'online');
  scope.stop();
  server.sockets[0]!.lost();
  assert.deepEqual([phase.value.phase, plain.state.value.phase], ['online', 'waiting'], 'the scope has ended');
});

test('React renders an idle client on a server', async (t) => {
  const { code } = await transform(block('jsx', "from 'react'"), { loader: 'jsx', jsx: 'automatic', format: 'esm' });
  const { Connection } = await load<{ Connection: (props: { client: Client }) => never }>(t, code);
  const html = renderToString(createElement(Connection, { client: connect('/ws', { idle: true }) }));
  assert.equal(html, '<p role="status">connecting</p>');
});

test('MobX, Immer, Solid and Svelte hold what the library returns, and follow its observables', (t) => {
  const path = folder(t);
  for (const name of ['mobx', 'immer', 'solid-js', 'svelte/store']) writeFileSync(join(path, `${name.split('/')[0]}.mjs`), block('js', `from '${name}'`));
  // Without this condition Solid and Svelte load what they have for servers, where nothing changes.
  const out = execFileSync(process.execPath, ['--conditions=browser', join(here, 'tests', 'frameworks.mjs'), path], { encoding: 'utf8' });
  assert.match(out, /^held: 6\nfollowed: 4\n$/);
});

test('what the library returns can be cloned for a worker', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c');
  const line = timeline(it, room);
  const heard: unknown[] = [];
  for (const event of ['publication', 'edit', 'delete', 'signal', 'gap', 'reset', 'synced'] as const) room.on(event, (value) => heard.push(value));
  await online(it);
  await until('live', () => room.state.value.phase === 'live');
  const failed = await room.publish(1, { key: '' }).catch((error: unknown) => error);
  assert.ok(failed instanceof SeawallError);
  const stored = await room.publish({ text: 'a' });
  const publication = { channel: 'c', offset: 1, key: stored.key, user: 'anonymous', time: 1, data: { text: 'a' } };
  const push = (frame: object) => server.sockets[0]!.deliver(frame);
  push({ publication });
  push({ publication: { ...publication, offset: 2, edits: 1 } });
  push({ publication: { ...publication, offset: 3, deletes: 1, data: null } });
  push({ signal: { channel: 'c', user: 'ann', data: 1 } });
  server.answers = false;
  void room.publish({ text: 'waits' });
  assert.deepEqual([heard.length, it.outbox.value.length, line.value.items.length], [7, 1, 2]);
  for (const value of [it.state.value, it.status.value, it.outbox.value, room.state.value, room.cursor, stored, line.value, ...heard]) {
    assert.deepEqual(structuredClone(value), value);
  }
  assert.equal(structuredClone(failed).message, failed.message);
});

test('Vite forwards /ws with the configuration of the guide', { skip: missing }, async (t) => {
  const gateway = new Gateway();
  await gateway.start();
  t.after(() => gateway.stop());
  const root = folder(t);
  const config = block('js', 'proxy').replace('127.0.0.1:8080', new URL(gateway.url).host);
  writeFileSync(join(root, 'vite.config.mjs'), config);
  writeFileSync(join(root, 'index.html'), '<!doctype html><title>an app</title>');
  const vite = await createServer({ root, configFile: join(root, 'vite.config.mjs'), logLevel: 'silent', server: { port: 0, host: '127.0.0.1', hmr: false, watch: null } });
  await vite.listen();
  t.after(() => vite.close());
  const address = vite.httpServer!.address();
  assert.ok(address && typeof address === 'object');
  const origin = `http://127.0.0.1:${address.port}`;
  // A socket with the origin of the page, as a browser has it.
  class PageSocket extends WebSocket {
    constructor(url: string, protocols: string[]) { super(url, protocols, { origin }); }
  }
  const it = connect(`${origin}/ws`, { WebSocket: PageSocket });
  t.after(() => it.close());
  await until('online', () => it.state.value.phase === 'online');
  const direct = connect(gateway.url, { WebSocket: PageSocket });
  t.after(() => direct.close());
  await until('refused without the proxy', () => direct.state.value.phase === 'closed');
  assert.ok('because' in direct.state.value && direct.state.value.because!.code === 4506);
});
