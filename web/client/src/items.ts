/** A channel's messages with edits and deletes applied, joined with the outbox. Values in, immutable values out: no client, no timer. */

import type { Gap, OutboxEntry, Publication, PublicationHead, Reset } from './api.js';

/** The members of every message. */
export interface TimelineHead {
  readonly kind: 'message';
  /** Unique in the timeline, and the same before and after this client's own message is stored: use it as the key of a list. */
  readonly id: string;
  /** Absent until the message is stored. */
  readonly offset?: number;
  readonly key?: string;
  /** Absent only if the message waits and this client has not been online yet. */
  readonly user?: string;
  /** True if this user wrote it. With auth off every user is `anonymous`: then only if this client sent it. */
  readonly own: boolean;
  /** When it was stored or, while it waits, when it was written. */
  readonly time: number;
  /** True if `data` is that of an edit by a person. */
  readonly edited: boolean;
  /** `begun`: its text is being written, and `streams` of `seawall-client/streams` has it. Else how that ended. */
  readonly stream?: PublicationHead['stream'];
  /** The message's own outbox entry while it is not stored, or the latest edit or delete of it that is in progress. */
  readonly pending?: OutboxEntry;
}

/** A message as a chat shows it. `data` is that of the last edit, and `null` once deleted. */
export type TimelineMessage<T = unknown> =
  | (TimelineHead & { readonly deleted: false; readonly data: T })
  | (TimelineHead & { readonly deleted: true; readonly data: null });

/** Publications that are missing here, because the gateway no longer has them. */
export interface TimelineGap extends Gap {
  readonly kind: 'gap';
  readonly id: string;
}

/** The log was replaced here: what was before it may be lost. */
export interface TimelineReset extends Reset {
  readonly kind: 'reset';
  readonly id: string;
}

export type TimelineItem<T = unknown> = TimelineMessage<T> | TimelineGap | TimelineReset;

/** Each of the two lists below may grow to this many windows. */
export const WINDOWS_MAX = 10;
/** Keys of this client's publications that are kept after their entries left the outbox. */
const KEYS_MAX = 1000;

/** A stored message, and the item last made of it. */
interface Stored {
  readonly offset: number;
  one: Publication;
  /** Absent if it has to be made again. */
  item?: TimelineMessage | undefined;
  /** True if the item was an entry of this client's outbox. */
  sent?: boolean;
}

/** Removes the first elements over a bound, except what `keeps` has. */
function bound<K>(all: { readonly size: number; keys(): Iterable<K>; delete(key: K): unknown }, most: number, keeps?: { has(key: K): boolean }): void {
  if (all.size > most) for (const key of all.keys()) {
    if (all.size <= most) return;
    if (!keeps?.has(key)) all.delete(key);
  }
}

/** Invariant: everything from `oldest` to the newest publication was added, except what `bound` and the breaks left out. */
export class Items {
  /** The lowest offset that was added, kept or skipped. Earlier publications can be loaded, if the gateway has them. */
  oldest: number | undefined;
  /** The user of the client. Absent until the first connection. */
  user: string | undefined;
  /** Originals by offset. */
  readonly #messages = new Map<number, Stored>();
  /** The same, in ascending order. */
  #order: Stored[] = [];
  /** The last edit and the delete of a message, by its offset. The message itself may come later, from a page of history. */
  readonly #edits = new Map<number, Publication>();
  readonly #deletes = new Map<number, Publication>();
  /** Gaps and resets by the offset that follows them, ascending. */
  readonly #breaks = new Map<number, TimelineGap | TimelineReset>();
  #entries: readonly OutboxEntry[] = [];
  /** Keys that were in this client's outbox. */
  readonly #keys = new Set<string>();
  /** The items last made of entries. */
  readonly #waiting = new WeakMap<OutboxEntry, TimelineMessage>();
  #items: readonly TimelineItem[] = [];

  constructor(readonly window: number) {}

  /** The number of messages. */
  get size(): number {
    return this.#order.length;
  }

  add(one: Publication): void {
    const { offset, edits, deletes } = one;
    if (this.oldest === undefined || offset < this.oldest) this.oldest = offset;
    const of = edits ?? deletes;
    if (of === undefined) return this.#place(one);
    const changes = deletes === undefined ? this.#edits : this.#deletes;
    if (offset > (changes.get(of)?.offset ?? 0)) changes.set(of, one);
    bound(changes, this.window * WINDOWS_MAX, this.#messages);
    this.#again(of);
  }

  #again(offset: number): void {
    const message = this.#messages.get(offset);
    if (message) message.item = undefined;
  }

  #place(one: Publication): void {
    const { offset } = one;
    const known = this.#messages.get(offset);
    if (known) {
      known.one = one;
      return this.#again(offset);
    }
    const message: Stored = { offset, one };
    let at = this.#order.length;
    while (at > 0 && this.#order[at - 1]!.offset > offset) at -= 1;
    this.#order.splice(at, 0, message);
    this.#messages.set(offset, message);
  }

  gap(gap: Gap): void {
    const next = gap.to + 1;
    if (gap.because === 'skipped') return this.begin(next);
    this.oldest ??= next;
    this.#breaks.set(next, { kind: 'gap', id: `g${next}`, ...gap });
    bound(this.#breaks, this.window);
  }

  reset(reset: Reset): void {
    this.begin(reset.offset + 1);
    this.#breaks.set(reset.offset + 1, { kind: 'reset', id: `r${reset.epoch}`, ...reset });
  }

  /** Starts again at this offset. */
  begin(oldest: number): void {
    for (const each of [this.#messages, this.#edits, this.#deletes, this.#breaks]) each.clear();
    this.#order = [];
    this.oldest = oldest;
  }

  /** Drops the oldest messages over a bound, and what belongs to the time before them: it is loaded again together with them. */
  trim(most: number): void {
    if (this.#order.length <= most) return;
    for (const { offset } of this.#order.splice(0, this.#order.length - most)) this.#messages.delete(offset);
    const oldest = this.oldest = this.#order[0]!.offset;
    for (const each of [this.#edits, this.#deletes]) for (const [of, { offset }] of each) if (offset < oldest) each.delete(of);
    for (const next of this.#breaks.keys()) if (next < oldest) this.#breaks.delete(next);
  }

  /** Takes the outbox entries of this channel, in their order. */
  pending(entries: readonly OutboxEntry[]): void {
    this.#entries = entries;
    for (const { key } of entries) this.#keys.add(key);
    bound(this.#keys, KEYS_MAX);
  }

  /** Returns the items in the order of the log, then the messages that wait. Unchanged items, and an unchanged list, are the same objects. */
  list(): readonly TimelineItem[] {
    const changes = new Map<number, OutboxEntry>();
    for (const entry of this.#entries) {
      const of = entry.edits ?? entry.deletes;
      if (of !== undefined && this.#edits.get(of)?.key !== entry.key && this.#deletes.get(of)?.key !== entry.key) changes.set(of, entry);
    }
    const items: TimelineItem[] = [];
    const breaks = [...this.#breaks];
    const stored = new Set<string>();
    for (const message of this.#order) {
      const { offset, one: { user, key } } = message;
      while (breaks[0] && breaks[0][0] <= offset) items.push(breaks.shift()![1]);
      const sent = user === this.user && this.#keys.has(key!) && !stored.has(key!);
      if (sent) stored.add(key!);
      items.push(this.#itemOf(message, sent, changes.get(offset)));
    }
    for (const [, one] of breaks) items.push(one);
    for (const entry of this.#entries) {
      // After a `key_conflict` the log has another message under this key.
      const conflict = entry.error?.code === 'key_conflict';
      if (entry.edits === undefined && entry.deletes === undefined && (conflict || !stored.has(entry.key))) items.push(this.#waitingOf(entry, conflict));
    }
    const last = this.#items;
    if (items.length !== last.length || items.some((one, index) => one !== last[index])) this.#items = items;
    return this.#items;
  }

  #itemOf(message: Stored, sent: boolean, pending: OutboxEntry | undefined): TimelineMessage {
    const { one, one: { offset, key, user, time, deletedBy }, item } = message;
    const own = user === this.user && (user !== 'anonymous' || sent);
    if (item && item.own === own && item.pending === pending && message.sent === sent) return item;
    const edit = this.#edits.get(offset);
    const deleted = deletedBy !== undefined || this.#deletes.has(offset);
    const isChanged = edit !== undefined && edit.deletedBy === undefined && !deleted;
    message.sent = sent;
    return (message.item = {
      kind: 'message', id: sent ? `k${key}` : `m${offset}`, offset, key, user, own, time, edited: isChanged && !edit.stream, pending, deleted,
      data: deleted ? null : isChanged ? edit.data : one.data, stream: (edit ?? one).stream,
    } as TimelineMessage);
  }

  #waitingOf(entry: OutboxEntry, conflict: boolean): TimelineMessage {
    const { user } = this;
    const last = this.#waiting.get(entry);
    if (last && last.user === user) return last;
    const item = {
      kind: 'message', id: `${conflict ? 'c' : 'k'}${entry.key}`, key: entry.key, user, own: true, time: entry.at, edited: false, pending: entry,
      deleted: false, data: entry.data,
    } as TimelineMessage;
    this.#waiting.set(entry, item);
    return item;
  }
}
