/** Durable outbox storage in IndexedDB. */

import type { OutboxStorage, StoredEntry } from './api.js';

const STORE = 'entries';

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Stores the entries of all outboxes of an origin in the database `seawall`. */
export function indexedDbStorage(): OutboxStorage {
  let database: Promise<IDBDatabase> | undefined;
  const open = async () => {
    const request = indexedDB.open('seawall', 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: ['outbox', 'key'] });
    const opened = await done(request);
    const leave = () => {
      opened.close();
      database = undefined;
    };
    // The browser may close the connection, and a deletion or upgrade of the database waits until it is closed.
    opened.onclose = opened.onversionchange = leave;
    return opened;
  };
  /** Retries once on a new connection, because an old one may have ended without an event. */
  const withStore = async <T>(mode: IDBTransactionMode, use: (store: IDBObjectStore) => Promise<T>): Promise<T> => {
    const once = async () => use((await (database ??= open())).transaction(STORE, mode).objectStore(STORE));
    try { return await once(); } catch {
      void database?.then((old) => old.close(), () => {});
      database = undefined;
      return once();
    }
  };
  /** Resolves once the transaction completes, because only then is the change durable. */
  const write = (change: (store: IDBObjectStore) => void): Promise<void> =>
    withStore('readwrite', (store) => new Promise<void>((resolve, reject) => {
      const { transaction } = store;
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      change(store);
    }));
  return {
    load: (outbox) => withStore('readonly', (store) => done<StoredEntry[]>(store.getAll(IDBKeyRange.bound([outbox], [outbox, []])))),
    put: (entry) => write((store) => store.put(entry)),
    remove: (outbox, key) => write((store) => store.delete([outbox, key])),
  };
}
