/** Drives a session in a simulated world and checks its invariants after every step. */

import assert from 'node:assert/strict';
import type { Failure, Published } from '../src/api.js';
import { CONNECT_MS } from '../src/limits.js';
import { begin, step, wakeAt } from '../src/session.js';
import type { Event, SessionState } from '../src/state.js';
import { telemetry } from '../src/telemetry.js';
import type { Frame } from '../src/wire.js';
import type { Conn, World } from './world.js';

/** The events that a listener of a channel has received. */
export interface Seen {
  epoch: string;
  last: number | undefined;
  offsets: number[];
  gaps: [number, number][];
  resets: number;
}

/** Freezes a state, because a step must not modify its argument. */
function freeze(state: SessionState): void {
  const guard = () => { throw new Error('a step changed the state it was given'); };
  for (const map of [state.links, state.subs, state.asks, state.requests]) {
    for (const value of map.values()) Object.freeze(value);
    Object.assign(map, { set: guard, delete: guard, clear: guard });
  }
  Object.freeze(state);
  for (const value of [state.view, state.status, state.outbox, ...[...state.subs.values()].map(({ view }) => view)]) frozen(value);
}

/** Freezes a value that apps get, as Immer and Redux do with what they keep. */
function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) Object.values(Object.freeze(value)).forEach(frozen);
  return value;
}

export class Driver {
  state = begin({ watcher: telemetry as never });
  readonly conns = new Map<number, Conn>();
  readonly seen = new Map<string, Seen>();
  readonly published = new Map<string, Published>();
  readonly failed = new Map<string, Failure>();
  readonly pages = new Map<number, 'page' | Failure>();
  readonly dials: number[] = [];
  /** Reports on earlier connections that were sent. */
  reports = 0;
  readonly #heard = new Map<number, number>();
  #served = 0;
  #armed = Infinity;
  #requests = 0;
  #ended: { at: number; retryMs?: number } | undefined;

  constructor(readonly world: World) {}

  tell(event: Event): void {
    const { world } = this;
    freeze(this.state);
    const before = this.state;
    const [state, effects] = step(before, event, world.now, world.random());
    this.state = state;
    if (event.is === 'frame') this.#heard.set(event.link, world.now);
    this.#served = state.link ?? this.#served;
    this.#spacing(before);
    for (const effect of effects) {
      if (effect.do === 'emit') frozen(effect.value);
      if (effect.do === 'settle') frozen(effect.published ?? effect.failure);
      if (effect.do === 'answer') frozen(effect.page ?? effect.failure);
      switch (effect.do) {
        case 'open':
          this.dials.push(world.now);
          world.dial(this, effect.link);
          break;
        case 'send': {
          this.#check(effect.text);
          const conn = this.conns.get(effect.link);
          if (conn) world.toServer(conn, effect.text);
          break;
        }
        case 'close': {
          const conn = this.conns.get(effect.link);
          this.conns.delete(effect.link);
          if (conn) world.gone(conn);
          break;
        }
        case 'save': {
          const { key } = effect.entry;
          world.at(world.between(1, 20), () => this.tell({ is: 'saved', key }));
          break;
        }
        case 'settle': {
          assert.ok(!this.published.has(effect.key) && !this.failed.has(effect.key), `${effect.key} was settled twice`);
          if (effect.published) this.published.set(effect.key, effect.published);
          else this.failed.set(effect.key, effect.failure!);
          break;
        }
        case 'answer':
          assert.ok(!this.pages.has(effect.request), 'a page was answered twice');
          this.pages.set(effect.request, effect.failure ?? 'page');
          break;
        case 'emit': this.#receive(effect.channel, effect.event, effect.value as never); break;
        case 'token': case 'forget': break;
      }
    }
    this.#bounds();
    this.#arm(event);
  }

  /** Checks that a report has the time since the last frame of the lost connection. */
  #check(text: string): void {
    const { connect } = JSON.parse(text) as { connect?: { previous?: { reason: string; offline_ms: number; idle_ms: number } } };
    if (!connect?.previous || connect.previous.reason === 'moved') return;
    const { offline_ms, idle_ms } = connect.previous;
    assert.equal(offline_ms, this.world.now - this.#heard.get(this.#served)!);
    assert.ok(idle_ms >= 0 && idle_ms <= offline_ms, `${idle_ms} of ${offline_ms} ms idle`);
    this.reports += 1;
  }

  #arm(event: Event): void {
    const at = wakeAt(this.state);
    if (event.is === 'wake') assert.ok(at > this.world.now, `the next wake is due at once after a wake: ${at - this.world.now}`);
    if (at >= this.#armed || at === Infinity) return;
    this.#armed = at;
    this.world.at(Math.max(1, at - this.world.now), () => {
      if (this.#armed !== at) return;
      this.#armed = Infinity;
      this.tell({ is: 'wake' });
    });
  }

  /** Checks that everything is bounded, and that each channel has at most one unanswered publish. */
  #bounds(): void {
    const { links, asks, requests, outbox, subs } = this.state;
    assert.ok(links.size <= 3, `${links.size} links`);
    assert.ok(asks.size <= 64, `${asks.size} asks`);
    assert.ok(requests.size <= 32 && outbox.length <= 500 && subs.size <= 8);
    const lanes: string[] = [];
    for (const ask of asks.values()) {
      if (ask.for === 'publish') lanes.push(outbox.find((one) => one.key === ask.key)!.channel);
    }
    assert.equal(new Set(lanes).size, lanes.length, 'two unanswered publishes in one channel');
    assert.equal(outbox.filter((one) => one.state === 'sending').length, lanes.length);
    for (const [channel, seen] of this.seen) if (subs.has(channel) && seen.last !== undefined) assert.equal(subs.get(channel)!.last, seen.last);
  }

  /** Checks that no attempt comes sooner than backoff and the gateway allow. */
  #spacing(before: SessionState): void {
    const { now } = this.world;
    const { view, next, link } = this.state;
    if (before.link !== undefined && link === undefined && 'until' in view) this.#ended = { at: now, retryMs: view.because.retryMs };
    if (next === undefined || next === before.next || link !== undefined || !this.#ended) return;
    const waited = now - this.#ended.at;
    assert.ok(waited >= (this.#ended.retryMs ?? 100), `dialled ${waited} ms after an end, hint ${this.#ended.retryMs}`);
    this.#ended = undefined;
  }

  opened(link: number, conn: Conn): void {
    if (!this.state.links.has(link)) return this.world.gone(conn);
    this.conns.set(link, conn);
    this.tell({ is: 'opened', link });
  }

  closed(link: number, code: number, reason: string): void {
    this.conns.delete(link);
    this.tell({ is: 'closed', link, code, reason });
  }

  frame(link: number, frame: Frame): void {
    if (this.conns.has(link)) this.tell({ is: 'frame', link, frame });
  }

  join(channel: string): void {
    this.seen.set(channel, { epoch: '', last: undefined, offsets: [], gaps: [], resets: 0 });
    this.tell({ is: 'subscribe', channel });
  }

  publish(channel: string, key: string): void {
    this.tell({ is: 'publish', entry: { key, channel, data: key, json: JSON.stringify(key) } });
  }

  history(channel: string): void {
    this.tell({ is: 'history', request: ++this.#requests, body: { channel, limit: 10 } });
  }

  /** Checks that each offset arrives once and in order, and that missing ones were announced. */
  #receive(channel: string, event: string, value: { offset: number; from: number; to: number; epoch: string }): void {
    const seen = this.seen.get(channel)!;
    if (event === 'reset') {
      Object.assign(seen, { last: value.offset, epoch: value.epoch, offsets: [] });
      seen.resets += 1;
    }
    if (event === 'gap') {
      assert.equal(value.from, (seen.last ?? value.from - 1) + 1, 'a gap begins where reading stopped');
      seen.gaps.push([value.from, value.to]);
      seen.last = value.to;
    }
    if (event === 'publication') {
      assert.equal(value.offset, (seen.last ?? value.offset - 1) + 1, `${channel}: ${value.offset} after ${seen.last}`);
      seen.offsets.push(value.offset);
      seen.last = value.offset;
    }
  }

  /** The number of attempts in the busiest minute. */
  busiest(): number {
    return Math.max(0, ...this.dials.map((at) => this.dials.filter((other) => other >= at && other < at + 60_000).length));
  }
}

export const PATIENCE = CONNECT_MS;
