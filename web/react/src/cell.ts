/** A value with listeners, as `Observable` of `seawall-client`. */

import type { Observable } from 'seawall-client';

export class Cell<T> implements Observable<T> {
  readonly #listeners = new Set<(value: T) => void>();

  constructor(public value: T) {}

  set(value: T): void {
    if (value === this.value) return;
    this.value = value;
    for (const listener of [...this.#listeners]) listener(value);
  }

  /** Works detached. */
  readonly subscribe = (listener: (value: T) => void): (() => void) => {
    const own = (value: T) => listener(value);
    this.#listeners.add(own);
    return () => { this.#listeners.delete(own); };
  };
}
