// Deletions that can be undone for a while.

/** How long a deletion can be undone. It is sent afterwards, because a delete erases. */
const UNDO_MS = 6_000;

export class Deletions {
  readonly #timers = new Map<number, ReturnType<typeof setTimeout>>();

  /** `erase` deletes the message at an offset, and `changed` is given the offsets that wait. */
  constructor(readonly erase: (offset: number) => void, readonly changed: (going: ReadonlySet<number>) => void) {
    addEventListener('pagehide', this.#all);
    document.addEventListener('visibilitychange', this.#hidden);
  }

  add(offset: number): void {
    if (this.#timers.has(offset)) return;
    this.#timers.set(offset, setTimeout(() => this.#erase(offset), UNDO_MS));
    this.#show();
  }

  undo(offset: number): void {
    clearTimeout(this.#timers.get(offset));
    this.#timers.delete(offset);
    this.#show();
  }

  /** Deletes all at once, because the channel is left. */
  end(): void {
    removeEventListener('pagehide', this.#all);
    document.removeEventListener('visibilitychange', this.#hidden);
    this.#all();
  }

  #erase(offset: number): void {
    this.undo(offset);
    this.erase(offset);
  }

  #show(): void {
    this.changed(new Set(this.#timers.keys()));
  }

  readonly #all = (): void => { for (const offset of [...this.#timers.keys()]) this.#erase(offset); };

  /** A page that is in the background may end without a word. */
  readonly #hidden = (): void => { if (document.hidden) this.#all(); };
}
