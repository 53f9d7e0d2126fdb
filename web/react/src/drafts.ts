/** The drafts of an app, by channel. */

import { Cell } from './cell.js';
import type { Kit } from './kit.js';
import { made } from './made.js';

const PREFIX = 'seawall.draft.';
/** More are kept by the browser only, if at all. */
const DRAFTS_MAX = 50;

/** Uses the storage. Where there is none, or it is full, a draft lasts as long as the page. */
function stored<T>(use: () => T): T | undefined {
  try { return use(); } catch { return undefined; }
}

/** The value changes with the drafts. */
class Drafts extends Cell<object> {
  readonly #texts = new Map<string, string>();

  get(name: string): string {
    let text = this.#texts.get(name);
    if (text === undefined) this.#texts.set(name, text = stored(() => sessionStorage.getItem(PREFIX + name)) ?? '');
    return text;
  }

  put(name: string, text: string): void {
    this.#texts.delete(name);
    this.#texts.set(name, text);
    if (this.#texts.size > DRAFTS_MAX) this.#texts.delete(this.#texts.keys().next().value!);
    stored(() => (text === '' ? sessionStorage.removeItem(PREFIX + name) : sessionStorage.setItem(PREFIX + name, text)));
    this.set({});
  }

  clear(): void {
    this.#texts.clear();
    stored(() => { for (const key of Object.keys(sessionStorage)) if (key.startsWith(PREFIX)) sessionStorage.removeItem(key); });
    this.set({});
  }
}

const all = new WeakMap<Kit, Drafts>();

/** Returns the drafts of an app. */
export const draftsOf = (kit: Kit): Drafts => made(all, kit, () => new Drafts({}));
