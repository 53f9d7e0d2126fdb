/**
 * The public types of the package. Durations are milliseconds and their names end in `Ms`; times are Unix
 * milliseconds; sizes are bytes of UTF-8.
 */
import type { Failure } from './failure.js';
import type { OutboxMaker } from './kept.js';
import type { Cursor, DataPublication, DeletedPublication, DeletePublication, Gap, Page, Publication, Published, Reset, Signal } from './publication.js';
import type { Clock, FlagKeeper, SocketClass, Telemetry } from './runtime.js';
export * from './failure.js';
export * from './kept.js';
export * from './publication.js';
export * from './runtime.js';
/** A value that changes over time. Both members work detached, so it fits React's `useSyncExternalStore`. */
export interface Observable<T> {
    /** The current value. Each change sets a new object; an old one is never modified. */
    readonly value: T;
    /** Calls `listener` after each later change, but not with the current value. Returns a function that unsubscribes. */
    subscribe(listener: (value: T) => void): () => void;
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
{
    readonly phase: 'connecting';
    readonly attempt: number;
    readonly because?: Ending;
}
/** Connected. */
 | {
    readonly phase: 'online';
    readonly session: Session;
}
/** The gateway is about to restart. Everything keeps working; a new connection is made before the old one closes. */
 | {
    readonly phase: 'moving';
    readonly session: Session;
}
/** Not connected. The next attempt is at `until`. */
 | {
    readonly phase: 'waiting';
    readonly attempt: number;
    readonly until: number;
    readonly because: Ending;
}
/** As `waiting`, but the browser reports that there is no network. Attempts continue. */
 | {
    readonly phase: 'offline';
    readonly attempt: number;
    readonly until: number;
    readonly because: Ending;
}
/** Closed for good, unless the app calls {@link Client.reconnect}. */
 | {
    readonly phase: 'closed';
    readonly because: Ending;
};
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
    /** Shows the user on the channel's roster, in this state: 1 to 32 of `a-z`, `_` and `-`. Needs the right `present`. */
    readonly present?: {
        readonly state?: string;
    };
    /** Follows the channel's roster, or its numbers alone; read it with `presence()` of `seawall-client/presence`. Needs the right `presence`. */
    readonly watch?: 'members' | 'count';
}
/** A user on a roster. */
export interface PresenceMember {
    readonly user: string;
    /** The user's connections to the channel. */
    readonly connections: number;
    /** When the user joined, in Unix milliseconds. */
    readonly since: number;
    readonly state?: string;
    /** The claim `info` of the user's token. */
    readonly info?: unknown;
}
/** A roster as the gateway sends it; `presence()` of `seawall-client/presence` keeps the whole. */
export interface PresenceFrame {
    readonly channel: string;
    readonly revision: number;
    readonly complete: boolean;
    readonly users: number;
    readonly connections: number;
    readonly counted?: true;
    readonly members?: readonly PresenceMember[];
    readonly more?: true;
    readonly joined?: readonly PresenceMember[];
    readonly changed?: readonly PresenceMember[];
    readonly left?: readonly string[];
    readonly refresh_ms?: number;
    readonly ended?: string;
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
    /**
     * The user's rights on the channel, such as `publish`, when the subscription began. `undefined`: all, because the gateway has auth off, or
     * unknown, before the first reply and after a token refresh. So `rights?.includes('publish') ?? true` is whether to offer a composer.
     */
    readonly rights?: readonly string[];
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
    presence: PresenceFrame;
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
    /** The names of the flags that are on, in order. Empty before the first connection unless {@link Options.flags} has some, and if the gateway has none. */
    readonly flags: Observable<readonly string[]>;
    readonly outbox: Outbox;
    /**
     * The name of the user's personal channel, on which the app's backend reaches the user on all devices: subscribe to it with
     * {@link Client.channel}. `undefined` before the first connection, and with auth off.
     */
    readonly personal: string | undefined;
    /** True if this flag is on. The flags of this package, which begin with `seawall.`, are on until the gateway says otherwise. */
    flag(name: string): boolean;
    /** Subscribes, or shares the existing subscription. @throws {@link SeawallError} `invalid` */
    channel<T = unknown>(name: string, options?: ChannelOptions): Channel<T>;
    /** Connects now instead of waiting, also after `closed` and if {@link Options.idle} is set. Meant for a button, because it ignores the gateway's `retryMs`. */
    reconnect(): void;
    /** Ends the client. Queued entries stay in durable storage for another tab or the next visit. */
    close(): void;
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
    /**
     * Asks, in the first attempt within 60 s after a lost connection, for the same instance again (`?to=NAME`): its caches still know the
     * client. It needs a load balancer that follows the hint (docs/deploy.md). Default: false.
     */
    readonly affinity?: boolean;
    /**
     * Reports to the gateway how the last connection ended and how long the client was away: `telemetry` from `seawall-client/telemetry`.
     * Default, and with `false`: nothing is reported.
     */
    readonly telemetry?: Telemetry | false;
    /** Default: `globalThis.WebSocket`. */
    readonly WebSocket?: SocketClass;
    /** Keeps the outbox across reloads and crashes: `durable()` from `seawall-client/outbox`. Default: memory only. */
    readonly outbox?: OutboxMaker;
    /**
     * Keeps the last flags of each account: `keptFlags()` from `seawall-client/flags`. Until the first connection of a page they hold, so that
     * nothing that is switched off appears for a moment. The account is {@link Options.user}, else the claim `sub` of a token that is given
     * as text. Default: none are kept.
     */
    readonly flags?: FlagKeeper;
    /** Returns a number from [0, 1). Default: `Math.random`. */
    readonly random?: () => number;
    /**
     * Opens nothing, neither a connection nor the outbox, until {@link Client.reconnect}. For a server that renders a page: it needs
     * no `WebSocket`, the address may be relative, and the state stays `connecting`.
     */
    readonly idle?: boolean;
    readonly clock?: Clock;
}
