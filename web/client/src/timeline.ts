/** The module `seawall-client/timeline`: a channel as a chat draws it, for every framework or none. Separate, so that only its users load it. */

import type { Channel, Client, Cursor, Observable } from './api.js';
import { need } from './error.js';
import { Items, WINDOWS_MAX, type TimelineItem } from './items.js';
import { Cell } from './observable.js';

export type { TimelineGap, TimelineHead, TimelineItem, TimelineMessage, TimelineReset } from './items.js';

/** Options of {@link timeline}. All are optional. */
export interface TimelineOptions {
  /** The most messages that are kept, at least 1, until {@link Timeline.older} loads more. Default: 500. */
  readonly window?: number;
  /** The position up to which the user has read. Default: everything that is there when the channel first becomes live. */
  readonly read?: Cursor;
}

/** The content of a timeline. */
export interface TimelineState<T = unknown> {
  /** In the order of the log, then the messages that wait, in the order in which they were written. Unchanged items are the same objects. */
  readonly items: readonly TimelineItem<T>[];
  /** The loaded messages that others wrote after the read position and that are not deleted. */
  readonly unread: number;
  /** True if publications after the read position are not loaded: there may be more unread messages. */
  readonly moreUnread: boolean;
  /** True if {@link Timeline.older} can load earlier messages. */
  readonly hasOlder: boolean;
  /** True exactly while {@link Timeline.older} waits for a page. */
  readonly loading: boolean;
  /** The oldest offset that the gateway keeps, as last reported; 1 until then. */
  readonly floor: number;
}

/** A channel's messages. Listeners are called at most once a turn. It ends when its handle leaves the channel. */
export interface Timeline<T = unknown> extends Observable<TimelineState<T>> {
  /**
   * Loads at most `limit` earlier publications (1 to 300, default 50), which are kept until {@link Timeline.newest}, up to 10 windows of
   * messages. Rejects as {@link Channel.history} does. A second call before the first is done does the same as the first.
   */
  older(limit?: number): Promise<void>;
  /** Drops the oldest messages over the window. Call it when the reader is back at the end. */
  newest(): void;
  /** Marks everything as read. Returns the position, to be passed as {@link TimelineOptions.read} at the next start. */
  read(): Cursor | undefined;
}

/** The cell holds the value that listeners know; `value` is newer until the end of the turn. */
class Following<T> extends Cell<TimelineState<T>> implements Timeline<T> {
  readonly #items: Items;
  readonly #channel: Channel<T>;
  #read: Cursor | undefined;
  /** The floor that the last page of history reported. */
  #floor = 1;
  /** True once all that the subscription began with has arrived: until then there are few messages, and a list would ask for more. */
  #whole = false;
  /** True from `older` to `newest`: messages over the window are kept. */
  #held = false;
  #loading: Promise<void> | undefined;
  #value: TimelineState<T> | undefined;
  /** True if `#value` may be outdated. */
  #stale = true;
  /** True while a notification of the listeners is scheduled. */
  #due = false;

  constructor(client: Client, channel: Channel<T>, { window = 500, read }: TimelineOptions) {
    need(Number.isSafeInteger(window) && window > 0, 'window must be a whole number of at least 1.');
    super(undefined as never);
    this.#channel = channel;
    this.#read = read;
    this.#items = new Items(window);
    this.#listen(client);
    this.set(this.value);
  }

  #listen({ state, outbox }: Client): void {
    const items = this.#items;
    const channel = this.#channel;
    // The handle drops these listeners when it leaves.
    channel.on('publication', (one) => {
      items.add(one);
      this.#trim();
    });
    channel.on('gap', (gap) => {
      items.gap(gap);
      this.#changed();
    });
    channel.on('reset', (reset) => {
      items.reset(reset);
      this.#floor = 1;
      this.#changed();
    });
    channel.on('synced', (cursor) => {
      items.oldest ??= cursor.offset + 1;
      this.#read ??= cursor;
      this.#whole = true;
      this.#changed();
    });
    const connected = () => {
      if ('session' in state.value) items.user = state.value.session.user;
      this.#changed();
    };
    const sending = () => {
      items.pending(outbox.value.filter((entry) => entry.channel === channel.name));
      this.#changed();
    };
    const stop = [state.subscribe(connected), outbox.subscribe(sending), channel.state.subscribe(({ phase }) => {
      if (phase === 'left') stop.forEach((off) => off());
      this.#changed();
    })];
    connected();
    sending();
  }

  override get value(): TimelineState<T> {
    const last = this.#value;
    if (this.#stale || !last) {
      const next = this.#state();
      this.#stale = false;
      if (!last || (Object.keys(next) as (keyof typeof next)[]).some((name) => next[name] !== last[name])) return (this.#value = next);
    }
    return last!;
  }

  older(limit = 50): Promise<void> {
    if (!this.#loading && this.value.hasOlder) {
      this.#held = true;
      this.#loading = this.#load(limit).finally(() => {
        this.#loading = undefined;
        this.#changed();
      });
      this.#changed();
    }
    return this.#loading ?? Promise.resolve();
  }

  newest(): void {
    this.#held = false;
    this.#trim();
  }

  read(): Cursor | undefined {
    this.#read = this.#channel.cursor;
    this.#changed();
    return this.#read;
  }

  async #load(limit: number): Promise<void> {
    const items = this.#items;
    const before = items.oldest!;
    const { epoch, floor, publications } = await this.#channel.history({ before, limit });
    // The log may have been replaced, or the timeline begun again, during the request.
    if (epoch !== this.#channel.cursor?.epoch || items.oldest !== before) return;
    for (const one of [...publications].reverse()) items.add(one);
    this.#floor = floor;
    items.oldest = publications[0]?.offset ?? floor;
    this.#trim();
  }

  #trim(): void {
    this.#items.trim(this.#items.window * (this.#held ? WINDOWS_MAX : 1));
    this.#changed();
  }

  #state(): TimelineState<T> {
    const { size, window, oldest = 0 } = this.#items;
    const items = this.#items.list() as readonly TimelineItem<T>[];
    const { state, cursor } = this.#channel;
    const read = this.#read;
    const floor = Math.max(this.#floor, state.value.floor ?? 1);
    // A position in another log says nothing about this one.
    const last = read && (read.epoch === cursor?.epoch ? read.offset : 0);
    const isUnread = (one: TimelineItem) => one.kind === 'message' && one.offset! > last! && !one.own && !one.deleted;
    return {
      items,
      unread: last === undefined ? 0 : items.filter(isUnread).length,
      moreUnread: last !== undefined && last + 1 < oldest && floor < oldest,
      hasOlder: this.#whole && oldest > floor && size < window * WINDOWS_MAX,
      loading: this.#loading !== undefined,
      floor,
    };
  }

  /** Tells listeners at the end of the turn, because a page of history or a replay has many publications. */
  #changed(): void {
    this.#stale = true;
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.set(this.value);
    });
  }
}

/**
 * Follows a channel as a chat draws it: edits and deletes applied, the user's own messages shown from the moment they are written, and the
 * unread ones counted. Call it in the same synchronous turn as `client.channel()`, so that nothing is missed.
 *
 * @throws {@link SeawallError} `invalid`
 */
export function timeline<T>(client: Client, channel: Channel<T>, options: TimelineOptions = {}): Timeline<T> {
  return new Following(client, channel, options);
}
