// Loads `later.ts`.

import { useSyncExternalStore } from 'react';

export type Later = typeof import('./later.ts');

/** The addresses of the script and of its styles, with their digests. */
const { later: SCRIPT = '', laterStyle: STYLES = '' } = document.documentElement.dataset;
/** The waits before the attempts: the network may be gone for a moment, and two gateways of a deployment may have different files. */
const WAITS_MS = [0, 1_000, 3_000];

let parts: Later | undefined;
/** Of the last attempts, if none is in progress. */
let failure: Error | undefined;
let loading: Promise<void> | undefined;
const listeners = new Set<() => void>();

const style = (href: string): Promise<void> => new Promise((resolve, reject) => {
  const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href, onload: resolve, onerror: reject });
  document.head.append(link);
});

/** Loads the parts, unless they are here or on the way. A browser may remember that an address failed, so that each attempt has its own. */
export function load(): Promise<void> {
  return (loading ??= (async () => {
    for (const wait of WAITS_MS) {
      if (wait > 0) await new Promise((next) => { setTimeout(next, wait); });
      try {
        const again = failure ? `?${Date.now()}` : '';
        const [loadedParts] = await Promise.all([import(SCRIPT + again) as Promise<Later>, style(STYLES + again)]);
        parts = loadedParts;
        failure = undefined;
        break;
      } catch (error) {
        failure = error instanceof Error ? error : new Error('The styles could not be loaded.');
      }
    }
    if (failure) loading = undefined;
    for (const listener of [...listeners]) listener();
  })());
}

/** Resolves once the parts are here, whenever that is. */
export const loaded = (): Promise<Later> => new Promise((resolve) => {
  const look = () => {
    if (!parts) return;
    listeners.delete(look);
    resolve(parts);
  };
  listeners.add(look);
  look();
});

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => { listeners.delete(listener); };
}

/** Returns the failure of the last attempts, if none is in progress. */
export const useFailure = (): Error | undefined => useSyncExternalStore(subscribe, () => (loading ? undefined : failure));

/** Returns the parts, if they are here. */
export const later = (): Later | undefined => parts;
export const useLater = (): Later | undefined => useSyncExternalStore(subscribe, later);
