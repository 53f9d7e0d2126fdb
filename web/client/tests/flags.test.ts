/** Flags, and what those of this package switch off. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOn, type SessionState } from '../src/state.js';
import { telemetry } from '../src/telemetry.js';
import { keptFlags } from '../src/flags.js';
import { Bench, jwt } from './bench.js';
import { client, online, Server } from './fakes.js';
import { until } from './gateway.js';

/** The names that are on, and whether the library may move. */
const flags = ({ state }: { readonly state: SessionState }) => [isOn(state, 'move'), state.flags?.includes('markdown') ?? false];

const drain = { drain: { reason: 'deploy', slot_ms: 100, deadline_ms: 20_000 } };

test('without flags of the gateway those of this package are on and no others', () => {
  const bench = new Bench().online();
  assert.deepEqual(flags(bench), [true, false]);
});

test('flags come with connected, a push replaces them, and they are kept between connections', () => {
  const bench = new Bench().online({ flags: ['markdown'] });
  assert.deepEqual(flags(bench), [false, true]);
  bench.frame({ flags: { on: ['seawall.move', 'voice'] } }).closed(1006);
  assert.deepEqual(bench.state.flags, ['seawall.move', 'voice']);
  bench.pass(500).welcome();
  assert.equal(bench.state.flags, undefined, 'this gateway has none');
});

test('a client without seawall.move waits until the gateway ends its connection', () => {
  const bench = new Bench().online({ flags: [] }).frame(drain).pass(5_000);
  assert.equal(bench.state.view.phase, 'online');
  assert.equal(bench.closed(1012, 'restart; retry_ms=200').waits(), 200);
});

test('without seawall.hurry and seawall.probe the page changes neither the wait nor the connection', () => {
  const bench = new Bench().online({ flags: [] }).closed(1006).tell({ is: 'visible' });
  assert.equal(bench.waits(), 500);
  const quiet = new Bench().online({ flags: [] }).pass(30_000);
  quiet.sent();
  assert.deepEqual(quiet.tell({ is: 'visible' }).sent(), []);
});

test('without seawall.previous nothing is reported', () => {
  const bench = new Bench({ watcher: telemetry as never }).online({ flags: [] }).closed(1006).pass(500);
  assert.equal(bench.opened().asked('connect').body['previous'], undefined);
});

test('the flags of one user do not hold for the next', () => {
  const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: jwt('ada') }).welcome({ user: 'ada', flags: ['markdown'] });
  bench.closed(4501, 'unauthenticated').pass(1_000).tell({ is: 'token', token: jwt('grace') });
  assert.deepEqual(flags(bench), [true, false]);
});

/** A `Storage`. */
class Shelf extends Map<string, string> {
  getItem = (key: string): string | null => this.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.set(key, value);
}

test('kept flags hold for the same account until the gateway answers', async (t) => {
  const [server, storage] = [new Server(), new Shelf()];
  const flags = keptFlags(storage);
  server.flags = ['markdown', 'seawall.move'];
  const first = client(t, server, { flags, user: 'ada' });
  await until('flags', () => first.flag('markdown'));
  first.close();
  server.accepts = false;
  const again = client(t, server, { flags, user: 'ada' });
  assert.deepEqual([again.flags.value, again.flag('markdown'), again.flag('seawall.probe')], [['markdown', 'seawall.move'], true, false]);
  const shelf = (text: string) => Object.assign(new Shelf(), { getItem: () => text });
  assert.equal(client(t, server, { flags: keptFlags(shelf('{')), user: 'ada' }).flag('markdown'), false);
  assert.equal(client(t, server, { flags, user: 'grace' }).flag('markdown'), false);
  server.accepts = true;
  server.flags = undefined;
  again.reconnect();
  await online(again);
  assert.deepEqual([again.flags.value, again.flag('seawall.probe'), [...storage.values()]], [[], true, ['null']]);
});

test('a client without usable storage has its flags once it is connected', async (t) => {
  const server = new Server();
  server.flags = ['markdown'];
  const fail = () => { throw new Error('denied'); };
  const it = client(t, server, { flags: keptFlags({ getItem: fail, setItem: fail }) });
  await until('flags', () => it.flag('markdown'));
});
