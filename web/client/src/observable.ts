/** Values with change listeners. */

import type { Observable } from './api.js';

/** An observable that can be set. */
export interface Cell<T> extends Observable<T> {
  /** Vue must not wrap it: the values are never modified, and apps compare them. */
  readonly __v_skip: true;
  set(value: T): void;
}

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

/** Creates a cell that holds `value`. */
export function cell<T>(value: T): Cell<T> {
  const listeners = new Set<(value: T) => void>();
  return {
    __v_skip: true,
    get value() { return value; },
    set(next) {
      if (next === value) return;
      value = next;
      notify(listeners, value);
    },
    subscribe(listener) {
      // A wrapper, so that the same function may subscribe twice.
      const own = (value: T) => listener(value);
      listeners.add(own);
      return () => { listeners.delete(own); };
    },
  };
}
