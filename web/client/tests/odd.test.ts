/** Odd surroundings: lifetimes of tokens, gateways that never answer, hidden and frozen tabs, and origins that are not secure. */

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { durable } from '../src/durable.js';
import type { Clock } from '../src/index.js';
import { Bench } from './bench.js';
import { client, online, Server, Shelf } from './fakes.js';
import { until } from './gateway.js';

const TIMER_MAX_MS = 2 ** 31 - 1;

test('a lifetime of a token, however short, long or wrong, causes no storm of refreshes', () => {
  for (const left of [0, -3_600_000, 1, 9_999, 10_001, TIMER_MAX_MS + 1, Number.MAX_SAFE_INTEGER, 1e300]) {
    const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: 't' });
    bench.welcome({ expires: bench.now + left, expires_in_ms: left }).take('token');
    let asked = 0;
    for (let second = 0; second < 60; second += 1) {
      bench.pass(1_000).frame({ beat: { revision: 1 } });
      const calls = bench.take('token').length;
      asked += calls;
      if (calls === 0) continue;
      const { id } = bench.tell({ is: 'token', token: 't' }).asked('refresh');
      bench.frame({ id, refreshed: { expires: bench.now + left, expires_in_ms: left } });
    }
    assert.equal(bench.state.view.phase, 'online');
    assert.equal(asked, left > 60_000 ? 0 : asked, `${left}`);
    assert.ok(asked <= 6, `${left}: ${asked} refreshes in a minute`);
  }
});

test('tokens that live for seconds keep a client going, because each was accepted', () => {
  const bench = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: 't' });
  for (let round = 0; round < 40; round += 1) {
    bench.welcome({ expires: bench.now + 5_000, expires_in_ms: 5_000 }).pass(5_000).closed(4501, 'token_expired');
    assert.equal(bench.state.view.phase, 'waiting', `round ${round}`);
    bench.pass(bench.waits()).tell({ is: 'token', token: 't' });
  }
});

test('an opening that never ends, and a connect that is never answered, are given up, and dialled again', () => {
  for (const [opens, most, reason] of [[false, 15_000, 'silent'], [true, 10_000, 'unanswered']] as const) {
    const bench = new Bench().tell({ is: 'connect' });
    const [first] = bench.take('open');
    if (opens) bench.opened();
    bench.pass(most - 1);
    assert.deepEqual([bench.state.view.phase, bench.take('close').length], ['connecting', 0]);
    bench.pass(1);
    assert.deepEqual(bench.take('close').map(({ link }) => link), [first!.link]);
    assert.deepEqual([bench.state.view.phase, bench.because.reason], ['waiting', reason]);
    bench.pass(bench.waits());
    assert.equal(bench.take('open').length, 1);
  }
});

/** A clock that a test turns: timers fire when the time is set. */
class Hand implements Clock {
  #now = 1_000_000_000;
  readonly timers = new Map<object, { readonly at: number; readonly run: () => void }>();
  now = () => this.#now;
  setTimeout(run: () => void, ms: number): object {
    const timer = {};
    this.timers.set(timer, { at: this.#now + ms, run });
    return timer;
  }
  clearTimeout(timer: object): void { this.timers.delete(timer); }
  /** Lets time pass; a frozen page fires no timer meanwhile. */
  freeze(ms: number): void { this.#now += ms; }
  pass(ms: number): void {
    this.freeze(ms);
    for (const [timer, { at, run }] of [...this.timers]) {
      if (at <= this.#now && this.timers.delete(timer)) run();
    }
  }
}

/** Has `globalThis` look like a page's. */
function page(t: TestContext, values: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(values)) {
    const was = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (was ? Object.defineProperty(globalThis, name, was) : delete (globalThis as Record<string, unknown>)[name]));
  }
}

test('a tab that is shown again probes its connection, and one that stays hidden does not', async (t) => {
  const document = Object.assign(new EventTarget(), { visibilityState: 'hidden' });
  const window = new EventTarget();
  page(t, { document, addEventListener: window.addEventListener.bind(window), removeEventListener: window.removeEventListener.bind(window) });
  const [server, clock] = [new Server(), new Hand()];
  const it = client(t, server, { clock });
  await online(it);
  const socket = server.sockets[0]!;
  const probes = () => socket.sent.filter((frame) => 'ping' in frame).length;
  clock.pass(20_000);
  document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(probes(), 0, 'it is hidden');
  document.visibilityState = 'visible';
  document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(probes(), 1);
  // From the cache of pages that were left.
  socket.deliver({ beat: { revision: 1 } });
  socket.deliver({ id: socket.sent.at(-1)!['id'], error: { code: 'unknown_command', message: '' } });
  clock.pass(20_000);
  window.dispatchEvent(new Event('pageshow'));
  assert.equal(probes(), 2);
  it.close();
  clock.pass(20_000);
  document.dispatchEvent(new Event('visibilitychange'));
  window.dispatchEvent(new Event('online'));
  assert.deepEqual([probes(), server.sockets.length], [2, 1], 'a closed client listens to nothing');
});

test('a tab that was frozen for an hour connects again when it wakes up', async (t) => {
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  page(t, { document });
  const [server, clock] = [new Server(), new Hand()];
  const it = client(t, server, { clock });
  await online(it);
  clock.freeze(3_600_000);
  document.dispatchEvent(new Event('visibilitychange'));
  // The gateway ended the connection long ago, and the browser did not notice.
  clock.pass(5_000);
  await until('dialled again', () => {
    clock.pass(1_000);
    return server.sockets.length === 2;
  });
  await online(it);
});

test('an origin that is not secure has no locks and few functions for keys, and publishes all the same', async (t) => {
  const random = crypto.getRandomValues.bind(crypto);
  page(t, { isSecureContext: false, navigator: { onLine: true }, crypto: { getRandomValues: random } });
  const [server, shelf] = [new Server(), new Shelf()];
  const it = client(t, server, { outbox: durable({ storage: shelf }) });
  await online(it);
  const keys = await Promise.all(['a', 'b'].map((text) => it.channel('c').publish(text)));
  assert.equal(new Set(keys.map(({ key }) => key)).size, 2);
  assert.deepEqual([it.outbox.storage.value, server.stored.map(({ data }) => data)], ['durable', ['a', 'b']]);
  await until('nothing is left', () => shelf.entries.length === 0);
});
