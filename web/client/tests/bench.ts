/** A manual driver for one session. */

import assert from 'node:assert/strict';
import type { Ending } from '../src/api.js';
import { begin, step, wakeAt } from '../src/session.js';
import type { Effect, Event } from '../src/state.js';
import type { Begin, Connected, Frame } from '../src/wire.js';

export const LIMITS = { frame_bytes: 65536, publishes_per_s: 20, publishes_burst: 40, subscriptions: 128 };

/** Drives one session step by step: a test inspects its effects and writes the gateway's frames. */
export class Bench {
  now = 1_000_000;
  random = 0.5;
  effects: Effect[] = [];
  state;

  constructor(options: Parameters<typeof begin>[0] = {}) {
    this.state = begin(options);
  }

  tell(event: Event): this {
    const [state, effects] = step(this.state, event, this.now, this.random);
    this.state = state;
    this.effects.push(...effects);
    if (effects.some((effect) => effect.do === 'save')) for (const effect of effects) if (effect.do === 'save') this.tell({ is: 'saved', key: effect.entry.key });
    return this;
  }

  /** Advances the time and fires every timer that is due. */
  pass(ms: number): this {
    const end = this.now + ms;
    for (let at = wakeAt(this.state); at <= end; at = wakeAt(this.state)) {
      this.now = Math.max(this.now, at);
      this.tell({ is: 'wake' });
    }
    this.now = end;
    return this.tell({ is: 'wake' });
  }

  frame(frame: Frame, link = this.state.next ?? this.state.link!): this {
    return this.tell({ is: 'frame', link, frame });
  }

  opened(): this {
    return this.tell({ is: 'opened', link: this.state.next! });
  }

  /** Returns and removes the frames sent since the last call. */
  sent(): Record<string, unknown>[] {
    return this.take('send').map((effect) => JSON.parse(effect.text) as Record<string, unknown>);
  }

  take<D extends Effect['do']>(what: D): (Effect & { do: D })[] {
    const found = this.effects.filter((effect): effect is Effect & { do: D } => effect.do === what);
    this.effects = this.effects.filter((effect) => effect.do !== what);
    return found;
  }

  /** Returns the last command with this name, and removes all sent frames. */
  asked(name: string): { id: number; body: Record<string, unknown> } {
    const found = this.sent().filter((frame) => name in frame).at(-1);
    assert.ok(found, `${name} was not sent`);
    return { id: found['id'] as number, body: found[name] as Record<string, unknown> };
  }

  welcome(more: Partial<Connected> = {}): this {
    return this.greet(this.opened().asked('connect').id, more);
  }

  greet(id: number, more: Partial<Connected>): this {
    const status = { level: 'ok', revision: 1, dependencies: [], lost: [] } as const;
    return this.frame({ id, connected: { connection: 'c', instance: 'i', user: 'u', ping_ms: 25000, stable_ms: 10000, limits: LIMITS, status, recovered: [], ...more } });
  }

  online(more: Partial<Connected> = {}): this {
    return this.tell({ is: 'connect' }).welcome(more);
  }

  closed(code: number, reason = '', link = this.state.next ?? this.state.link!): this {
    return this.tell({ is: 'closed', link, code, reason });
  }

  publish(key: string, channel = 'c', json = '1'): this {
    return this.tell({ is: 'publish', entry: { key, channel, json, data: null } });
  }

  get because(): Ending {
    assert.ok('because' in this.state.view);
    return this.state.view.because!;
  }

  waits(): number {
    return this.state.retryAt! - this.now;
  }
}

/** A token for this user, as far as a client can read one. */
export const jwt = (sub: string): string => `e30.${Buffer.from(JSON.stringify({ sub })).toString('base64url')}.x`;

export const log = (channel: string, head: number, floor = 1, epoch = 'e'): Begin => ({ channel, epoch, head, floor });
