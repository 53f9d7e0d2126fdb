/** The drafts of an app, by channel. */

import type { Kit } from './kit.js';

const PREFIX = 'seawall.draft.';
/** More are kept by the browser only, if at all. */
const DRAFTS_MAX = 50;

class Drafts {
  readonly #texts = new Map<string, string>();
  readonly #listeners = new Set<() => void>();

  get(name: string): string {
    let text = this.#texts.get(name);
    if (text === undefined) {
      try { text = sessionStorage.getItem(PREFIX + name) ?? ''; } catch { text = ''; }
      this.#texts.set(name, text);
    }
    return text;
  }

  set(name: string, text: string): void {
    this.#texts.delete(name);
    this.#texts.set(name, text);
    if (this.#texts.size > DRAFTS_MAX) this.#texts.delete(this.#texts.keys().next().value!);
    try {
      if (text === '') sessionStorage.removeItem(PREFIX + name);
      else sessionStorage.setItem(PREFIX + name, text);
    } catch { /* No storage, or it is full: the draft lasts as long as the page. */ }
    for (const listener of [...this.#listeners]) listener();
  }

  clear(): void {
    this.#texts.clear();
    try {
      for (const key of Object.keys(sessionStorage)) if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
    } catch { /* No storage. */ }
    for (const listener of [...this.#listeners]) listener();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  };
}

const all = new WeakMap<Kit, Drafts>();

/** Returns the drafts of an app. */
export function draftsOf(kit: Kit): Drafts {
  let drafts = all.get(kit);
  if (!drafts) all.set(kit, (drafts = new Drafts()));
  return drafts;
}
