/**
 * The public types of the package. Durations are milliseconds and their names end in `Ms`; times are Unix
 * milliseconds; sizes are bytes of UTF-8.
 */

/** A value that changes over time. Both members work detached, so it fits React's `useSyncExternalStore`. */
export interface Observable<T> {
  /** The current value. Each change sets a new object; an old one is never modified. */
  readonly value: T;
  /** Calls `listener` after each later change, but not with the current value. Returns a function that unsubscribes. */
  subscribe(listener: (value: T) => void): () => void;
}

/** Any JSON value. The gateway stores and returns it exactly as published. For apps without a type of their own: `channel<Json>(name)`. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/**
 * The reason for a failure.
 *
 * From the gateway: `malformed`, `unknown_command`, `unauthorized`, `forbidden`, `not_subscribed`,
 * `too_large`, `rate_limited`, `not_found`, `key_conflict`, `unavailable`, `overloaded`, `draining`, `unconfirmed`.
 *
 * From this package:
 * - `invalid`: an argument is invalid; nothing was sent
 * - `outbox_full`: {@link OUTBOX_ENTRIES_MAX} publications are waiting; this one was not queued
 * - `expired`: the publication could not be sent for {@link OUTBOX_AGE_MAX_MS}
 * - `discarded`: the app discarded the publication
 * - `timeout`: no reply arrived in time
 * - `too_many`: {@link REQUESTS_MAX} history requests are already in progress
 * - `overrun`: an iteration fell {@link ITERATION_MAX} publications behind
 * - `closed`: the client was closed; for `history`, also when the gateway has closed the connection for good
 */
export type ErrorCode =
  | 'malformed' | 'unknown_command' | 'unauthorized' | 'forbidden' | 'not_subscribed' | 'too_large' | 'rate_limited'
  | 'not_found' | 'key_conflict' | 'unavailable' | 'overloaded' | 'draining' | 'unconfirmed'
  | 'invalid' | 'outbox_full' | 'expired' | 'discarded' | 'timeout' | 'too_many' | 'overrun' | 'closed';

/** A failure as plain data; {@link SeawallError} has the same members. */
export interface Failure {
  readonly code: ErrorCode;
  /** Explains to people what is wrong and what to do. The text may change between versions. */
  readonly message: string;
  /** How long to wait before trying again. Absent if trying again does not help. */
  readonly retryMs?: number;
  /** The gateway dependency that caused the failure, if one did. */
  readonly dependency?: string;
}

/** How a connection ended. */
export interface Ending {
  /** The close code; 1006 if the connection broke, went silent or was never established. */
  readonly code: number;
  /** A reason for programs: one listed in docs/protocol.md, or `lost`, `silent`, `unanswered`, `no_token`, `closed`. */
  readonly reason: string;
  /** Details for people, such as the rule or the limit that was broken, or what the runtime says about a failed connection. */
  readonly message: string;
  /** The dependency whose outage ended the connection, if one did. */
  readonly dependency?: string;
  /** The outage's reference in the operator's log. Show it, so that people can quote it. */
  readonly reference?: string;
  /** How long the gateway asked this client to wait before reconnecting. */
  readonly retryMs?: number;
}

/** The limits that the gateway sets for this connection. 0 means no limit. */
export interface Limits {
  /** The largest frame, in bytes. */
  readonly frameBytes: number;
  /** Publications per second. This package keeps to it. */
  readonly publishesPerSecond: number;
  /** Publications at once. This package keeps to it. */
  readonly publishesBurst: number;
  /** Channels per connection. */
  readonly subscriptions: number;
}

/** An established connection. */
export interface Session {
  /** The user as the gateway knows it; `anonymous` if auth is off. */
  readonly user: string;
  /** The connection's id. Quote it in reports. */
  readonly connection: string;
  /** The id of the gateway process. Quote it in reports. */
  readonly instance: string;
  readonly limits: Limits;
  /** When the token expires, if it does. A token callback is called before then. */
  readonly expires?: number;
}

/** The state of the connection. */
export type State =
  /** A connection attempt is in progress. `because` says how the last connection ended. */
  | { readonly phase: 'connecting'; readonly attempt: number; readonly because?: Ending }
  /** Connected. */
  | { readonly phase: 'online'; readonly session: Session }
  /** The gateway is about to restart. Everything keeps working; a new connection is made before the old one closes. */
  | { readonly phase: 'moving'; readonly session: Session }
  /** Not connected. The next attempt is at `until`. */
  | { readonly phase: 'waiting'; readonly attempt: number; readonly until: number; readonly because: Ending }
  /** As `waiting`, but the browser reports that there is no network. Attempts continue. */
  | { readonly phase: 'offline'; readonly attempt: number; readonly until: number; readonly because: Ending }
  /** Closed for good, unless the app calls {@link Client.reconnect}. */
  | { readonly phase: 'closed'; readonly because: Ending };

/** A service that the gateway depends on. */
export interface Dependency {
  readonly name: string;
  readonly state: 'ok' | 'degraded' | 'down' | 'unknown';
  /** True if the gateway refuses work while this dependency is down. */
  readonly critical: boolean;
  /** When the dependency entered this state. */
  readonly since: number;
}

/** The gateway's health as last reported. `level` is `unknown` before the first report. */
export interface Status {
  readonly level: 'ok' | 'degraded' | 'down' | 'unknown';
  readonly revision: number;
  readonly dependencies: readonly Dependency[];
  /** The capabilities that users do not have now. */
  readonly lost: readonly string[];
  /** The operator's message to users. */
  readonly message?: string;
}

/** The members that every publication has. */
export interface PublicationHead {
  readonly channel: string;
  /** Consecutive within an epoch. A new channel starts at 1, or higher if the store has removed channels. */
  readonly offset: number;
  /** The key that its author published it with. It equals the key of the author's outbox entry. */
  readonly key?: string;
  readonly user: string;
  /** When it was stored. */
  readonly time: number;
}

/** A publication with its data: an original or an edit. */
export interface DataPublication<T = unknown> extends PublicationHead {
  readonly data: T;
  /** The offset whose data this publication replaces. */
  readonly edits?: number;
  readonly deletes?: undefined;
  readonly deletedBy?: undefined;
}

/** A publication that deletes another. */
export interface DeletePublication<T = unknown> extends PublicationHead {
  /** `null`, unless its author gave it data. */
  readonly data: T | null;
  readonly edits?: undefined;
  /** The offset that this publication deletes. */
  readonly deletes: number;
  readonly deletedBy?: undefined;
}

/** A publication whose data was deleted. */
export interface DeletedPublication extends PublicationHead {
  readonly data: null;
  readonly edits?: number;
  readonly deletes?: undefined;
  /** The offset of the publication that deleted this one. */
  readonly deletedBy: number;
}

/**
 * A publication. Edits and deletes are publications too, with offsets of their own. `data` is of type `T` if neither `deletes` nor
 * `deletedBy` is set. `T` is the app's claim: nothing checks what other clients publish.
 */
export type Publication<T = unknown> = DataPublication<T> | DeletePublication<T> | DeletedPublication;

/** The reply to a publish. The publication is committed to the store. */
export interface Published {
  readonly channel: string;
  readonly key: string;
  readonly epoch: string;
  readonly offset: number;
  readonly time: number;
  /** True if an earlier attempt with the same key had already been stored. */
  readonly duplicate: boolean;
}

/** A message that is not stored. */
export interface Signal<T = unknown> {
  readonly channel: string;
  readonly user: string;
  readonly data: T;
}

/** A part of a channel's log, in ascending order. */
export interface Page<T = unknown> {
  readonly channel: string;
  readonly epoch: string;
  /** The newest offset of the log; 0 if nothing was ever published. */
  readonly head: number;
  /** The oldest offset that the gateway keeps. */
  readonly floor: number;
  readonly publications: readonly Publication<T>[];
}

/** A position in a channel's log. Store it together with the data you keep, and pass it as `from` to resume there. */
export interface Cursor {
  readonly epoch: string;
  /** The offset of the last publication delivered. */
  readonly offset: number;
}

/** A range of publications that will not be delivered, both ends included. */
export interface Gap {
  readonly from: number;
  readonly to: number;
  /** `expired`: no longer kept. `skipped`: more than {@link ChannelOptions.catchUp} were missed. */
  readonly because: 'expired' | 'skipped';
}

/** The channel has a new log, because the old one was lost or restored. Clear your view; the new log's publications follow. */
export interface Reset {
  readonly epoch: string;
  /** The cursor's offset in the new log. */
  readonly offset: number;
}

/** Where a subscription starts, and how much it catches up on. */
export interface ChannelOptions {
  /** Starts with this many of the newest publications, 0 to 300. Default: 0, only new ones. */
  readonly last?: number;
  /** Starts after this cursor. Excludes `last`. */
  readonly from?: Cursor;
  /**
   * The most missed publications to deliver, at least 1. If more were missed, the newest are delivered and the
   * rest is reported as a `gap` with `skipped`. Default: no limit; they are read in pages of 300.
   */
  readonly catchUp?: number;
}

/** The state of a subscription. */
export interface ChannelState {
  /**
   * `waiting`: for a connection, or for its turn. `syncing`: missed publications are being delivered. `live`: nothing
   * is missing. `refused`: the gateway refused or ended it, see `error`; requested again on the next connection, after a token
   * refresh or, if there were too many channels, when one is left. `left`: ended by the app.
   */
  readonly phase: 'waiting' | 'syncing' | 'live' | 'refused' | 'left';
  /** The oldest offset that the gateway keeps, as last reported. */
  readonly floor?: number;
  /** The reason that the subscription is refused or has to wait. */
  readonly error?: Failure;
}

/** The events of a channel and the values that listeners receive. */
export interface ChannelEvents<T = unknown> {
  /** Each publication once, in offset order, edits and deletes included. */
  publication: Publication<T>;
  /** An edit, emitted after its `publication` event. */
  edit: DataPublication<T> | DeletedPublication;
  /** A delete, emitted after its `publication` event. */
  delete: DeletePublication<T>;
  signal: Signal<T>;
  gap: Gap;
  reset: Reset;
  /** The subscription has caught up: nothing is missing up to this cursor. */
  synced: Cursor;
}

export interface PublishOptions {
  /** 1 to 64 bytes of visible ASCII; default: {@link newKey}. The gateway stores the same key and content only once. */
  readonly key?: string;
  /** The offset whose data to replace. Excludes `deletes`. */
  readonly edits?: number;
  /** The offset to delete; `data` is then usually `null`. Excludes `edits`. */
  readonly deletes?: number;
}

/** The options of a delete. */
export interface DeleteOptions extends PublishOptions {
  readonly deletes: number;
}

/** Selects a page of history: the newest one by default, or one relative to `before` or `after`, but not both. */
export interface HistoryOptions {
  /** Reads the newest publications below this offset. */
  readonly before?: number;
  /** Reads the oldest publications above this offset. */
  readonly after?: number;
  /** 1 to 300, default 50. A page may hold fewer: continue until `head` or `floor`. */
  readonly limit?: number;
}

/**
 * A handle on a channel's subscription. All handles with the same name share one subscription, which ends when the
 * last handle leaves. A second handle receives only what arrives after it was made; use `history` for earlier publications.
 *
 * A listener added in the same synchronous turn as `client.channel()` misses nothing.
 */
export interface Channel<T = unknown> extends AsyncIterable<Publication<T>> {
  readonly name: string;
  readonly state: Observable<ChannelState>;
  /** The position of the last delivered publication; `undefined` until the gateway first answers. */
  readonly cursor: Cursor | undefined;
  /** Adds a listener. Returns a function that removes it. */
  on<E extends keyof ChannelEvents<T>>(event: E, listener: (value: ChannelEvents<T>[E]) => void): () => void;
  /**
   * Queues a publication and sends it after all earlier ones of this channel. Works offline. Also works while the state
   * is `closed` by the gateway; the publication then waits for {@link Client.reconnect}.
   *
   * Resolves when the publication is committed. Rejects with a {@link SeawallError} if it will not be sent again
   * automatically; the entry is then `failed` in {@link Client.outbox}. If it was rejected before it was queued (`invalid`,
   * `outbox_full`, `closed`, or a `too_large` found at once), there is no entry. It stays pending while another user is connected. An unhandled rejection of a queued
   * publication is not reported as such, because the outbox shows it.
   */
  publish(data: T, options?: PublishOptions): Promise<Published>;
  publish(data: T | null, options: DeleteOptions): Promise<Published>;
  /** Reads a page of the log, waiting at most {@link REQUEST_MS} for a connection and the page. Rejects with a {@link SeawallError}. */
  history(options?: HistoryOptions): Promise<Page<T>>;
  /**
   * Sends a message that is not stored. Returns `false`, and does not queue it, if it cannot be sent now: no connection
   * or subscription, a socket that does not drain, more than 80 per second, or within 3 s of a refusal by the gateway.
   * @throws {@link SeawallError} `invalid`, `too_large`
   */
  signal(data: T): boolean;
  /** Ends this handle: its listeners receive nothing more and its iterations end. Queued publications are still sent. */
  leave(): void;
}

/** A publication that is not yet committed and received back, or that failed. */
export interface OutboxEntry {
  readonly key: string;
  readonly channel: string;
  readonly data: unknown;
  readonly edits?: number;
  readonly deletes?: number;
  /** When it was queued. */
  readonly at: number;
  /**
   * `queued`: waits for the connection or its turn. `sending`: not answered yet. `sent`: committed, but the publication
   * has not yet come back to this client. `failed`: see `error`; call {@link Outbox.retry} or {@link Outbox.discard}.
   */
  readonly state: 'queued' | 'sending' | 'sent' | 'failed';
  /** The reason that it failed or, while `queued`, that it is sent again. */
  readonly error?: Failure;
  /** Set once `sent`. */
  readonly offset?: number;
}

/**
 * The user's publications in progress, oldest first: at most {@link OUTBOX_ENTRIES_MAX}, each sent within {@link OUTBOX_AGE_MAX_MS}
 * or `failed`. An entry belongs to the user who wrote it: it is not listed, and not sent, while the client connects as another.
 */
export interface Outbox extends Observable<readonly OutboxEntry[]> {
  /**
   * Where entries are kept: `opening` at first. `durable`: they survive a reload and a crash. `memory`: they do not,
   * because {@link Options.outbox} was not given, IndexedDB is not available, or it failed.
   */
  readonly storage: Observable<'opening' | 'durable' | 'memory'>;
  /** Sends a failed entry again. Uses a new key after `key_conflict` or `expired`, where the old key cannot succeed. */
  retry(key: string): void;
  /**
   * Drops a `queued` or `failed` entry and rejects its pending promise with `discarded`. Returns `false` if there is no
   * such entry. A `sending` entry cannot be recalled, and one that is `queued` for another attempt may already be stored.
   */
  discard(key: string): boolean;
}

/** A connection to a gateway that re-establishes itself. */
export interface Client {
  readonly state: Observable<State>;
  readonly status: Observable<Status>;
  readonly outbox: Outbox;
  /** Subscribes, or shares the existing subscription. @throws {@link SeawallError} `invalid` */
  channel<T = unknown>(name: string, options?: ChannelOptions): Channel<T>;
  /** Connects now instead of waiting, also after `closed` and if {@link Options.idle} is set. Meant for a button, because it ignores the gateway's `retryMs`. */
  reconnect(): void;
  /** Ends the client. Queued entries stay in durable storage for another tab or the next visit. */
  close(): void;
}

/** An outbox entry as stored. Treat it as opaque, except `outbox`, `owner` and `key`. */
export interface StoredEntry {
  /** The name of the outbox. */
  readonly outbox: string;
  /** The id of the client (tab) that sends it. */
  readonly owner: string;
  readonly key: string;
  /** Sorts the entries of one owner, ascending. */
  readonly order: number;
  readonly channel: string;
  readonly json: string;
  readonly edits?: number;
  readonly deletes?: number;
  readonly at: number;
  /** The author: only this user sends the entry. Absent if it was written before the user was known. */
  readonly user?: string;
  /** Set if the entry failed. It is then not sent again automatically. */
  readonly error?: Failure;
}

/** An entry as passed to and from an {@link OutboxKeeper}. */
export type KeptEntry = Omit<StoredEntry, 'outbox' | 'owner'>;

/** The client of an {@link OutboxKeeper}, as the keeper sees it. */
export interface OutboxOwner {
  readonly url: string;
  readonly clock: Clock;
  /** The names of the user that the client connects as. Empty while the user is unknown. */
  users(): readonly string[];
  /** True while connected without a token: the gateway has auth off, and all users are `anonymous`. */
  isAnonymous(): boolean;
  /** The most entries that the client can take over: unlimited while its outbox is empty, 0 while it is `closed`. */
  room(): number;
  /** Adds entries that an earlier page or another tab left. */
  restore(entries: readonly KeptEntry[]): void;
  /** Reports whether entries saved from now on are durable. `false` means that storage failed. */
  opened(durable: boolean): void;
}

/** Keeps the outbox of one client. */
export interface OutboxKeeper {
  /** Resolves once the entry is stored or cannot be, and never rejects. The client sends the entry after that. */
  save(entry: KeptEntry): Promise<void>;
  forget(key: string): void;
  /** Looks for entries that closed or crashed tabs left. Also called when the user changed. */
  look(): void;
  /** Called when the client is closed. */
  close(): void;
}

/** Creates an {@link OutboxKeeper}. Use `durable` from `seawall-client/outbox`; apps need not write their own. */
export type OutboxMaker = (owner: OutboxOwner) => OutboxKeeper;

/** The part of the DOM's `LockManager` that this package uses. */
export interface Locks {
  /** `run` gets `null` if the lock is not available. */
  request(name: string, options: object, run: (lock: unknown) => unknown): Promise<unknown>;
}

/** Storage for outboxes. A write must be durable once its promise resolves. */
export interface OutboxStorage {
  /** Returns all entries of an outbox, in any order. */
  load(outbox: string): Promise<StoredEntry[]>;
  /** Inserts or replaces the entry with this `outbox` and `key`. */
  put(entry: StoredEntry): Promise<void>;
  /** Removes an entry if it exists. */
  remove(outbox: string, key: string): Promise<void>;
}

/** The part of the DOM's `WebSocket` that this package uses. */
export interface Socket {
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** A `WebSocket` class: the browser's, Node's (22 and later), or the one from the package `ws`. */
export type SocketClass = new (url: string, protocols: string[]) => Socket;

/** A clock and timers. Replace them in tests. */
export interface Clock {
  /** Unix milliseconds. */
  now(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: never): void;
}

/** Connection options. All are optional. */
export interface Options {
  /**
   * A token, or a callback that returns one. The callback is called before the first connection, before the token
   * expires and after the gateway refused it; in between, the last token is used again. It must answer within 15 s.
   */
  readonly token?: string | (() => string | Promise<string>);
  /**
   * The user that the tokens are for, if the app knows it before the first token, for example offline. Entries of the outbox are
   * bound to it. Default: the claim `sub` of a JWT, else the user that the gateway reports once connected.
   */
  readonly user?: string;
  /** A name for this client in the gateway's log, of which 64 bytes are kept. Default: `seawall-js/0.1`. */
  readonly client?: string;
  /** Default: `globalThis.WebSocket`. */
  readonly WebSocket?: SocketClass;
  /** Keeps the outbox across reloads and crashes: `durable()` from `seawall-client/outbox`. Default: memory only. */
  readonly outbox?: OutboxMaker;
  /** Returns a number from [0, 1). Default: `Math.random`. */
  readonly random?: () => number;
  /**
   * Opens nothing, neither a connection nor the outbox, until {@link Client.reconnect}. For a server that renders a page: it needs
   * no `WebSocket`, the address may be relative, and the state stays `connecting`.
   */
  readonly idle?: boolean;
  readonly clock?: Clock;
}
