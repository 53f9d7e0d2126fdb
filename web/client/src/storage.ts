/** Where an outbox outlives its page: IndexedDB. */

import type { OutboxStorage, StoredEntry } from './api.js';

const STORE = 'entries';

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Entries of all outboxes of an origin, in the database `seawall`. */
export function indexedDbStorage(): OutboxStorage {
  let database: Promise<IDBDatabase> | undefined;
  const open = () => {
    const request = indexedDB.open('seawall', 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: ['outbox', 'key'] });
    return done(request);
  };
  /** Resolves once the transaction is over: only then is it kept. */
  const write = async (change: (store: IDBObjectStore) => void): Promise<void> => {
    const transaction = (await (database ??= open())).transaction(STORE, 'readwrite');
    change(transaction.objectStore(STORE));
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
  };
  return {
    load: async (outbox) =>
      done<StoredEntry[]>((await (database ??= open())).transaction(STORE).objectStore(STORE).getAll(IDBKeyRange.bound([outbox], [outbox, []]))),
    put: (entry) => write((store) => store.put(entry)),
    remove: (outbox, key) => write((store) => store.delete([outbox, key])),
  };
}
