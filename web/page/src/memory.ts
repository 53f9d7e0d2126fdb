// Values that survive a reload. A browser may forbid storage; the page then works without it.

import { isChannelName } from './words.ts';

function read(storage: () => Storage, key: string): string {
  try {
    return storage().getItem(key) ?? '';
  } catch {
    return '';
  }
}

function write(storage: () => Storage, key: string, value: string): void {
  try {
    if (value === '') storage().removeItem(key);
    else storage().setItem(key, value);
  } catch {
    // The value is lost with the tab.
  }
}

const tab = (): Storage => sessionStorage;
const browser = (): Storage => localStorage;

/** The name that the person chose, if any. New tabs start with the one chosen last; a tab keeps its own until it is closed. */
export const name = {
  read: (): string => read(tab, 'seawall.name') || read(browser, 'seawall.name'),
  write(value: string): void {
    write(tab, 'seawall.name', value);
    write(browser, 'seawall.name', value);
  },
};

/** A name for a person without one. It is this tab's, so that two tabs can talk with each other. */
export function guest(make: () => string): string {
  const known = read(tab, 'seawall.guest') || make();
  write(tab, 'seawall.guest', known);
  return known;
}

/** The token, kept for this tab only. The page runs no scripts but its own, so nothing else reads it. */
export const token = {
  read: (): string => read(tab, 'seawall.token'),
  write: (value: string): void => write(tab, 'seawall.token', value),
};

/** The channels that this browser has opened, in the order of their first visit: the last {@link CHANNELS_MAX}. */
export const channels = {
  read: (): readonly string[] => read(browser, 'seawall.channels').split(' ').filter(isChannelName),
  write: (names: readonly string[]): void => write(browser, 'seawall.channels', names.join(' ')),
};

/** The page follows each of them. */
export const CHANNELS_MAX = 12;

/** Adds a channel to a list. Over the bound the oldest goes. */
export const withChannel = (names: readonly string[], one: string): readonly string[] => (names.includes(one) ? names : [...names, one].slice(-CHANNELS_MAX));

const KEYS_MAX = 500;

/**
 * The keys of messages sent from this browser. With auth off every user is `anonymous`, so only the keys show which
 * messages are the user's own.
 */
export class OwnKeys {
  private readonly known = new Set<string>();
  private readonly listeners = new Set<() => void>();
  /** Changes with the keys. */
  version = 0;

  constructor() {
    this.refresh();
    addEventListener('storage', (event) => {
      if (event.key !== 'seawall.keys') return;
      this.refresh();
      this.version += 1;
      for (const listener of [...this.listeners]) listener();
    });
  }

  /** Calls `listener` when another tab added keys. Returns the end of that. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => { this.listeners.delete(listener); };
  };

  private refresh(): void {
    for (const key of read(browser, 'seawall.keys').split(' ')) if (key !== '') this.known.add(key);
  }

  add(key: string): void {
    if (this.known.has(key)) return;
    this.refresh();
    this.known.add(key);
    write(browser, 'seawall.keys', [...this.known].slice(-KEYS_MAX).join(' '));
  }

  readonly has = (key: string | undefined): boolean => key !== undefined && this.known.has(key);
}
