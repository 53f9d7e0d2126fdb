/** The channel handles that an app holds. */

import type {
  Channel, ChannelEvents, ChannelOptions, ChannelState, Cursor, HistoryOptions, Page, Publication, Published, PublishOptions,
} from './api.js';
import { need } from './error.js';
import { iterate } from './iteration.js';
import { newKey } from './key.js';
import { Cell, notify } from './observable.js';
import type { NewEntry } from './state.js';
import type { Frame } from './wire.js';

/** The client's functions that handles call. */
export interface Owner {
  cursor(channel: string): Cursor | undefined;
  publish(entry: NewEntry): Promise<Published>;
  request<R>(body: object, name?: string): Promise<R>;
  signal(channel: string, json: string): boolean;
  /** Sends a command that has no id. Returns `false` if there is no connection. */
  send(text: string): boolean;
  /** Called with each frame, after it was handled. */
  readonly taps: Set<(frame: Frame) => void>;
  /** By channel: what is read of its open streams, for the next connection. */
  readonly reading: Map<string, () => object>;
  leave(handle: Handle): void;
}

type Listeners = { [E in keyof ChannelEvents]?: Set<(value: never) => void> };

const EVENTS: readonly string[] = ['publication', 'edit', 'delete', 'signal', 'presence', 'gap', 'reset', 'synced'] satisfies (keyof ChannelEvents)[];
/** A name, which may be that of a personal channel. */
const NAME = /^(?=.{1,128}$)(\$user:)?[\w.:-]+$/;
const KEY = /^[!-~]{1,64}$/;

/** Checks an optional whole number. */
const number = (name: string, value: unknown, least: number, most = Infinity): void =>
  need(value === undefined || (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most), `${name} must be a whole number of at least ${least}${most < Infinity ? ` and at most ${most}` : ''}.`);

/** Checks that not both of two options are given. */
const apart = (names: string, one: unknown, other: unknown): void => need(one === undefined || other === undefined, `${names} exclude each other.`);

/** Checks the arguments of `client.channel()`. */
export function check(name: string, { last, from, catchUp }: ChannelOptions): void {
  need(typeof name === 'string' && NAME.test(name), `${JSON.stringify(name)} is not a channel name: 1 to 128 of A-Z, a-z, 0-9, _ . : -`);
  number('last', last, 0, 300);
  number('catchUp', catchUp, 1);
  apart('last and from', last, from);
  need(!from || (typeof from.epoch === 'string' && from.offset >= 0), 'from must be a cursor.');
  number('from', from?.offset, 0);
}

function stringify(data: unknown, otherwise?: string): string {
  let json: string | undefined;
  let cause = 'data is required';
  try { json = JSON.stringify(data) ?? otherwise; } catch (error) { cause = (error as Error).message; }
  need(json, `data must be JSON: ${cause}.`);
  return json;
}

/** One handle. All handles with the same name share a subscription. */
export class Handle implements Channel {
  /** As in the client. */
  readonly __v_skip = true;
  readonly state = new Cell<ChannelState>({ phase: 'waiting' });
  readonly #listeners: Listeners = {};

  /** `since`: the number of the first client event that this handle receives. */
  constructor(readonly name: string, readonly owner: Owner, readonly since: number) {}

  get cursor(): Cursor | undefined {
    return this.owner.cursor(this.name);
  }

  on<E extends keyof ChannelEvents>(event: E, listener: (value: ChannelEvents[E]) => void): () => void {
    need(EVENTS.includes(event), `${JSON.stringify(event)} is not an event of a channel: listen to ${EVENTS.join(', ')}.`);
    need(typeof listener === 'function', 'The listener must be a function.');
    const all = (this.#listeners[event] ??= new Set());
    const own = (value: never) => listener(value);
    all.add(own);
    return () => { all.delete(own); };
  }

  emit<E extends keyof ChannelEvents>(event: E, value: ChannelEvents[E]): void {
    notify(this.#listeners[event] as Set<(value: ChannelEvents[E]) => void> ?? [], value);
  }

  // Not `async`: the promise of the owner must be the one that the app gets.
  publish(data: unknown, options: PublishOptions = {}): Promise<Published> {
    try {
      return this.owner.publish(this.#entry(data, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #entry(data: unknown, { key = newKey(), edits, deletes }: PublishOptions): NewEntry {
    const json = stringify(data, deletes ? 'null' : undefined);
    need(typeof key === 'string' && KEY.test(key), 'key must be 1 to 64 bytes of visible ASCII.');
    number('edits', edits, 1);
    number('deletes', deletes, 1);
    apart('edits and deletes', edits, deletes);
    return { key, channel: this.name, data: JSON.parse(json), json, edits, deletes };
  }

  async history({ before, after, limit }: HistoryOptions = {}): Promise<Page> {
    number('before', before, 0);
    number('after', after, 0);
    number('limit', limit, 0);
    apart('before and after', before, after);
    return this.owner.request({ channel: this.name, before, after, limit });
  }

  signal(data: unknown): boolean {
    return this.owner.signal(this.name, stringify(data));
  }

  leave(): void {
    if (this.state.value.phase === 'left') return;
    this.owner.leave(this);
    this.state.set({ phase: 'left' });
    for (const event in this.#listeners) delete this.#listeners[event as keyof ChannelEvents];
  }

  [Symbol.asyncIterator](): AsyncIterator<Publication> {
    return iterate(this);
  }
}
