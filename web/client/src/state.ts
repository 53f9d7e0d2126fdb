/**
 * What a session knows, what it is told, and what it wants done.
 *
 * A session is pure: `step(state, event, now, random)` gives the next state and effects and changes nothing it was
 * given. A step changes the copies that its `Turn` holds.
 */

import type {
  Cursor as From, ChannelEvents, ChannelState, Failure, KeptEntry, Limits, OutboxEntry, Page, Published, State, Status,
} from './api.js';
import type { Bye } from './close.js';
import type { Cursor } from './cursor.js';
import type { Frame } from './wire.js';
import { command } from './wire.js';

/** A connection, from the wish for one to its end. */
export interface Link {
  readonly id: number;
  /** `token`: the callback was asked. `greeting`: `connect` was sent. `leaving`: another one serves. */
  phase: 'token' | 'opening' | 'greeting' | 'ready' | 'leaving';
  /** It is given up then. */
  until: number;
  heardAt: number;
  silenceMs: number;
  bye?: Bye;
  /** Publications that may be sent now, as of `filledAt`: the gateway's own bucket, kept here as well. */
  bucket: number;
  filledAt: number;
  /** No other command before then. */
  rest: number;
  /** No signal before then. */
  quiet: number;
}

/** A channel somebody wants. */
export interface Sub extends Cursor {
  readonly name: string;
  /** Tells a subscription from an earlier one of the same name. */
  readonly serial: number;
  readonly want: number;
  readonly catchUp: number;
  /** Absent until the first answer. */
  epoch?: string;
  /** The link that has accepted it. */
  on?: number;
  /** True exactly while a subscribe is unanswered. */
  joining: boolean;
  /** Not asked again before then. */
  rest: number;
  view: ChannelState;
}

/** A publication on its way. */
export interface Entry extends OutboxEntry {
  /** Once `sent`: the log that has it. */
  readonly epoch?: string;
  readonly json: string;
  readonly order: number;
  readonly user?: string;
  /** Storage has it, so it may be sent. */
  readonly saved: boolean;
  /** Not sent before then. */
  readonly rest: number;
}

/** A publication as it is handed in. */
export type NewEntry = Pick<Entry, 'key' | 'channel' | 'data' | 'json' | 'edits' | 'deletes'>;

/** What a command of ours is for. */
export type Ask = { readonly link: number; readonly at: number } & (
  | { readonly for: 'connect' | 'refresh' | 'probe' | 'leave' }
  | { readonly for: 'subscribe'; readonly channel: string; readonly serial: number }
  | { readonly for: 'fill'; readonly channel: string; readonly serial: number; readonly heard: number }
  | { readonly for: 'publish'; readonly key: string }
  | { readonly for: 'page'; readonly request: number }
);

/** A page an app asked for. */
export interface Request {
  readonly body: object;
  readonly until: number;
  sent: boolean;
}

/** All a session knows. */
export interface SessionState {
  readonly client?: string;
  /** A callback can fetch another token. */
  readonly renewable: boolean;
  token?: string;
  /** When `token` ends, by the clock of this side. */
  expires?: number;
  /** The callback was asked and may answer until then. */
  asking: number;
  /** `token` was shown for a refresh, and is neither taken nor refused yet. */
  unjudged: boolean;
  refreshAt?: number;
  /** True exactly when the last end was 4501 and one more try is under way. */
  fresh: boolean;
  view: State;
  status: Status;
  user?: string;
  limits?: Limits;
  /** `connect` was too large: the next one recovers nothing, and each channel is subscribed by itself. */
  cautious: boolean;
  offline: boolean;
  attempt: number;
  dialledAt: number;
  retryAt?: number;
  /** `retryAt` is the gateway's word: impatience does not move it. */
  hinted: boolean;
  /** The gateway asked for patience until then, whatever attempt was under way. */
  notBefore: number;
  stableAt?: number;
  /** A drain: when to dial, and until when that makes sense. */
  move?: { at: number; deadline: number };
  /** The link that serves, and the one that is being made. */
  link?: number;
  next?: number;
  /** The last number given to a link, an ask, a subscription. */
  serial: number;
  /** Something rests until then. */
  pumpAt: number;
  links: Map<number, Link>;
  subs: Map<string, Sub>;
  asks: Map<number, Ask>;
  requests: Map<number, Request>;
  outbox: readonly Entry[];
}

/** What a session is told. */
export type Event =
  | { readonly is: 'connect' | 'close' | 'wake' | 'visible' }
  | { readonly is: 'network'; readonly online: boolean }
  | { readonly is: 'opened'; readonly link: number }
  | { readonly is: 'frame'; readonly link: number; readonly frame: Frame }
  | { readonly is: 'closed'; readonly link: number; readonly code: number; readonly reason: string }
  | { readonly is: 'token'; readonly token?: string; readonly message?: string }
  | { readonly is: 'subscribe'; readonly channel: string; readonly last?: number; readonly from?: From; readonly catchUp?: number }
  | { readonly is: 'unsubscribe'; readonly channel: string }
  | { readonly is: 'publish'; readonly entry: NewEntry }
  | { readonly is: 'saved'; readonly key: string }
  | { readonly is: 'restored'; readonly entries: readonly KeptEntry[] }
  | { readonly is: 'retry'; readonly key: string; readonly newKey: string }
  | { readonly is: 'discard'; readonly key: string }
  | { readonly is: 'history'; readonly request: number; readonly body: object }
  | { readonly is: 'signal'; readonly text: string };

/** What a session wants done, in order. */
export type Effect =
  | { readonly do: 'open'; readonly link: number }
  | { readonly do: 'send'; readonly link: number; readonly text: string }
  | { readonly do: 'close'; readonly link: number }
  | { readonly do: 'token' }
  | { [E in keyof ChannelEvents]: { readonly do: 'emit'; readonly channel: string; readonly event: E; readonly value: ChannelEvents[E] } }[keyof ChannelEvents]
  | { readonly do: 'save'; readonly entry: Entry }
  | { readonly do: 'forget'; readonly key: string }
  | { readonly do: 'settle'; readonly key: string; readonly published?: Published; readonly failure?: Failure }
  | { readonly do: 'answer'; readonly request: number; readonly page?: Page; readonly failure?: Failure };

/** Copies of few and small things: they are bounded by what the gateway allows. */
const copied = <K, V extends object>(map: Map<K, V>): Map<K, V> => new Map([...map].map(([key, value]) => [key, { ...value }]));

/** One step: copies that may be changed, and what is to be done. */
export class Turn {
  readonly s: SessionState;
  readonly effects: Effect[] = [];

  constructor(state: SessionState, readonly now: number, readonly random: number) {
    const { links, subs, asks, requests } = state;
    this.s = { ...state, links: copied(links), subs: copied(subs), asks: new Map(asks), requests: copied(requests) };
  }

  /** The link that serves, unless it has said `bye`. */
  serving(): Link | undefined {
    const link = this.s.links.get(this.s.link!);
    return link?.bye ? undefined : link;
  }

  /** Does it. */
  do(effect: Effect): void {
    this.effects.push(effect);
  }

  /** Sends a command on a link and remembers what for. */
  ask(link: number, ask: { for: Ask['for'] } & Record<string, unknown>, name: string, body: object, data?: string): void {
    const id = ++this.s.serial;
    this.s.asks.set(id, { ...ask, link, at: this.now } as Ask);
    this.do({ do: 'send', link, text: command(id, name, body, data) });
  }

  /** True exactly when `at` has come; else something waits for it. */
  due(at: number): boolean {
    if (at <= this.now) return true;
    this.s.pumpAt = Math.min(this.s.pumpAt, at);
    return false;
  }
}

/** Errors that pass: the same command may succeed later. */
export const FAILURES_OF_TIME = ['rate_limited', 'unavailable', 'overloaded', 'draining', 'unconfirmed'];
