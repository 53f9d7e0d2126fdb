/** Groups of errors in IndexedDB, so that those made offline are reported by the next page. */

import type { ErrorGroup } from './errors.js';
import { newKey } from './key.js';
import type { Locks } from './runtime.js';

/** A group that no page could report for this time is dropped. */
const AGE_MAX_MS = 7 * 86_400_000;
const STORE = 'groups';

interface Kept {
  /** The gateway's URL. */
  readonly url: string;
  /** The page that reports it. */
  readonly owner: string;
  readonly fingerprint: string;
  readonly group: ErrorGroup;
}

const done = <T>(request: IDBRequest<T>): Promise<T> => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** The groups of one page. Each method fails if the storage does. */
export class Shelf {
  readonly #owner = newKey();
  readonly #end = new AbortController();
  readonly #store: Promise<IDBDatabase>;

  constructor(readonly url: string, readonly locks: Locks | null | undefined) {
    this.#store = this.#begin();
    // Each use of it sees the failure.
    this.#store.catch(() => {});
  }

  /** Fails in a frame without an origin of its own, which has neither storage nor locks. */
  async #begin(): Promise<IDBDatabase> {
    // While the page lives it holds this lock, which the browser releases however the page ends.
    this.locks?.request(this.#lock(this.#owner), {}, () => new Promise((end) => { this.#end.signal.addEventListener('abort', end); })).catch(() => {});
    const request = indexedDB.open('seawall-reports', 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: ['url', 'owner', 'fingerprint'] });
    const database = await done(request);
    // A deletion of the database waits until it is closed.
    database.onversionchange = () => database.close();
    return database;
  }

  #lock(owner: string): string {
    return `seawall-reports:${owner}`;
  }

  async #in(mode: IDBTransactionMode, use: (store: IDBObjectStore) => void): Promise<void> {
    const transaction = (await this.#store).transaction(STORE, mode);
    use(transaction.objectStore(STORE));
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
  }

  /** Stores these groups, and removes these fingerprints. */
  change(put: readonly ErrorGroup[], remove: readonly string[]): Promise<void> {
    const [url, owner] = [this.url, this.#owner];
    return this.#in('readwrite', (store) => {
      for (const group of put) store.put({ url, owner, fingerprint: group.fingerprint, group } satisfies Kept);
      for (const fingerprint of remove) store.delete([url, owner, fingerprint]);
    });
  }

  /** Takes over the groups of pages that are gone. */
  async takeOver(now: number): Promise<ErrorGroup[]> {
    const taken: ErrorGroup[] = [];
    const range = IDBKeyRange.bound([this.url], [this.url, []]);
    const all = await done<Kept[]>((await this.#store).transaction(STORE).objectStore(STORE).getAll(range));
    for (const owner of new Set(all.map((one) => one.owner))) {
      if (owner === this.#owner) continue;
      const take = async (lock: unknown) => {
        if (!lock) return;
        const found: Kept[] = [];
        await this.#in('readwrite', (store) => {
          const own = IDBKeyRange.bound([this.url, owner], [this.url, owner, []]);
          const request = store.getAll(own);
          request.onsuccess = () => {
            found.push(...(request.result as Kept[]).filter(({ group }) => now - group.last < AGE_MAX_MS));
            store.delete(own);
            for (const one of found) store.put({ ...one, owner: this.#owner });
          };
        });
        for (const { group } of found) taken.push(group);
      };
      if (this.locks) await this.locks.request(this.#lock(owner), { ifAvailable: true }, take);
      else await take(true);
    }
    return taken;
  }

  /** Lets another page take over the rest. */
  async close(): Promise<void> {
    this.#end.abort();
    (await this.#store).close();
  }
}
