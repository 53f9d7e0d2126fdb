/**
 * Keeps a client's outbox in storage and takes over the entries of clients that are gone.
 *
 * Each client holds its own Web Lock for its whole life, and the browser releases it when the page ends, however it
 * ends. A client that is granted another client's lock therefore knows that the other one is gone, and while it holds the
 * lock no third client takes over the same entries. A living client sends its own entries, so what was typed in one tab
 * is always ordered by one list.
 */

import type { KeptEntry, Locks, OutboxKeeper, OutboxOwner, OutboxStorage, StoredEntry } from './api.js';
import { newKey } from './key.js';
import { LOOK_MS, OUTBOX_ENTRIES_MAX, STORAGE_MS } from './limits.js';

/** A keeper's client, storage and locks. */
export interface Keeping extends OutboxOwner {
  readonly storage: OutboxStorage;
  readonly locks: Locks | null | undefined;
  /** The name that the app gave the outbox. Without one, each user of a gateway has an outbox. */
  readonly name: string | undefined;
}

/** Runs storage operations one at a time, in call order. */
export class Keeper implements OutboxKeeper {
  readonly #to: Keeping;
  readonly #storage: OutboxStorage;
  readonly #owner = newKey();
  readonly #end = new AbortController();
  /** Living owners whose locks are requested, to learn when they end. */
  readonly #watched = new Set<string>();
  /** The outbox in which each key of this client is stored. */
  readonly #stored = new Map<string, string>();
  /** Of each key the last change that storage has not confirmed: the entry, or `undefined` for its removal. */
  readonly #unconfirmed = new Map<string, StoredEntry | undefined>();
  /** Without locks: the users whose entries were restored. */
  #restored: string | undefined;
  /** This client's own lock, once it was requested. */
  #held: Promise<void> | undefined;
  #last: Promise<unknown>;
  #broken = false;
  #timer: unknown;

  constructor(to: Keeping) {
    this.#to = to;
    const { storage } = to;
    this.#storage = {
      load: (outbox) => this.#inTime(storage.load(outbox)),
      put: (entry) => this.#inTime(storage.put(entry)),
      remove: (outbox, key) => this.#inTime(storage.remove(outbox, key)),
    };
    this.#last = this.#start().catch(() => this.#fail());
    this.#lookLater();
  }

  save({ key, order, channel, json, edits, deletes, at, user, error }: KeptEntry): Promise<void> {
    const entry = { outbox: this.#outboxOf(user), owner: this.#owner, key, order, channel, json, edits, deletes, at, user, error };
    this.#unconfirmed.set(key, entry);
    // After a failure, do not wait behind pending removals: they may take long if storage hangs.
    return this.#broken ? Promise.resolve() : this.#next(() => this.#confirm(key));
  }

  forget(key: string): void {
    this.#unconfirmed.set(key, undefined);
    // Also after a failure: an entry left in storage would be restored and sent a second time.
    void this.#next(() => this.#confirm(key), true);
  }

  /** Also tries storage again that failed: it may have been slow once, or full. */
  look(): void {
    void this.#next(() => (this.#broken ? this.#start() : this.#scan()), true);
  }

  /** Releases the lock once pending operations are done, so that other clients can take over the rest. */
  close(): void {
    this.#to.clock.clearTimeout(this.#timer as never);
    void this.#next(async () => this.#end.abort(), true);
  }

  #next(run: () => Promise<void>, always = false): Promise<void> {
    const mine = this.#last.then(() => (this.#broken && !always ? undefined : run())).catch(() => this.#fail());
    this.#last = mine;
    return mine;
  }

  /** Adds a timeout of `STORAGE_MS` to `work`, so that later operations never wait forever. */
  #inTime<T>(work: Promise<T>): Promise<T> {
    const { clock } = this.#to;
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => reject(new Error('storage did not answer')), STORAGE_MS);
      work.then(resolve, reject).finally(() => clock.clearTimeout(timer as never));
    });
  }

  #lookLater(): void {
    this.#timer = this.#to.clock.setTimeout(() => {
      this.look();
      this.#lookLater();
    }, LOOK_MS);
  }

  #fail(): void {
    this.#broken = true;
    this.#to.opened(false);
  }

  get #base(): string {
    return this.#to.name ?? this.#to.url;
  }

  /** The name of a user's outbox. Entries of an unknown author, and all entries of version 0.1.0, are under the gateway's URL. */
  #outboxOf(user: string | undefined): string {
    return this.#to.name !== undefined || user === undefined ? this.#base : `${this.#base} ${user}`;
  }

  #lockOf(owner: string): string {
    return `seawall:${this.#base}:${owner}`;
  }

  /** Makes the last change of a key in storage, unless that has been made. */
  async #confirm(key: string): Promise<void> {
    if (!this.#unconfirmed.has(key)) return;
    const entry = this.#unconfirmed.get(key);
    if (entry) await this.#put(entry);
    else {
      const outbox = this.#stored.get(key);
      if (outbox !== undefined) await this.#storage.remove(outbox, key);
      this.#stored.delete(key);
    }
    if (this.#unconfirmed.get(key) === entry) this.#unconfirmed.delete(key);
  }

  /** Stores an entry. If its author has become known, it is removed from its earlier outbox after that. */
  async #put(entry: StoredEntry): Promise<void> {
    const before = this.#stored.get(entry.key);
    this.#stored.set(entry.key, entry.outbox);
    await this.#storage.put(entry);
    if (before !== undefined && before !== entry.outbox) await this.#storage.remove(before, entry.key);
  }

  /**
   * Returns what other clients stored and this client's user wrote. The author of an entry may be unknown. Such an entry belongs to
   * the user of an outbox that the app named; without a name it is sent only where all users are `anonymous`.
   */
  async #left(): Promise<StoredEntry[]> {
    const users = this.#to.users();
    const isOpen = this.#to.name !== undefined || this.#to.isAnonymous();
    const isOurs = (user: string | undefined) => (user === undefined ? isOpen : users.includes(user));
    const all: StoredEntry[] = [];
    for (const outbox of new Set([undefined, ...users].map((user) => this.#outboxOf(user)))) all.push(...await this.#storage.load(outbox));
    return ordered(all.filter(({ owner, user }) => owner !== this.#owner && isOurs(user)));
  }

  #restore(entries: StoredEntry[]): void {
    for (const { key, outbox } of entries) this.#stored.set(key, outbox);
    this.#to.restore(entries.map(({ outbox, owner, ...entry }) => entry));
  }

  /** Opens storage, also after it failed: takes over what others left, and stores what it has not confirmed. */
  async #start(): Promise<void> {
    const { locks } = this.#to;
    // A request that was too slow may still be granted, and a second one would wait for the first for ever.
    if (locks) await this.#inTime(this.#held ??= new Promise<void>((granted, failed) => {
      locks.request(this.#lockOf(this.#owner), {}, () => new Promise<void>((end) => {
        this.#end.signal.addEventListener('abort', () => end());
        granted();
      })).catch(failed);
    }));
    await this.#scan();
    for (let key; [key] = this.#unconfirmed.keys(), key !== undefined;) await this.#confirm(key);
    this.#broken = false;
    this.#to.opened(true);
  }

  async #scan(): Promise<void> {
    const { locks } = this.#to;
    if (!locks) return this.#scanOnce();
    for (const owner of new Set((await this.#left()).map((entry) => entry.owner))) {
      if (this.#watched.has(owner)) continue;
      const { signal } = this.#end;
      await locks.request(this.#lockOf(owner), { ifAvailable: true }, (lock) => {
        if (lock) return this.#takeOver(owner);
        // The owner is alive, or its page is still closing: wait for its end without blocking other operations.
        this.#watched.add(owner);
        const gone = () => this.#next(() => this.#takeOver(owner));
        locks.request(this.#lockOf(owner), { signal }, gone).catch(() => {}).finally(() => this.#watched.delete(owner));
      });
    }
  }

  /** Without locks nothing tells whether another client is alive, so the entries of a user are restored once. */
  async #scanOnce(): Promise<void> {
    const { users, isAnonymous } = this.#to;
    const who = `${users().join(' ')} ${isAnonymous()}`;
    if (who === this.#restored) return;
    this.#restored = who;
    this.#restore((await this.#left()).slice(0, OUTBOX_ENTRIES_MAX));
  }

  /** Takes over all entries of an owner and this user or none, because a part could overtake the rest. */
  async #takeOver(owner: string): Promise<void> {
    const left = (await this.#left()).filter((entry) => entry.owner === owner);
    if (left.length > this.#to.room()) return;
    const mine: StoredEntry[] = [];
    for (const entry of left) {
      this.#stored.set(entry.key, entry.outbox);
      mine.push({ ...entry, outbox: this.#outboxOf(entry.user), owner: this.#owner });
      await this.#put(mine.at(-1)!);
    }
    this.#restore(mine);
  }
}

const ordered = (entries: StoredEntry[]): StoredEntry[] => entries.sort((a, b) => a.order - b.order);
