// Loads `later.ts`.

import { useSyncExternalStore } from 'react';

export type Later = typeof import('./later.ts');

/** The addresses of the script and of its styles, with their digests. */
const { later: SCRIPT = '', laterStyle: STYLES = '' } = document.documentElement.dataset;
/** The waits before the attempts: the network may be gone for a moment, and two gateways of a deployment may have different files. */
const WAITS_MS = [0, 1_000, 3_000];
/** An attempt that takes longer counts as failed, because messages wait for it. It is used all the same if it ends after that. */
const ATTEMPT_MS = 5_000;
/** The wait before more attempts after these. A new connection and a person's click begin them at once. */
const AGAIN_MS = 60_000;

let parts: Later | undefined;
/** Of the last attempt, if the parts are not here. */
let failure: Error | undefined;
let loading: Promise<void> | undefined;
let again: ReturnType<typeof setTimeout>;
const listeners = new Set<() => void>();

const style = (href: string): Promise<unknown> => {
  const link = document.createElement('link');
  const there = new Promise((onload, onerror) => Object.assign(link, { rel: 'stylesheet', href, onload, onerror }));
  document.head.append(link);
  // Attempts may go on for days, so that a failed one leaves nothing behind.
  there.catch(() => link.remove());
  return there;
};

const notify = () => { for (const listener of [...listeners]) listener(); };
const sleep = (ms: number): Promise<void> => new Promise((next) => { setTimeout(next, ms); });

/** Loads the parts, unless they are here or on the way. A browser may remember that an address failed, so that each attempt has its own. */
export function load(): Promise<void> {
  return (loading ??= (async () => {
    clearTimeout(again);
    for (const wait of WAITS_MS) {
      await sleep(wait);
      if (parts) break;
      const other = failure ? `?${Date.now()}` : '';
      const attempt = Promise.all([import(SCRIPT + other) as Promise<Later>, style(STYLES + other)]).then(([script]) => {
        parts ??= script;
        notify();
      });
      failure = new Error('Not loaded', { cause: await Promise.race([attempt, sleep(ATTEMPT_MS)]).catch((cause: unknown) => cause) });
    }
    if (!parts) {
      loading = undefined;
      again = setTimeout(load, AGAIN_MS);
    }
    notify();
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
