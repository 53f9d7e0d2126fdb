/** The pace at which the producers of one client send again what is not stored, so that many of them do not exceed its rates at once. */

/** Frames a second: a fifth of what the gateway takes (`limits.stream_appends_per_s`). */
const FRAMES_PER_S = 2_000;
/** Frames after which the others wait. */
const FRAMES_AT_ONCE = 20;

/** A producer that has something to send again. */
export interface Sender {
  /** Sends it. Returns the number of frames. */
  resend(): number;
}

/** Senders take turns. Each waits at most once. */
export class Pace {
  readonly #due = new Set<Sender>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isHeld = false;

  /** True while the gateway wants nothing. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Has nothing sent again for some milliseconds, because the gateway said that it was too much. */
  hold(ms: number): void {
    if (this.#isHeld) return;
    this.#isHeld = true;
    clearTimeout(this.#timer);
    this.#wait(ms);
  }

  add(sender: Sender): void {
    this.#due.add(sender);
    if (this.#timer === undefined) this.#wait(0);
  }

  remove(sender: Sender): void {
    this.#due.delete(sender);
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#isHeld = false;
      this.#run();
    }, ms);
  }

  #run(): void {
    let frames = 0;
    for (const sender of this.#due) {
      if (frames >= FRAMES_AT_ONCE) break;
      this.#due.delete(sender);
      frames += sender.resend();
    }
    // Also if none waits: one that comes at once is behind these frames.
    if (frames && this.#timer === undefined) this.#wait((frames * 1000) / FRAMES_PER_S);
  }
}
