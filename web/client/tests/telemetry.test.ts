/** The report on the last connection. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { telemetry } from '../src/telemetry.js';
import { Bench as Plain } from './bench.js';
import { client, online, Server } from './fakes.js';

const watcher = telemetry as never;

/** A session with telemetry. */
class Bench extends Plain {
  constructor(options: ConstructorParameters<typeof Plain>[0] = {}) {
    super({ watcher, ...options });
  }
}

/** Opens the next connection and returns the report that it sends. */
const report = (bench: Bench): unknown => bench.opened().asked('connect').body['previous'];

test('the first connection has nothing to report, nor has one without telemetry', () => {
  assert.equal(report(new Bench().tell({ is: 'connect' })), undefined);
  const silent = new Plain().online().closed(1006).pass(500);
  assert.equal(report(silent), undefined);
});

test('a lost connection is reported with its end, the time since its last bytes, and the attempts', () => {
  const bench = new Bench().online({ connection: 'e36a' }).pass(10_000).closed(1006).pass(500).closed(1006).pass(1000);
  assert.deepEqual(report(bench), {
    connection: 'e36a', code: 1006, reason: 'lost', offline_ms: 11_500, idle_ms: 0, waited_ms: 0, attempts: 2, failed: { never_opened: 1 },
  });
  const again = bench.closed(1006).pass(2000);
  assert.deepEqual((report(again) as { failed: object }).failed, { never_opened: 1, lost: 1 }, 'the second one had opened');
});

test('the reference of a bye is reported, and the waits that refusals of attempts asked for', () => {
  const bench = new Bench().online().closed(1011, 'unavailable; dependency=store; retry_ms=2000; ref=k3f9').pass(2000);
  bench.closed(1013, 'over_capacity; retry_ms=3000').pass(3000);
  const { reason, reference, waited_ms, failed, attempts } = report(bench) as Record<string, unknown>;
  assert.deepEqual([reason, reference, waited_ms, failed, attempts], ['unavailable', 'k3f9', 3000, { bye_1013: 1 }, 2]);
});

test('a client can be made without telemetry: undefined or false', async (t) => {
  for (const none of [undefined, false] as const) await online(client(t, new Server(), { telemetry: none as false }));
});

test('a wait that a person cut short counts as far as it was kept', () => {
  const bench = new Bench().online().closed(1006).pass(500).closed(1011, 'unavailable; retry_ms=9000').pass(1000).tell({ is: 'connect' });
  assert.equal((report(bench) as { waited_ms: number }).waited_ms, 1000);
});

test('time without a network, in a sleeping page or without a token is idle', () => {
  const offline = new Bench().online().tell({ is: 'network', online: false }).closed(1006).pass(700).tell({ is: 'network', online: true }).pass(1000);
  const { offline_ms, idle_ms } = report(offline) as Record<string, number>;
  assert.deepEqual([offline_ms! >= idle_ms!, idle_ms], [true, 700]);
  const asleep = new Bench().online();
  asleep.now += 3_600_000;
  asleep.tell({ is: 'wake' }).pass(500);
  const slept = report(asleep) as Record<string, number>;
  assert.deepEqual([slept['reason'], slept['idle_ms'], slept['offline_ms']], ['silent', 3_590_000, 3_600_500]);
  const tokenless = new Bench({ renewable: true }).tell({ is: 'connect' }).tell({ is: 'token', token: 't' }).welcome({ expires_in_ms: 1000 });
  tokenless.pass(2000).closed(1006);
  tokenless.tell({ is: 'token', message: 'none' }).pass(500).pass(4000).tell({ is: 'token', token: 'u' });
  const { idle_ms: waits, failed } = report(tokenless) as { idle_ms: number; failed: object };
  assert.ok(waits > 0, JSON.stringify([waits, failed]));
});

test('a move to another connection is reported as such', () => {
  const bench = new Bench().online({ connection: 'aa' }).frame({ drain: { reason: 'deploy', slot_ms: 100, deadline_ms: 20_000 } }).pass(100);
  assert.deepEqual(report(bench), { connection: 'aa', code: 1000, reason: 'moved', attempts: 1 });
});

test('a client that was stopped for good reports nothing when a person connects it again', () => {
  const bench = new Bench().online().closed(4503, 'forbidden').tell({ is: 'connect' });
  assert.equal(report(bench), undefined);
});
