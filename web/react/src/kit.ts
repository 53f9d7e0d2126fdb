/** One app's kit: what boundaries, hooks and parts share outside the components, so that a component that is mounted again finds it. */

import type { Client, Observable } from 'seawall-client';
import { add, describe, hash, NO_ERRORS, raise, type ErrorGroup, type Errors, type Reporter } from 'seawall-client/reports';
import { enqueue, type Announcement } from './announcements.js';
import { Cell } from './cell.js';
import { failed, POLICY, retried, type Decision, type Failure, type Level, type LevelPolicy, type Memory, type Policy } from './ladder.js';
import { WORDS, type Words } from './words.js';

/** Options of {@link createKit}. All are optional. */
export interface KitOptions {
  /** The app's name and version, in the context of each error. */
  readonly release?: string;
  /** Called once for each error, after it was counted. Pass it to your error tracker. */
  readonly onError?: (error: unknown, report: ErrorGroup) => void;
  /**
   * Reports errors to the gateway: `reports` of `seawall-client/reports`, or a function that loads it first. Default: they stay in the page.
   */
  readonly reports?: (client: Client) => OwnReporter | Promise<OwnReporter>;
  /** Adds to the context of an error, such as the route: at most 8 values of 96 characters, none of them secret. */
  readonly context?: () => Readonly<Record<string, string>>;
  /** Removes more from the texts of an error, after tokens, mail addresses, queries and long numbers were removed. */
  readonly scrub?: (text: string) => string;
  /** Changes rules of the ladder, by level. */
  readonly policy?: { readonly [L in Level]?: Partial<LevelPolicy> };
  /** Replaces texts. */
  readonly words?: Partial<Words>;
  /** False: {@link rootOptions} writes nothing to the console. Default: true. */
  readonly log?: boolean;
  readonly now?: () => number;
}

type OwnReporter = Pick<Reporter, 'add' | 'raise' | 'close'>;

/** Made by {@link createKit}. */
export interface Kit {
  /** The errors so far, in groups. */
  readonly errors: Observable<Errors>;
  /** Counts an error that no boundary sees, such as one of an event handler. The same object is counted once. Returns its reference. */
  report(error: unknown, level?: Level, context?: Readonly<Record<string, unknown>>): string;
}

/** Returns an error for whatever was thrown. */
export const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

export class OwnKit implements Kit {
  readonly errors = new Cell<Errors>(NO_ERRORS);
  readonly announcements = new Cell<readonly Announcement[]>([]);
  readonly words: Words;
  readonly policy: Policy;
  readonly now: () => number;
  /** Adds the state of the client to the context of errors; set by the provider. */
  situation: () => Readonly<Record<string, string>> = () => ({});
  #memory: Memory = new Map();
  #reporter: OwnReporter | undefined;
  /** Errors before there was a client. */
  #early: Errors = NO_ERRORS;
  /** The references of errors that were counted. */
  readonly #seen = new WeakMap<Error, string>();

  constructor(readonly options: KitOptions) {
    const { policy = {}, words, now = Date.now } = options;
    this.words = { ...WORDS, ...words };
    this.policy = Object.fromEntries(Object.entries(POLICY).map(([level, rules]) => [level, { ...rules, ...policy[level as Level] }])) as Policy;
    this.now = now;
  }

  /** Decides about a failure, and remembers it. */
  failed(failure: Failure): Decision {
    const [memory, decision] = failed(this.#memory, failure, this.policy, this.now());
    this.#memory = memory;
    return decision;
  }

  retried(key: string): void {
    this.#memory = retried(this.#memory, key);
  }

  report(thrown: unknown, level: Level = 'message', { component = '', ...context }: Readonly<Record<string, unknown>> = {}): string {
    const error = toError(thrown);
    const seen = this.#seen.get(error);
    if (seen !== undefined) {
      this.errors.set(raise(this.errors.value, seen, level));
      this.#early = raise(this.#early, seen, level);
      this.#reporter?.raise(seen, level);
      return seen;
    }
    const { release, context: more, scrub = String, onError } = this.options;
    let one: ErrorGroup;
    try {
      one = describe(error, level, String(component), { release, ...this.situation(), ...more?.(), ...context }, scrub, this.now());
    } catch {
      // A hook of the app, or a getter of the error, threw: the error counts all the same.
      one = describe(Error('Unknown error'), level, '', {}, String, this.now());
    }
    const { fingerprint } = one;
    this.#seen.set(error, fingerprint);
    this.errors.set(add(this.errors.value, one));
    if (this.#reporter) this.#reporter.add(one);
    else if (this.options.reports) this.#early = add(this.#early, one);
    try { onError?.(thrown, this.errors.value.groups.find((group) => group.fingerprint === fingerprint)!); } catch (failure) { queueMicrotask(() => { throw failure; }); }
    return fingerprint;
  }

  /** Reports errors through a client, those of before included. Returns the end. */
  reportTo(client: Client): () => void {
    let [reporter, over]: [OwnReporter?, boolean?] = [];
    Promise.resolve(this.options.reports?.(client)).then((made) => {
      if (over) made?.close();
      else if (made) {
        this.#reporter = reporter = made;
        this.#early.groups.forEach(made.add, made);
        this.#early = NO_ERRORS;
      }
    }, () => {});
    return () => {
      over = true;
      // Another client may follow: what this one did not report is reported through that.
      for (const one of reporter?.close() ?? []) this.#early = add(this.#early, one);
      if (this.#reporter === reporter) this.#reporter = undefined;
    };
  }

  /** Has a text read by a screen reader. Works detached. */
  readonly announce = (text: string, urgent = false): void => this.announcements.set(enqueue(this.announcements.value, { text, urgent }, this.words.newMessages));
}

/** Makes the kit of an app. Make one, outside the components. */
export function createKit(options: KitOptions = {}): Kit {
  return new OwnKit(options);
}

let spare: OwnKit | undefined;
/** The kit of a boundary that was given none. */
export const spareKit = (): OwnKit => (spare ??= new OwnKit({}));

/** A short name for a boundary whose name may be long or private. */
export const keyOf = (level: Level, name: string, within = ''): string => `${within}/${level}:${hash(name)}`;
