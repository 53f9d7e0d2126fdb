/**
 * Keeps a client's outbox in storage and takes over the entries of clients that are gone.
 *
 * Each client holds its own Web Lock for its whole life, and the browser releases it when the page ends, however it
 * ends. A client that is granted another client's lock therefore knows that the other one is gone, and while it holds the
 * lock no third client takes over the same entries. A living client sends its own entries, so what was typed in one tab
 * is always ordered by one list.
 */

import type { KeptEntry, OutboxKeeper, OutboxOwner, OutboxStorage, StoredEntry } from './api.js';
import { newKey } from './key.js';
import { LOOK_MS, OUTBOX_ENTRIES_MAX, STORAGE_MS } from './limits.js';

/** A keeper's client, storage, locks and outbox name. */
export interface Keeping extends OutboxOwner {
  readonly storage: OutboxStorage;
  readonly locks: Pick<LockManager, 'request'> | null | undefined;
  readonly outbox: string;
}

/** Runs storage operations one at a time, in call order. */
export class Keeper implements OutboxKeeper {
  readonly #to: Keeping;
  readonly #storage: OutboxStorage;
  readonly #owner = newKey();
  readonly #end = new AbortController();
  /** Living owners whose locks are requested, to learn when they end. */
  readonly #watched = new Set<string>();
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
    this.#last = this.#start().then(() => to.opened(true)).catch(() => this.#fail());
    this.#lookLater();
  }

  save({ key, order, channel, json, edits, deletes, at, user, error }: KeptEntry): Promise<void> {
    const { outbox } = this.#to;
    const entry = { outbox, owner: this.#owner, key, order, channel, json, edits, deletes, at, user, error };
    // After a failure, do not wait behind pending removals: they may take long if storage hangs.
    return this.#broken ? Promise.resolve() : this.#next(() => this.#storage.put(entry));
  }

  forget(key: string): void {
    // Also after a failure: an entry left in storage would be restored and sent a second time.
    void this.#next(() => this.#storage.remove(this.#to.outbox, key), true);
  }

  look(): void {
    if (this.#to.locks) void this.#next(() => this.#scan());
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

  #name(owner: string): string {
    return `seawall:${this.#to.outbox}:${owner}`;
  }

  async #start(): Promise<void> {
    const { locks, outbox, restore } = this.#to;
    if (!locks) return restore(handed(ordered(await this.#storage.load(outbox)).slice(0, OUTBOX_ENTRIES_MAX)));
    await this.#inTime(new Promise<void>((granted, failed) => {
      locks.request(this.#name(this.#owner), () => new Promise<void>((end) => {
        this.#end.signal.addEventListener('abort', () => end());
        granted();
      })).catch(failed);
    }));
    await this.#scan();
  }

  async #scan(): Promise<void> {
    const { locks, outbox } = this.#to;
    const owners = new Set((await this.#storage.load(outbox)).map((entry) => entry.owner));
    owners.delete(this.#owner);
    for (const owner of owners) {
      if (this.#watched.has(owner)) continue;
      const { signal } = this.#end;
      await locks!.request(this.#name(owner), { ifAvailable: true }, (lock) => {
        if (lock) return this.#takeOver(owner);
        // The owner is alive, or its page is still closing: wait for its end without blocking other operations.
        this.#watched.add(owner);
        const gone = () => this.#next(() => this.#takeOver(owner));
        locks!.request(this.#name(owner), { signal }, gone).catch(() => {}).finally(() => this.#watched.delete(owner));
      });
    }
  }

  /** Takes over all entries of an owner or none, because a part could overtake the rest. */
  async #takeOver(owner: string): Promise<void> {
    const { outbox, room, restore } = this.#to;
    const left = ordered((await this.#storage.load(outbox)).filter((entry) => entry.owner === owner));
    if (left.length > room()) return;
    for (const entry of left) await this.#storage.put({ ...entry, owner: this.#owner });
    restore(handed(left));
  }
}

const ordered = (entries: StoredEntry[]): StoredEntry[] => entries.sort((a, b) => a.order - b.order);

const handed = (entries: StoredEntry[]): KeptEntry[] => entries.map(({ outbox, owner, ...entry }) => entry);
