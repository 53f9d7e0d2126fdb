/** A value that tells when it changes. */

import type { Observable } from './api.js';

/** An observable and the way to change it. */
export interface Cell<T> extends Observable<T> {
  set(value: T): void;
}

/** Throws it where nobody's work is in the way. */
export function report(error: unknown): void {
  queueMicrotask(() => { throw error; });
}

/** Calls all of them, whatever one of them throws. */
export function tell<T>(listeners: Iterable<(value: T) => void>, value: T): void {
  for (const listener of [...listeners]) {
    try { listener(value); } catch (error) { report(error); }
  }
}

/** A cell that holds `value`. */
export function cell<T>(value: T): Cell<T> {
  const listeners = new Set<(value: T) => void>();
  return {
    get value() { return value; },
    set(next) {
      if (next === value) return;
      value = next;
      tell(listeners, value);
    },
    subscribe(listener) {
      // A wrapper, so that the same function may subscribe twice.
      const own = (value: T) => listener(value);
      listeners.add(own);
      return () => { listeners.delete(own); };
    },
  };
}
