/** The module `seawall-client/reports`: reports errors of the app to the gateway. Separate, so that only its users load it. */

import type { Client, Observable } from './api.js';
import type { Owner } from './channel.js';
import { add, describe, NO_ERRORS, raise, without, type ErrorGroup, type ErrorLevel, type Errors } from './errors.js';
import type { SeawallError } from './error.js';
import { Cell } from './observable.js';
import type { Clock, Locks } from './runtime.js';
import { Shelf } from './shelf.js';
import { systemClock } from './system.js';
import { bytes } from './wire.js';

export { add, describe, fingerprint, hash, NO_ERRORS, raise, scrub, type ErrorGroup, type ErrorLevel, type Errors } from './errors.js';

/** Errors in one report, as the protocol bounds them. */
const REPORT_MAX = 16;
/** Bytes of one report: a little less than the protocol allows. */
const BYTES_MAX = 30_000;
/** Bytes of a command around the errors. */
const AROUND_BYTES = 100;
/** The time for which the first error waits for others. */
const GATHER_MS = 1_000;
/** The wait after a report that was not answered. */
const RETRY_MS = 10_000;
/** A stack that is too long for the frame is cut to its first frames. */
const STACK_MIN = 1_000;

/** Options of {@link reports}. All are optional. */
export interface ReportOptions {
  /** The app's name and version, in the context of each error. */
  readonly release?: string;
  /** Adds to the context of an error, such as the route: at most 8 short texts, none of them secret. */
  readonly context?: () => Readonly<Record<string, string>>;
  /** Removes more from the texts of an error, after tokens, mail addresses, queries and long numbers were removed. */
  readonly scrub?: (text: string) => string;
  /** False: what is not reported when the page ends is lost. Default: IndexedDB keeps it for 7 days, if there is one. */
  readonly durable?: boolean;
  /** Default: `navigator.locks`. With `null`, or where there are none, each page takes over what it finds. */
  readonly locks?: Locks | null;
  readonly clock?: Clock;
}

/** The details of an error. */
export interface ErrorDetails {
  /** Default: `message`. */
  readonly level?: ErrorLevel;
  readonly context?: Readonly<Record<string, unknown>>;
}

/** Reports the errors of one client's app. */
export interface Reporter {
  /** The groups that are not reported yet, and the number of groups that were dropped because there were too many. */
  readonly waiting: Observable<Errors>;
  /** Queues an error. Returns its reference, which people can quote: the fingerprint of its group. */
  report(error: unknown, details?: ErrorDetails): string;
  /** Queues an error that was described before. */
  add(one: ErrorGroup): void;
  /** Records that a queued error took more than was known. */
  raise(fingerprint: string, level: ErrorLevel): void;
  /** Stops reporting. Storage leaves what waits to the next page; without it, what waits is returned, for another reporter. */
  close(): readonly ErrorGroup[];
}

interface Reported {
  readonly accepted: number;
  readonly dropped: number;
  readonly next_ms: number;
}

class Queue implements Reporter {
  readonly waiting = new Cell<Errors>(NO_ERRORS);
  readonly #client: Client;
  readonly #options: ReportOptions;
  readonly #clock: Clock;
  readonly #stop: (() => void)[] = [];
  #shelf: Shelf | undefined;
  /** The groups as they are in the storage. */
  #stored: readonly ErrorGroup[] = [];
  /** One change of the storage at a time; what comes meanwhile is in the next one. */
  #isStoring = false;
  /** True after a failure of the storage: it then only removes. */
  #isBroken = false;
  /** The next report is sent at this time, if all else allows it. */
  #at = 0;
  #timer: unknown;
  #isSending = false;
  #over = false;
  /** A connection to a gateway that does not know reports. */
  #deaf: string | undefined;

  constructor(client: Client, options: ReportOptions) {
    this.#client = client;
    this.#options = options;
    const { durable = true, locks = globalThis.navigator?.locks, clock = systemClock } = options;
    this.#clock = clock;
    if (durable && globalThis.indexedDB) this.#open((client as unknown as { url: string }).url, locks);
    for (const each of [client.state, client.outbox, client.flags]) this.#stop.push((each as Observable<unknown>).subscribe(() => this.#look()));
  }

  #open(url: string, locks: Locks | null | undefined): void {
    this.#shelf = new Shelf(url, locks);
    this.#isStoring = true;
    this.#shelf.takeOver(this.#clock.now()).then((groups) => {
      this.#stored = groups;
      this.#set(groups.reduce(add, this.waiting.value));
    }).catch(() => { this.#isBroken = true; }).finally(() => {
      this.#isStoring = false;
      void this.#store();
    });
  }

  report(thrown: unknown, { level = 'message', context }: ErrorDetails = {}): string {
    const { release, context: more, scrub = String } = this.#options;
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const now = this.#clock.now();
    let one: ErrorGroup;
    try {
      const { component, ...rest } = { release, phase: this.#client.state.value.phase, ...more?.(), ...context } as Record<string, unknown>;
      one = describe(error, level, String(component ?? ''), rest, scrub, now);
    } catch {
      // A hook of the app, or a getter of the error, threw: the error counts all the same.
      one = describe(new Error('An error that cannot be described'), level, '', {}, String, now);
    }
    this.add(one);
    return one.fingerprint;
  }

  add(one: ErrorGroup): void {
    if (this.#over || !this.#client.flag('seawall.report')) return;
    if (!this.waiting.value.groups.length) this.#at = Math.max(this.#at, this.#clock.now() + GATHER_MS);
    this.#set(add(this.waiting.value, one));
  }

  raise(fingerprint: string, level: ErrorLevel): void {
    this.#set(raise(this.waiting.value, fingerprint, level));
  }

  close(): readonly ErrorGroup[] {
    this.#over = true;
    this.#clock.clearTimeout(this.#timer as never);
    for (const stop of this.#stop) stop();
    void this.#store();
    return (this.#shelf && !this.#isBroken) || this.#isSending ? [] : this.waiting.value.groups;
  }

  /** Stores the difference, and reports when that is possible. */
  #set(next: Errors): void {
    this.waiting.set(next);
    void this.#store();
    this.#look();
  }

  /** Makes the storage like the queue. After the end, and the answer to the last report, it is closed. */
  async #store(): Promise<void> {
    if (!this.#shelf || this.#isStoring) return;
    this.#isStoring = true;
    for (let groups; this.#stored !== (groups = this.waiting.value.groups);) {
      const put = this.#isBroken ? [] : groups.filter((group) => !this.#stored.includes(group));
      const left = new Set(groups.map((group) => group.fingerprint));
      const gone = this.#stored.map((group) => group.fingerprint).filter((one) => !left.has(one));
      try {
        if (put.length || gone.length) await this.#shelf.change(put, gone);
        this.#stored = groups;
      } catch {
        if (this.#isBroken) break;
        this.#isBroken = true;
      }
    }
    this.#isStoring = false;
    if (this.#over && !this.#isSending) await this.#shelf.close().catch(() => {});
  }

  /** Reports if there is something to report and a connection that has nothing better to do. */
  #look(): void {
    const { state, outbox } = this.#client;
    const { groups } = this.waiting.value;
    if (this.#over || this.#isSending || !groups.length || !('session' in state.value) || !this.#client.flag('seawall.report')) return;
    const { connection, limits } = state.value.session;
    if (connection === this.#deaf || outbox.value.some((entry) => /queued|sending/.test(entry.state))) return;
    this.#clock.clearTimeout(this.#timer as never);
    const wait = this.#at - this.#clock.now();
    if (wait > 0) this.#timer = this.#clock.setTimeout(() => this.#look(), wait);
    else void this.#send(connection, Math.min(BYTES_MAX, (limits.frameBytes || Infinity) - AROUND_BYTES));
  }

  async #send(connection: string, room: number): Promise<void> {
    const { groups, dropped } = this.waiting.value;
    const { sent, errors } = batch(groups, room);
    this.#isSending = true;
    let [isTaken, wait] = [!errors.length, RETRY_MS];
    if (errors.length) {
      try {
        const reported = await (this.#client as unknown as Owner).request<Reported>({ errors, dropped }, 'report');
        isTaken = reported.accepted + reported.dropped > 0;
        wait = reported.next_ms;
      } catch (error) {
        const { code, retryMs = RETRY_MS } = error as SeawallError;
        if (code === 'unknown_command') this.#deaf = connection;
        // It would be refused again.
        isTaken = code === 'malformed' || code === 'too_large';
        wait = retryMs;
      }
    }
    this.#isSending = false;
    this.#at = this.#clock.now() + wait;
    if (isTaken) this.#set(without(this.waiting.value, sent, dropped));
    else this.#look();
    // After the end this closes the storage.
    if (this.#over) void this.#store();
  }
}

/** Returns the oldest groups that fit into one report, and the errors to send: none of a group that is too large alone. */
export function batch(groups: readonly ErrorGroup[], room: number): { sent: ErrorGroup[]; errors: object[] } {
  const [sent, errors]: [ErrorGroup[], object[]] = [[], []];
  for (const group of groups) {
    const { fingerprint, first, last, ...error } = group;
    let one: object = error;
    if (size([one]) > room) one = { ...error, component: '', stack: error.stack.slice(0, STACK_MIN) };
    const isTooLarge = size([one]) > room;
    if (!isTooLarge && (errors.length === REPORT_MAX || size([...errors, one]) > room)) break;
    sent.push(group);
    if (!isTooLarge) errors.push(one);
  }
  return { sent, errors };
}

const size = (value: unknown): number => bytes(JSON.stringify(value));

/**
 * Reports errors of the app: `const errors = reports(client)`, then `errors.report(error)`. The kit for React calls it for its boundaries.
 * They are grouped, scrubbed and kept until the gateway took them: at most 50 groups.
 */
export function reports(client: Client, options: ReportOptions = {}): Reporter {
  return new Queue(client, options);
}
