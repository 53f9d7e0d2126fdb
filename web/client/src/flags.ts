/** The module `seawall-client/flags`: keeps the last flags of each account. Separate, so that only its users load it. */

import type { FlagKeeper } from './api.js';

/** The part of the DOM's `Storage` that this module uses. */
export interface FlagStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Keeps flags in a storage. Pass the result as `flags` to `connect`. Default: `localStorage`. A storage that fails is as an empty one. */
export function keptFlags(storage?: FlagStorage): FlagKeeper {
  const place = (url: string, user: string | undefined) => `seawall.flags ${url} ${user}`;
  return {
    load(url, user) {
      // A page that may not use storage throws.
      try {
        return JSON.parse((storage ?? localStorage).getItem(place(url, user)) ?? 'null') ?? undefined;
      } catch {
        return undefined;
      }
    },
    save(url, user, flags) {
      try {
        (storage ?? localStorage).setItem(place(url, user), JSON.stringify(flags ?? null));
      } catch { /* the next page begins without them */ }
    },
  };
}
