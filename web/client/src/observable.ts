/** Values with change listeners. */

import type { Observable } from './api.js';

/** Throws the error in a microtask of its own, so that it is reported but interrupts no work. */
export function report(error: unknown): void {
  queueMicrotask(() => { throw error; });
}

/** Calls all listeners, even if one throws. */
export function notify<T>(listeners: Iterable<(value: T) => void>, value: T): void {
  for (const listener of [...listeners]) {
    try { listener(value); } catch (error) { report(error); }
  }
}

/** An observable that can be set. A class, because state libraries (MobX, Svelte, Solid) wrap plain objects; Vue also wraps classes. */
export class Cell<T> implements Observable<T> {
  readonly __v_skip = true;
  readonly #listeners = new Set<(value: T) => void>();
  #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set(next: T): void {
    if (next === this.#value) return;
    this.#value = next;
    notify(this.#listeners, next);
  }

  /** Works detached. */
  readonly subscribe = (listener: (value: T) => void): (() => void) => {
    // A wrapper, so that the same function may subscribe twice.
    const own = (value: T) => listener(value);
    this.#listeners.add(own);
    return () => { this.#listeners.delete(own); };
  };
}
