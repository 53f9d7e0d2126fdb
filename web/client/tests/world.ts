/**
 * A simulated world: one gateway, a network that fails, and clients on a virtual clock. Everything follows from one
 * seed, so failures are reproducible.
 */

import assert from 'node:assert/strict';
import type { Begin, Frame } from '../src/wire.js';
import type { Driver } from './driver.js';

export type Random = () => number;

/** mulberry32: a small, seeded generator that is good enough for tests. */
export function seeded(seed: number): Random {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Due { at: number; order: number; run: () => void }
interface Stored { offset: number; key: string; user: string; data: string; time: number }
interface Log { floor: number; entries: Stored[]; head: number }
type Ask = { channel: string; key: string; data: string; last?: number; recover?: { epoch: string; offset: number }; after?: number; before?: number; limit?: number };

/** The fault that the next publish meets. */
export type PublishFault = 'unavailable' | 'overloaded' | 'draining' | 'rate_limited' | 'unconfirmed' | 'unconfirmed_stored' | 'forbidden' | 'mute';
/** The fault that the next publication pushed to a connection meets. */
export type PushFault = 'drop' | 'double' | 'late';

/** One connection, as the gateway and the network see it. */
export class Conn {
  open = true;
  /** Drops everything in both directions, without either side noticing. */
  deaf = false;
  greeted = false;
  /** The number of publications that are not sent before `lag` is. */
  lagging = 0;
  lagFrom = 0;
  readonly subs = new Set<string>();
  down = 0;
  up = 0;
  constructor(readonly driver: Driver, readonly link: number) {}
}

export class World {
  now = 1_700_000_000_000;
  up = true;
  refusal: { code: number; reason: string; retry_ms?: number } | undefined;
  epoch = 1;
  beats = true;
  pingMs = 5000;
  readonly logs = new Map<string, Log>();
  readonly keys = new Map<string, Stored>();
  readonly conns = new Set<Conn>();
  readonly publishFaults: PublishFault[] = [];
  readonly pushFaults: PushFault[] = [];
  /** Keys that were refused for good, so never stored. */
  readonly forbidden = new Set<string>();
  #queue: Due[] = [];
  #order = 0;

  constructor(readonly random: Random) {
    this.#beat();
  }

  at(ms: number, run: () => void): void {
    this.#queue.push({ at: this.now + ms, order: this.#order++, run });
  }

  /** Advances the time and runs what is due. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      let first: Due | undefined;
      for (const one of this.#queue) if (!first || one.at < first.at || (one.at === first.at && one.order < first.order)) first = one;
      if (!first || first.at > end) break;
      this.#queue.splice(this.#queue.indexOf(first), 1);
      this.now = Math.max(this.now, first.at);
      first.run();
    }
    this.now = end;
  }

  between(least: number, most: number): number {
    return least + Math.floor(this.random() * (most - least));
  }

  log(channel: string): Log {
    let log = this.logs.get(channel);
    if (!log) this.logs.set(channel, (log = { floor: 1, entries: [], head: 0 }));
    return log;
  }

  name(): string {
    return `e${this.epoch}`;
  }

  // The network.

  dial(driver: Driver, link: number): void {
    this.at(this.between(2, 150), () => {
      if (!this.up) return driver.closed(link, 1006, '');
      const conn = new Conn(driver, link);
      this.conns.add(conn);
      driver.opened(link, conn);
    });
  }

  /** Delivers frames in order, each after a delay. */
  toServer(conn: Conn, text: string): void {
    conn.up = Math.max(conn.up, this.now + this.between(1, 60));
    this.at(conn.up - this.now, () => {
      if (conn.open && !conn.deaf) this.#handle(conn, JSON.parse(text) as { id: number } & Record<string, Ask>);
    });
  }

  toClient(conn: Conn, frame: Frame, late = 0): void {
    const text = JSON.stringify(frame);
    if (!late) conn.down = Math.max(conn.down, this.now + this.between(1, 60));
    this.at(late || conn.down - this.now, () => {
      if (!conn.deaf) conn.driver.frame(conn.link, JSON.parse(text) as Frame);
    });
  }

  /** Ends a connection from the gateway's side, most of the time with a `bye` first. */
  end(conn: Conn, code: number, reason: string, retry_ms?: number): void {
    if (!conn.open) return;
    const hint = retry_ms === undefined ? '' : `; retry_ms=${retry_ms}`;
    if (this.random() < 0.7) this.toClient(conn, { bye: { code, reason, ...(retry_ms !== undefined && { retry_ms }) } });
    conn.open = false;
    this.conns.delete(conn);
    conn.down += 1;
    this.at(conn.down - this.now, () => {
      if (!conn.deaf) conn.driver.closed(conn.link, code, `${reason}${hint}`);
    });
  }

  /** Breaks a connection; frames in flight in both directions are lost. */
  cut(conn: Conn): void {
    conn.open = false;
    conn.deaf = true;
    this.conns.delete(conn);
    conn.driver.closed(conn.link, 1006, '');
  }

  /** Handles a close by the client. */
  gone(conn: Conn): void {
    conn.open = false;
    conn.deaf = true;
    this.conns.delete(conn);
  }

  // The gateway.

  /** Loses all logs, which starts a new epoch and ends all connections. */
  lose(): void {
    this.epoch += 1;
    this.logs.clear();
    this.keys.clear();
    for (const conn of [...this.conns]) this.end(conn, 1012, 'restart', this.between(50, 500));
  }

  /** Publishes as another client. */
  flood(channel: string, many: number): void {
    for (let n = 0; n < many; n += 1) this.#store(channel, `x-${this.#order++}`, 'x');
  }

  trim(): void {
    for (const log of this.logs.values()) {
      log.floor = Math.max(log.floor, log.head + 1 - this.between(0, 5));
      log.entries = log.entries.filter((one) => one.offset >= log.floor);
    }
  }

  drain(): void {
    for (const conn of [...this.conns]) {
      if (!conn.greeted) continue;
      const deadline = this.between(1500, 6000);
      this.toClient(conn, { drain: { reason: 'deploy', slot_ms: this.between(0, 3000), deadline_ms: deadline } });
      this.at(deadline, () => this.end(conn, 1012, 'restart', this.between(50, 2000)));
    }
  }

  #beat(): void {
    this.at(2500, () => {
      for (const conn of this.conns) {
        if (!conn.greeted || !this.beats) continue;
        const heads = Object.fromEntries([...conn.subs].map((name) => [name, this.log(name).head]));
        this.toClient(conn, { beat: { revision: 1, heads } });
      }
      this.#beat();
    });
  }

  #handle(conn: Conn, frame: { id: number } & Record<string, Ask>): void {
    const { id } = frame;
    if (!conn.greeted && !frame['connect']) return this.end(conn, 4501, 'unauthenticated');
    if (frame['connect']) return this.#connect(conn, id, frame['connect'] as unknown as { recover: (Ask['recover'] & { channel: string })[] });
    if (frame['subscribe']) {
      const { channel, last, recover } = frame['subscribe'];
      const begin = this.#subscribe(conn, channel, recover);
      this.toClient(conn, { id, subscribed: begin });
      this.#replay(conn, begin, recover ? recover.offset : begin.head - (last ?? 0));
    } else if (frame['unsubscribe']) {
      conn.subs.delete(frame['unsubscribe'].channel);
      this.toClient(conn, { id });
    } else if (frame['publish']) this.#publish(conn, id, frame['publish']);
    else if (frame['history']) this.#history(conn, id, frame['history']);
    else this.toClient(conn, { id, error: { code: 'unknown_command', message: 'no such command' } });
  }

  #connect(conn: Conn, id: number, { recover }: { recover: { channel: string; epoch: string; offset: number }[] }): void {
    if (this.refusal) return this.end(conn, this.refusal.code, this.refusal.reason, this.refusal.retry_ms);
    conn.greeted = true;
    const recovered = recover.map((one) => this.#subscribe(conn, one.channel, one));
    this.toClient(conn, {
      id,
      connected: {
        connection: `${conn.link}`, instance: 'gw', user: 'u', ping_ms: this.pingMs, stable_ms: 3000, recovered,
        limits: { frame_bytes: 65536, publishes_per_s: 20, publishes_burst: 40, subscriptions: 128 },
        status: { level: 'ok', revision: 1, dependencies: [], lost: [] },
      },
    });
    recovered.forEach((begin, index) => this.#replay(conn, begin, recover[index]!.offset));
  }

  #subscribe(conn: Conn, channel: string, recover?: { epoch: string; offset: number }): Begin {
    const { head, floor } = this.log(channel);
    const begin = { channel, epoch: this.name(), head, floor };
    conn.subs.add(channel);
    if (!recover) return begin;
    if (recover.epoch !== begin.epoch || recover.offset > head) return { ...begin, because: 'epoch_changed' };
    if (recover.offset + 1 < floor) return { ...begin, because: 'expired' };
    return head - recover.offset > 30 ? { ...begin, because: 'too_far' } : begin;
  }

  #replay(conn: Conn, { channel, because, head }: Begin, after: number): void {
    if (!because) for (const one of this.log(channel).entries) if (one.offset > after) this.toClient(conn, { publication: publication(channel, one) });
    this.toClient(conn, { synced: { channel, offset: head } });
  }

  #publish(conn: Conn, id: number, { channel, key, data }: Ask): void {
    const fault = this.publishFaults.shift();
    const error = (code: string, retry_ms?: number) =>
      this.toClient(conn, { id, error: { code, message: 'as injected', ...(retry_ms && { retry_ms }) } as never });
    switch (fault) {
      case 'unavailable': case 'overloaded': case 'draining': case 'rate_limited': case 'unconfirmed':
        return error(fault, this.between(50, 1500));
      case 'forbidden':
        if (this.keys.has(`${channel} ${key}`)) break;
        this.forbidden.add(key);
        return error('forbidden');
      case 'unconfirmed_stored':
        this.#store(channel, key, data);
        return error('unconfirmed', this.between(50, 1500));
      case 'mute':
        return void this.#store(channel, key, data);
      case undefined: break;
    }
    const known = this.keys.get(`${channel} ${key}`);
    if (known && known.data !== JSON.stringify(data)) return error('key_conflict');
    const { offset, time } = known ?? this.#store(channel, key, data);
    this.toClient(conn, { id, published: { channel, key, epoch: this.name(), offset, time, duplicate: !!known } });
  }

  #store(channel: string, key: string, data: string): Stored {
    const known = this.keys.get(`${channel} ${key}`);
    if (known) return known;
    const log = this.log(channel);
    const one = { offset: ++log.head, key, user: 'u', data: JSON.stringify(data), time: this.now };
    log.entries.push(one);
    this.keys.set(`${channel} ${key}`, one);
    for (const conn of this.conns) if (conn.subs.has(channel)) this.#push(conn, channel, one);
    return one;
  }

  #push(conn: Conn, channel: string, one: Stored): void {
    if (conn.lagging > 0) {
      conn.lagFrom ||= one.offset;
      conn.lagging -= 1;
      if (conn.lagging === 0) {
        this.toClient(conn, { lag: { channel, from: Math.min(conn.lagFrom, one.offset), head: one.offset } });
        conn.lagFrom = 0;
      }
      return;
    }
    const fault = this.pushFaults.shift();
    if (fault === 'drop') return;
    const frame = { publication: publication(channel, one) };
    if (fault === 'late') return this.toClient(conn, frame, this.between(100, 800));
    this.toClient(conn, frame);
    if (fault === 'double') this.toClient(conn, frame);
  }

  #history(conn: Conn, id: number, { channel, after, before, limit = 50 }: Ask): void {
    const { entries, head, floor } = this.log(channel);
    // Short pages, so that clients have to read several.
    const most = Math.min(limit, 20);
    const found = before === undefined && after !== undefined
      ? entries.filter((one) => one.offset > after).slice(0, most)
      : entries.filter((one) => one.offset < (before ?? Infinity)).slice(-most);
    this.toClient(conn, { id, history: { channel, epoch: this.name(), head, floor, publications: found.map((one) => publication(channel, one)) } });
  }
}

function publication(channel: string, { offset, key, user, data, time }: Stored) {
  return { channel, offset, key, user, time, data: JSON.parse(data) as string };
}

/** Checks that no log has a key twice or a gap in its offsets. */
export function checkLogs(world: World): void {
  for (const { entries, floor, head } of world.logs.values()) {
    assert.deepEqual(entries.map((one) => one.offset), Array.from({ length: head + 1 - floor }, (_, n) => floor + n));
    assert.equal(new Set(entries.map((one) => one.key)).size, entries.length);
  }
}
