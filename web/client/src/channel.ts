/** Handles on channels: what an app holds. */

import type {
  Channel, ChannelEvents, ChannelOptions, ChannelState, Cursor, HistoryOptions, Json, Page, Publication, Published, PublishOptions,
} from './api.js';
import { invalid, SeawallError } from './error.js';
import { newKey } from './key.js';
import { ITERATION_MAX } from './limits.js';
import { cell, tell } from './observable.js';
import type { NewEntry } from './state.js';

/** What handles need of their client. */
export interface Owner {
  cursor(channel: string): Cursor | undefined;
  publish(entry: NewEntry): Promise<Published>;
  history(body: object): Promise<Page>;
  signal(channel: string, json: string): boolean;
  leave(handle: Handle): void;
}

type Listeners = { [E in keyof ChannelEvents]?: Set<(value: never) => void> };

const NAME = /^[A-Za-z0-9_.:-]{1,128}$/;
const KEY = /^[!-~]{1,64}$/;
const whole = (value: unknown, least: number) => value === undefined || (Number.isSafeInteger(value) && (value as number) >= least);

/** Says what is wrong with how a channel is asked for. */
export function check(name: string, { last, from, catchUp }: ChannelOptions): void {
  if (!NAME.test(name)) throw invalid(`A channel's name is 1 to 128 of A-Z, a-z, 0-9, '_', '.', ':' and '-', not ${JSON.stringify(name)}.`);
  if (!whole(last, 0) || last! > 300) throw invalid('last is a whole number from 0 to 300.');
  if (last !== undefined && from) throw invalid('last and from exclude each other.');
  if (from && (typeof from.epoch !== 'string' || from.offset === undefined || !whole(from.offset, 0))) throw invalid('from is a cursor: { epoch, offset }.');
  if (!whole(catchUp, 1)) throw invalid('catchUp is a whole number from 1.');
}

function stringify(data: unknown, otherwise?: string): string {
  let json: string | undefined;
  try { json = JSON.stringify(data) ?? otherwise; } catch (error) { throw invalid(`data is not JSON: ${(error as Error).message}`); }
  if (json === undefined) throw invalid('data is required, and has to be JSON.');
  return json;
}

/** One handle; all of a name share a subscription. */
export class Handle implements Channel {
  readonly state = cell<ChannelState>({ phase: 'waiting' });
  readonly #listeners: Listeners = {};

  /** It hears what follows from the client's event `since` on. */
  constructor(readonly name: string, readonly owner: Owner, readonly since: number) {}

  get cursor(): Cursor | undefined {
    return this.owner.cursor(this.name);
  }

  on<E extends keyof ChannelEvents>(event: E, listener: (value: ChannelEvents[E]) => void): () => void {
    const all = (this.#listeners[event] ??= new Set());
    const own = (value: never) => listener(value);
    all.add(own);
    return () => { all.delete(own); };
  }

  emit<E extends keyof ChannelEvents>(event: E, value: ChannelEvents[E]): void {
    tell(this.#listeners[event] as Set<(value: ChannelEvents[E]) => void> ?? [], value);
  }

  publish(data: Json, options: PublishOptions = {}): Promise<Published> {
    try {
      return this.owner.publish(this.#entry(data, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #entry(data: Json, { key = newKey(), edits, deletes }: PublishOptions): NewEntry {
    const json = stringify(data, deletes ? 'null' : undefined);
    if (!KEY.test(key)) throw invalid('key is 1 to 64 bytes of visible ASCII.');
    if (!whole(edits, 1) || !whole(deletes, 1) || (edits && deletes)) throw invalid('edits or deletes is an offset, from 1; not both.');
    return { key, channel: this.name, data: JSON.parse(json), json, edits, deletes };
  }

  async history({ before, after, limit }: HistoryOptions = {}): Promise<Page> {
    if (!whole(before, 0) || !whole(after, 0) || !whole(limit, 0)) throw invalid('before, after and limit are whole numbers from 0.');
    if (before !== undefined && after !== undefined) throw invalid('before and after exclude each other.');
    return this.owner.history({ channel: this.name, before, after, limit });
  }

  signal(data: Json): boolean {
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
          throw new SeawallError({ code: 'overrun', message: `This iteration fell ${ITERATION_MAX} publications behind: read from ${value.offset} with history.` });
        }
        if (over || this.state.value.phase === 'left') return { done: true, value };
        await new Promise<void>((resolve) => { wake = resolve; });
      }
    };
    return {
      // One after the other: each gets the next one, in the order they were asked for.
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
