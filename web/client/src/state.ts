/**
 * The state of a session, its events and its effects.
 *
 * A session is pure: `step(state, event, now, random)` returns the next state and effects and modifies none of its
 * arguments. A step modifies the copies that its `Turn` holds.
 */

import type {
  Cursor as From, ChannelEvents, ChannelOptions, ChannelState, Ending, Failure, KeptEntry, Limits, OutboxEntry, Published, State, Status,
} from './api.js';
import type { Bye } from './close.js';
import type { Cursor } from './cursor.js';
import type { Frame } from './wire.js';
import { command } from './wire.js';

/** A lost connection and the attempts since, with the names of the wire. */
export interface Away {
  readonly connection: string;
  readonly code: number;
  readonly reason: string;
  readonly reference?: string;
  readonly attempts: number;
  /** Failed attempts, by how they ended. */
  readonly failed: Readonly<Record<string, number>>;
  /** The waits that refusals of attempts asked for and that the client kept. */
  readonly waited_ms: number;
  /** The time of the last bytes from the gateway. */
  readonly since: number;
  /** The last refusal and the wait that it asked for. */
  readonly refused?: readonly [at: number, ms: number];
}

/** The functions of `seawall-client/telemetry`, which the session calls. */
export interface Watcher {
  pass(s: SessionState, now: number, due: number): void;
  left(t: Turn, link: Link, because: Ending): void;
  tried(t: Turn): void;
  failed(t: Turn, phase: Link['phase'] | undefined, because: Ending): void;
  report(t: Turn): object | undefined;
}

/** A connection, from the decision to connect until it ends. */
export interface Link {
  readonly id: number;
  /** `token`: waits for the callback. `greeting`: `connect` was sent. `leaving`: another link serves. */
  phase: 'token' | 'opening' | 'greeting' | 'ready' | 'leaving';
  /** The connection is given up at this time. */
  until: number;
  heardAt: number;
  silenceMs: number;
  bye?: Bye;
  /** Publications that may be sent, as of `filledAt`: a local copy of the gateway's bucket. */
  bucket: number;
  filledAt: number;
  /** No subscribe or history request before this time. */
  rest: number;
  /** No signal before this time. */
  quiet: number;
  /** The instance to ask a load balancer for. */
  readonly to?: string;
}

/** A subscription that the app wants. */
export interface Sub extends Cursor {
  readonly name: string;
  /** Distinguishes this subscription from earlier ones with the same name. */
  readonly serial: number;
  readonly want: number;
  readonly catchUp: number;
  /** The use of the roster, as commands take it. */
  present?: ChannelOptions['present'];
  readonly watch?: ChannelOptions['watch'];
  /** Absent until the first reply. */
  epoch?: string;
  /** The link that accepted the subscription. */
  on?: number;
  /** True exactly while a subscribe is unanswered. */
  joining: boolean;
  /** Not requested again before this time. */
  rest: number;
  view: ChannelState;
}

/** An outgoing publication. */
export interface Entry extends OutboxEntry {
  /** The epoch of the log that has it; set once `sent`. */
  readonly epoch?: string;
  readonly json: string;
  readonly order: number;
  /** The author. Absent until the session's user is known. */
  readonly user?: string;
  /** True once storage has the entry, so that it may be sent. */
  readonly saved: boolean;
  /** Not sent before this time. */
  readonly rest: number;
}

/** A publication as the app passes it. */
export type NewEntry = Pick<Entry, 'key' | 'channel' | 'data' | 'json' | 'edits' | 'deletes'>;

/** The purpose of an unanswered command. */
export type Ask = { readonly link: number; readonly at: number } & (
  | { readonly for: 'connect' | 'refresh' | 'probe' | 'leave' }
  | { readonly for: 'subscribe'; readonly channel: string; readonly serial: number }
  | { readonly for: 'fill'; readonly channel: string; readonly serial: number; readonly heard: number }
  | { readonly for: 'publish'; readonly key: string }
  | { readonly for: 'page'; readonly request: number }
);

/** A page that an app requested. */
export interface Request {
  readonly body: object;
  /** The command. Default: `history`. */
  readonly name?: string;
  readonly until: number;
  sent: boolean;
}

/** The complete state of a session. */
export interface SessionState {
  readonly client?: string;
  /** True if there is a token callback. */
  readonly renewable: boolean;
  token?: string;
  /** When `token` expires, by the local clock. */
  expires?: number;
  /** The token callback has been called and may answer until this time. */
  asking: number;
  /** True while `token` was sent in a refresh and is neither accepted nor refused. */
  unjudged: boolean;
  refreshAt?: number;
  /** When a token was first refused (4501). Absent once a connection is stable. */
  refusedAt?: number;
  view: State;
  status: Status;
  /** The user as the app names it, from the options. It takes the place of a token's `sub`. */
  readonly account?: string;
  /** The user that the token names, if it can be read. */
  subject?: string;
  /** The user as the gateway named it last. Before that, `anonymous` is assumed if there is no token. */
  user?: string;
  /** The user's personal channel, as the gateway named it last. */
  personal?: string;
  limits?: Limits;
  /** The last `connect` was too large: the next one recovers nothing, and each channel is subscribed separately. */
  cautious: boolean;
  offline: boolean;
  attempt: number;
  dialledAt: number;
  retryAt?: number;
  /** The gateway set `retryAt`, so it is not brought forward. */
  hinted: boolean;
  /** The gateway asked the client to wait until this time, even if an attempt was in progress. */
  notBefore: number;
  stableAt?: number;
  /** After a `drain`: when to dial, the time after which that is pointless, and the instance to ask for once. */
  move?: { at: number; deadline: number; to?: string };
  /** True if the first attempt after a loss asks for the same instance. */
  readonly affinity: boolean;
  /** The instance of the lost connection, and until when to ask for it. Used by one attempt. */
  last?: { readonly instance: string; readonly until: number };
  /** Absent: `connect` does not report how the last connection ended. */
  readonly watcher?: Watcher;
  /** Returns what is read of a channel's open streams: `[gen,next]` by offset. */
  readonly reading?: (channel: string) => object | undefined;
  /** The flags that are on, as the gateway said last. `undefined`: it has none. */
  flags?: readonly string[];
  /** The lost connection, until another one serves. */
  away?: Away;
  /** The time since the last bytes from the gateway in which the client could not try to connect. */
  idle: number;
  steppedAt: number;
  /** The serving link. */
  link?: number;
  /** The link being established. */
  next?: number;
  /** The last number given to a link, an ask or a subscription. */
  serial: number;
  /** The earliest time for which something delayed waits. */
  pumpAt: number;
  links: Map<number, Link>;
  subs: Map<string, Sub>;
  asks: Map<number, Ask>;
  requests: Map<number, Request>;
  outbox: readonly Entry[];
}

/** The inputs of a session. */
export type Event =
  | { readonly is: 'connect' | 'close' | 'wake' | 'visible' }
  | { readonly is: 'network'; readonly online: boolean }
  | { readonly is: 'opened'; readonly link: number }
  | { readonly is: 'frame'; readonly link: number; readonly frame: Frame }
  | { readonly is: 'closed'; readonly link: number; readonly code: number; readonly reason: string }
  | { readonly is: 'token'; readonly token?: string; readonly message?: string }
  | { readonly is: 'subscribe'; readonly channel: string; readonly last?: number; readonly from?: From; readonly catchUp?: number } & Pick<ChannelOptions, 'present' | 'watch'>
  | { readonly is: 'unsubscribe'; readonly channel: string }
  | { readonly is: 'publish'; readonly entry: NewEntry }
  | { readonly is: 'saved'; readonly key: string }
  | { readonly is: 'restored'; readonly entries: readonly KeptEntry[] }
  | { readonly is: 'retry'; readonly key: string; readonly newKey: string }
  | { readonly is: 'discard'; readonly key: string }
  | { readonly is: 'history'; readonly request: number; readonly body: object; readonly name?: string };

/** The actions that the caller performs for a session, in order. */
export type Effect =
  | { readonly do: 'open'; readonly link: number; readonly to?: string }
  | { readonly do: 'send'; readonly link: number; readonly text: string }
  | { readonly do: 'close'; readonly link: number }
  | { readonly do: 'token' }
  | { [E in keyof ChannelEvents]: { readonly do: 'emit'; readonly channel: string; readonly event: E; readonly value: ChannelEvents[E] } }[keyof ChannelEvents]
  | { readonly do: 'save'; readonly entry: Entry }
  | { readonly do: 'forget'; readonly key: string }
  | { readonly do: 'settle'; readonly key: string; readonly published?: Published; readonly failure?: Failure }
  | { readonly do: 'answer'; readonly request: number; readonly page?: object; readonly failure?: Failure };

/** Copies a map and its values. They are few and small, because the gateway bounds them. */
const copied = <K, V extends object>(map: Map<K, V>): Map<K, V> => new Map([...map].map(([key, value]) => [key, { ...value }]));

/** One step: a modifiable copy of the state, and the effects so far. */
export class Turn {
  readonly s: SessionState;
  readonly effects: Effect[] = [];

  constructor(state: SessionState, readonly now: number, readonly random: number) {
    const { links, subs, asks, requests } = state;
    this.s = { ...state, links: copied(links), subs: copied(subs), asks: new Map(asks), requests: copied(requests) };
  }

  /** Returns the serving link, unless it has sent `bye`. */
  serving(): Link | undefined {
    const link = this.s.links.get(this.s.link!);
    return link?.bye ? undefined : link;
  }

  do(effect: Effect): void {
    this.effects.push(effect);
  }

  /** Sends a command on a link and records its purpose. */
  ask(link: number, ask: { for: Ask['for'] } & Record<string, unknown>, name: string, body: object, data?: string): void {
    const id = ++this.s.serial;
    this.s.asks.set(id, { ...ask, link, at: this.now } as Ask);
    this.do({ do: 'send', link, text: command(id, name, body, data) });
  }

  /** Returns true if `at` has been reached; otherwise schedules a wake for it. */
  due(at: number): boolean {
    if (at <= this.now) return true;
    this.s.pumpAt = Math.min(this.s.pumpAt, at);
    return false;
  }
}

/** Transient errors: the same command may succeed later. */
export const TRANSIENT_CODES = ['rate_limited', 'unavailable', 'overloaded', 'draining', 'unconfirmed'];

/** True if a flag of this package is on: it is, unless the gateway switched it off. */
export const isOn = ({ flags }: Pick<SessionState, 'flags'>, name: string): boolean => !flags || flags.includes('seawall.' + name);
