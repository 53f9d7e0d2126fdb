/** The channel handles that an app holds. */

import type {
  Channel, ChannelEvents, ChannelOptions, ChannelState, Cursor, HistoryOptions, Page, Publication, Published, PublishOptions,
} from './api.js';
import { invalid, SeawallError } from './error.js';
import { newKey } from './key.js';
import { ITERATION_MAX } from './limits.js';
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
  leave(handle: Handle): void;
}

type Listeners = { [E in keyof ChannelEvents]?: Set<(value: never) => void> };

const EVENTS: readonly string[] = ['publication', 'edit', 'delete', 'signal', 'presence', 'gap', 'reset', 'synced'] satisfies (keyof ChannelEvents)[];
/** A name, which may be that of a personal channel. */
const NAME = /^(?=.{1,128}$)(\$user:)?[\w.:-]+$/;
const KEY = /^[!-~]{1,64}$/;
const whole = (value: unknown, least: number) => value === undefined || (Number.isSafeInteger(value) && (value as number) >= least);

/** Checks the arguments of `client.channel()`. */
export function check(name: string, { last, from, catchUp }: ChannelOptions): void {
  if (typeof name !== 'string' || !NAME.test(name)) throw invalid(`A channel name must be 1 to 128 of A-Z, a-z, 0-9, '_', '.', ':' and '-', not ${JSON.stringify(name)}.`);
  if (!whole(last, 0) || last! > 300) throw invalid('last must be a whole number from 0 to 300.');
  if (last !== undefined && from) throw invalid('last and from exclude each other: pass one of them.');
  if (from && (typeof from.epoch !== 'string' || from.offset === undefined || !whole(from.offset, 0))) throw invalid('from must be a cursor: { epoch, offset }.');
  if (!whole(catchUp, 1)) throw invalid('catchUp must be a whole number of at least 1.');
}

function stringify(data: unknown, otherwise?: string): string {
  let json: string | undefined;
  try { json = JSON.stringify(data) ?? otherwise; } catch (error) { throw invalid(`data is not JSON: ${(error as Error).message}`); }
  if (json === undefined) throw invalid('data is required and must be JSON.');
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
    if (!EVENTS.includes(event)) throw invalid(`${JSON.stringify(event)} is not an event of a channel: listen to ${EVENTS.join(', ')}.`);
    if (typeof listener !== 'function') throw invalid('The listener must be a function.');
    const all = (this.#listeners[event] ??= new Set());
    const own = (value: never) => listener(value);
    all.add(own);
    return () => { all.delete(own); };
  }

  emit<E extends keyof ChannelEvents>(event: E, value: ChannelEvents[E]): void {
    notify(this.#listeners[event] as Set<(value: ChannelEvents[E]) => void> ?? [], value);
  }

  publish(data: unknown, options: PublishOptions = {}): Promise<Published> {
    try {
      return this.owner.publish(this.#entry(data, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #entry(data: unknown, { key = newKey(), edits, deletes }: PublishOptions): NewEntry {
    const json = stringify(data, deletes ? 'null' : undefined);
    if (typeof key !== 'string' || !KEY.test(key)) throw invalid('key must be 1 to 64 bytes of visible ASCII.');
    if (!whole(edits, 1) || !whole(deletes, 1) || (edits && deletes)) throw invalid('edits or deletes must be an offset of at least 1, and not both.');
    return { key, channel: this.name, data: JSON.parse(json), json, edits, deletes };
  }

  async history({ before, after, limit }: HistoryOptions = {}): Promise<Page> {
    if (!whole(before, 0) || !whole(after, 0) || !whole(limit, 0)) throw invalid('before, after and limit must be whole numbers of at least 0.');
    if (before !== undefined && after !== undefined) throw invalid('before and after exclude each other: pass one of them.');
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
    const waiting: Publication[] = [];
    let behind = false;
    let over = false;
    let wake = () => {};
    let last: Promise<unknown> = Promise.resolve();
    const stop = [
      this.on('publication', (one) => {
        if (behind) return;
        behind = waiting.push(one) > ITERATION_MAX;
        wake();
      }),
      this.state.subscribe(() => wake()),
    ];
    const end = () => {
      over = true;
      stop.forEach((off) => off());
      wake();
    };
    const take = async (): Promise<IteratorResult<Publication>> => {
      for (;;) {
        const value = over ? undefined : waiting.shift();
        if (value && !(behind && !waiting.length)) return { done: false, value };
        if (value) {
          end();
          throw new SeawallError({ code: 'overrun', message: `This iteration fell ${ITERATION_MAX} publications behind: continue from offset ${value.offset} with history.` });
        }
        if (over || this.state.value.phase === 'left') return { done: true, value };
        await new Promise<void>((resolve) => { wake = resolve; });
      }
    };
    return {
      // Calls take turns, so that each gets the next publication in call order.
      next: () => {
        const mine = last.then(take);
        last = mine.catch(() => {});
        return mine;
      },
      return: async () => {
        end();
        return { done: true, value: undefined };
      },
    };
  }
}
