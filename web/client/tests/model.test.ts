/** A model test: no failure of the network or the gateway loses, doubles or reorders publications, or causes rapid reconnects. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Driver } from './driver.js';
import { checkLogs, seeded, World, type PublishFault, type PushFault } from './world.js';

const CHANNELS = ['a', 'b'];
const RUNS = Number(process.env['RUNS'] ?? 150);

type Happening =
  | { is: 'publish'; who: number; channel: number; many: number }
  | { is: 'page'; who: number; channel: number }
  | { is: 'cut' | 'deafen' | 'lag' | 'visible' | 'blink'; who: number }
  | { is: 'down'; ms: number }
  | { is: 'flood'; who: number; channel: number; many: number; trim: boolean }
  | { is: 'refuse'; ms: number; code: number; hint: boolean }
  | { is: 'drain' | 'lose' | 'trim' }
  | { is: 'answer'; fault: PublishFault }
  | { is: 'push'; fault: PushFault };

const who = fc.nat(1);
const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ is: fc.constant('publish' as const), who, channel: fc.nat(1), many: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ is: fc.constant('page' as const), who, channel: fc.nat(1) }) },
  { weight: 4, arbitrary: fc.record({ is: fc.constantFrom('cut' as const, 'deafen' as const, 'lag' as const, 'visible' as const, 'blink' as const), who }) },
  { weight: 1, arbitrary: fc.record({ is: fc.constant('down' as const), ms: fc.integer({ min: 100, max: 20_000 }) }) },
  { weight: 2, arbitrary: fc.record({ is: fc.constant('flood' as const), who, channel: fc.nat(1), many: fc.integer({ min: 1, max: 80 }), trim: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ is: fc.constant('refuse' as const), ms: fc.integer({ min: 100, max: 15_000 }), code: fc.constantFrom(1011, 1013, 4408), hint: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ is: fc.constantFrom('drain' as const, 'lose' as const, 'trim' as const, 'drain' as const) }) },
  { weight: 4, arbitrary: fc.record({ is: fc.constant('answer' as const), fault: fc.constantFrom<PublishFault>('unavailable', 'overloaded', 'draining', 'rate_limited', 'unconfirmed', 'unconfirmed_stored', 'forbidden', 'mute') }) },
  { weight: 4, arbitrary: fc.record({ is: fc.constant('push' as const), fault: fc.constantFrom<PushFault>('drop', 'double', 'late') }) },
);
const script = fc.array(fc.tuple(fc.integer({ min: 0, max: 4000 }), happening), { minLength: 1, maxLength: 40 });

function happen(world: World, drivers: Driver[], what: Happening, nextKey: (who: number) => string): void {
  const conns = (who: number) => [...drivers[who]!.conns.values()].filter((one) => one.open);
  switch (what.is) {
    case 'publish':
      for (let n = 0; n < what.many; n += 1) drivers[what.who]!.publish(CHANNELS[what.channel]!, nextKey(what.who));
      return;
    case 'page': return drivers[what.who]!.history(CHANNELS[what.channel]!);
    case 'cut': return conns(what.who).forEach((conn) => world.cut(conn));
    case 'deafen': return conns(what.who).forEach((conn) => { conn.deaf = true; });
    case 'lag': return conns(what.who).forEach((conn) => { conn.lagging = 4; });
    case 'visible': return drivers[what.who]!.tell({ is: 'visible' });
    case 'blink':
      drivers[what.who]!.tell({ is: 'network', online: false });
      return world.at(700, () => drivers[what.who]!.tell({ is: 'network', online: true }));
    case 'down':
      world.up = false;
      [...world.conns].forEach((conn) => world.cut(conn));
      return world.at(what.ms, () => { world.up = true; });
    case 'refuse': {
      const refusal = { code: what.code, reason: 'unavailable', ...(what.hint && { retry_ms: world.between(200, 3000) }) };
      world.refusal = refusal;
      return world.at(what.ms, () => { if (world.refusal === refusal) world.refusal = undefined; });
    }
    case 'flood':
      conns(what.who).forEach((conn) => world.cut(conn));
      world.flood(CHANNELS[what.channel]!, what.many);
      return what.trim ? world.trim() : undefined;
    case 'drain': return world.drain();
    case 'lose': return world.lose();
    case 'trim': return world.trim();
    case 'answer': return void world.publishFaults.push(what.fault);
    case 'push': return void world.pushFaults.push(what.fault);
  }
}

/** Runs a script, then lets everything work until nothing can still be in flight. */
function run(seed: number, steps: [number, Happening][]): { world: World; drivers: Driver[]; keys: string[][] } {
  const world = new World(seeded(seed));
  const drivers = [new Driver(world), new Driver(world)];
  const keys: string[][] = [[], []];
  const nextKey = (who: number) => {
    const key = `${who}-${String(keys[who]!.length).padStart(4, '0')}`;
    keys[who]!.push(key);
    return key;
  };
  for (const driver of drivers) {
    driver.tell({ is: 'connect' });
    for (const channel of CHANNELS) driver.join(channel);
  }
  for (const [ms, what] of steps) {
    world.pass(ms);
    happen(world, drivers, what, nextKey);
  }
  world.pass(25_000);
  world.up = true;
  world.refusal = undefined;
  world.publishFaults.length = 0;
  world.pushFaults.length = 0;
  for (const conn of world.conns) conn.lagging = 0;
  world.pass(180_000);
  return { world, drivers, keys };
}

/** Checks that one client's publications are in the log in the order in which they were typed. */
function checkOrder(world: World, channel: string): void {
  for (const one of ['0-', '1-']) {
    const typed = world.log(channel).entries.map((entry) => entry.key).filter((key) => key.startsWith(one));
    assert.deepEqual(typed, [...typed].sort(), `${channel}: what one client typed was reordered`);
  }
}

function checkEnd({ world, drivers, keys }: ReturnType<typeof run>): void {
  checkLogs(world);
  CHANNELS.forEach((channel) => checkOrder(world, channel));
  drivers.forEach((driver, index) => {
    assert.equal(driver.state.view.phase, 'online');
    for (const key of keys[index]!) {
      if (world.forbidden.has(key) && !driver.published.has(key)) {
        assert.equal(driver.failed.get(key)?.code, 'forbidden');
        assert.equal(driver.state.outbox.find((one) => one.key === key)?.state, 'failed', 'a failure stays listed');
      } else assert.ok(driver.published.has(key), `${key} was not acknowledged`);
    }
    assert.deepEqual(driver.state.outbox.filter((one) => one.state !== 'failed'), [], 'only failures are left in the outbox');
    for (const channel of CHANNELS) {
      const seen = driver.seen.get(channel)!;
      const sub = driver.state.subs.get(channel)!;
      assert.deepEqual([sub.view.phase, sub.epoch], ['live', world.name()]);
      assert.equal(sub.last, world.log(channel).head, `${channel}: read to the end`);
      if (seen.last !== undefined) assert.equal(seen.last, sub.last);
    }
    assert.equal(driver.state.requests.size, 0);
    assert.ok(driver.busiest() <= 60, `${driver.busiest()} attempts in a minute`);
  });
}

test('a client that lost its connection reports the time since the last frame', () => {
  const { drivers } = run(7, [[1000, { is: 'cut', who: 0 }], [5000, { is: 'deafen', who: 1 }], [60_000, { is: 'down', ms: 20_000 }]]);
  assert.deepEqual(drivers.map((driver) => driver.reports), [2, 2]);
});

test('every publish is acknowledged once or listed as failed, and every offset arrives once and in order', () => {
  fc.assert(fc.property(fc.integer(), script, (seed, steps) => checkEnd(run(seed, steps as [number, Happening][]))), { numRuns: RUNS });
});
