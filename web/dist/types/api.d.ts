/**
 * What the package shows: types alone. Durations end in `Ms` and are milliseconds, times are Unix
 * milliseconds, sizes are bytes of UTF-8.
 */
/** A value that changes. `subscribe` fits React's `useSyncExternalStore`: both members work detached. */
export interface Observable<T> {
    /** What is so now. A new object at each change, never one that was changed. */
    readonly value: T;
    /** Calls `listener` after each change, not at once. Returns what ends it. */
    subscribe(listener: (value: T) => void): () => void;
}
/** Any JSON value. It is kept and returned as it was published. */
export type Json = null | boolean | number | string | readonly Json[] | {
    readonly [name: string]: Json;
};
/**
 * Why something failed.
 *
 * From the gateway: `malformed`, `unknown_command`, `unauthorized`, `forbidden`, `not_subscribed`,
 * `too_large`, `rate_limited`, `not_found`, `key_conflict`, `unavailable`, `overloaded`, `draining`, `unconfirmed`.
 *
 * From this package:
 * - `invalid`: an argument is not what it has to be; nothing was sent
 * - `outbox_full`: {@link OUTBOX_ENTRIES_MAX} publications wait; nothing was queued
 * - `expired`: it could not be sent for {@link OUTBOX_AGE_MAX_MS}
 * - `other_user`: it was written as another user than the one connected now
 * - `discarded`: the app discarded it
 * - `timeout`: no answer came in time
 * - `too_many`: {@link REQUESTS_MAX} pages are asked for already
 * - `overrun`: an iteration fell {@link ITERATION_MAX} publications behind
 * - `closed`: the client was closed; for a page of history also: the gateway ended the connection for good
 */
export type ErrorCode = 'malformed' | 'unknown_command' | 'unauthorized' | 'forbidden' | 'not_subscribed' | 'too_large' | 'rate_limited' | 'not_found' | 'key_conflict' | 'unavailable' | 'overloaded' | 'draining' | 'unconfirmed' | 'invalid' | 'outbox_full' | 'expired' | 'other_user' | 'discarded' | 'timeout' | 'too_many' | 'overrun' | 'closed';
/** A failure as plain data: what {@link SeawallError} carries. */
export interface Failure {
    /** For programs. */
    readonly code: ErrorCode;
    /** For people: what is wrong and what to do. May change between versions. */
    readonly message: string;
    /** When to try again; absent when it is of no use to. */
    readonly retryMs?: number;
    /** The dependency of the gateway that is down, if one is. */
    readonly dependency?: string;
}
/** How a connection ended. */
export interface Ending {
    /** The close code; 1006 when the connection broke, went silent or was never made. */
    readonly code: number;
    /** One word for programs, as docs/protocol.md lists them, or `lost`, `silent`, `unanswered`, `no_token`, `closed`. */
    readonly reason: string;
    /** More for people: a rule, a bound, a cause. */
    readonly message?: string;
    /** The dependency that is down, if that is why. */
    readonly dependency?: string;
    /** What the operator's log calls the outage: show it, people quote it. */
    readonly reference?: string;
    /** When the gateway wants to see this client again. */
    readonly retryMs?: number;
}
/** Bounds the gateway holds this client to; 0 means none. */
export interface Limits {
    /** Bytes of a frame. */
    readonly frame_bytes: number;
    /** Publications a second, kept to by this package. */
    readonly publishes_per_s: number;
    /** Publications at once, kept to by this package. */
    readonly publishes_burst: number;
    /** Channels of one connection. */
    readonly subscriptions: number;
}
/** A connection that is up. */
export interface Session {
    /** Who the gateway takes this client for; `anonymous` with auth off. */
    readonly user: string;
    /** Quote it in a report. */
    readonly connection: string;
    /** Which gateway process: quote it in a report. */
    readonly instance: string;
    /** What the gateway allows. */
    readonly limits: Limits;
    /** When the token ends, if it does. A token callback is asked before. */
    readonly expires?: number;
}
/** How the connection stands. */
export type State = 
/** The first connection, or one after `waiting`, is being made. `because` says how the last one ended. */
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
/** The gateway is about to restart; all works on, a new connection is made before the old one goes. */
 | {
    readonly phase: 'moving';
    readonly session: Session;
}
/** Not connected; tries again at `until`. */
 | {
    readonly phase: 'waiting';
    readonly attempt: number;
    readonly until: number;
    readonly because: Ending;
}
/** As `waiting`, and the browser says there is no network. */
 | {
    readonly phase: 'offline';
    readonly attempt: number;
    readonly until: number;
    readonly because: Ending;
}
/** For good, until {@link Client.reconnect}. */
 | {
    readonly phase: 'closed';
    readonly because: Ending;
};
/** One thing the gateway stands on. */
export interface Dependency {
    readonly name: string;
    readonly state: 'ok' | 'degraded' | 'down' | 'unknown';
    /** Whether the gateway refuses work without it. */
    readonly critical: boolean;
    /** Since when it is in this state. */
    readonly since: number;
}
/** How the gateway is, as it said last. `unknown` before it said anything. */
export interface Status {
    readonly level: 'ok' | 'degraded' | 'down' | 'unknown';
    readonly revision: number;
    readonly dependencies: readonly Dependency[];
    /** What users cannot do now. */
    readonly lost: readonly string[];
    /** For users. */
    readonly message?: string;
}
/** A publication. Edits and deletes are publications too, with an offset of their own. */
export interface Publication<T = Json> {
    readonly channel: string;
    /** 1, 2, 3 … within an epoch, without a gap. */
    readonly offset: number;
    /** As its author set it: what joins it with an entry of the outbox. */
    readonly key?: string;
    readonly user: string;
    /** When it was stored. */
    readonly time: number;
    /** `null` in most deletes, and in what was deleted. */
    readonly data: T;
    /** It replaces the data of this offset. */
    readonly edits?: number;
    /** It erases this offset. */
    readonly deletes?: number;
    /** It was erased by this offset. */
    readonly deleted_by?: number;
}
/** The answer to a publish: it is committed to the store. */
export interface Published {
    readonly channel: string;
    readonly key: string;
    readonly epoch: string;
    readonly offset: number;
    readonly time: number;
    /** An earlier try had arrived already. */
    readonly duplicate: boolean;
}
/** Something that is not kept. */
export interface Signal<T = Json> {
    readonly channel: string;
    readonly user: string;
    readonly data: T;
}
/** A piece of a channel's log, ascending. */
export interface Page<T = Json> {
    readonly channel: string;
    readonly epoch: string;
    /** The newest offset of the log, 0 if there never was one. */
    readonly head: number;
    /** The oldest that is kept: nothing before it can be had. */
    readonly floor: number;
    readonly publications: readonly Publication<T>[];
}
/** Where a reader stands. Keep it with what you keep, and pass it as `from`. */
export interface Cursor {
    readonly epoch: string;
    /** The last publication applied. */
    readonly offset: number;
}
/** Publications that will not come, both ends included. */
export interface Gap {
    readonly from: number;
    readonly to: number;
    /** `expired`: no longer kept. `skipped`: more than {@link ChannelOptions.catchUp} were missed. */
    readonly because: 'expired' | 'skipped';
}
/** The log is another one: it was lost or restored. Drop what is shown; what the new one has comes next. */
export interface Reset {
    readonly epoch: string;
    /** The cursor in the new log. */
    readonly offset: number;
}
/** Where to begin, and how much to catch up. */
export interface ChannelOptions {
    /** Begin with the newest so many, 0 to 300. Default 0: from now on. */
    readonly last?: number;
    /** Begin after this cursor. Not together with `last`. */
    readonly from?: Cursor;
    /**
     * At most so many are delivered of what was missed, the newest; the others are a `gap` with `skipped`.
     * At least 1; default: all, a page of 300 after the other.
     */
    readonly catchUp?: number;
}
/** How a subscription stands. */
export interface ChannelState {
    /**
     * `waiting`: for a connection or its turn. `syncing`: what was missed comes in. `live`: nothing is missing.
     * `refused`: see `error`; tried again on the next connection. `left`: over.
     */
    readonly phase: 'waiting' | 'syncing' | 'live' | 'refused' | 'left';
    /** The oldest offset that is kept, as heard last. */
    readonly floor?: number;
    /** Why it is refused, or why it has to wait. */
    readonly error?: Failure;
}
/** What `on` can listen to, and what the listener gets. */
export interface ChannelEvents<T = Json> {
    /** Each publication once, in the order of offsets, edits and deletes included. */
    publication: Publication<T>;
    /** Those that edit, after `publication`. */
    edit: Publication<T>;
    /** Those that delete, after `publication`. */
    delete: Publication<T>;
    signal: Signal<T>;
    gap: Gap;
    reset: Reset;
    /** Nothing is missing now. */
    synced: Cursor;
}
/** What goes with a publication. */
export interface PublishOptions {
    /** 1 to 64 bytes of visible ASCII. Default: {@link newKey}. The same key and content is stored once. */
    readonly key?: string;
    /** Replaces the data of this offset. Not together with `deletes`. */
    readonly edits?: number;
    /** Erases this offset; `data` is then usually `null`. */
    readonly deletes?: number;
}
/** Which page: with neither, the newest; not both. */
export interface HistoryOptions {
    /** The newest ones below this offset. */
    readonly before?: number;
    /** The oldest ones above this offset. */
    readonly after?: number;
    /** 1 to 300, default 50. A page may hold fewer: go on until `head` or `floor`. */
    readonly limit?: number;
}
/**
 * A handle on a channel's subscription. All handles of a name share one subscription, which ends when the
 * last of them leaves. A second handle hears what comes from then on; earlier ones are in `history`.
 *
 * Listeners that are added in the same turn as `client.channel()` miss nothing.
 */
export interface Channel<T = Json> extends AsyncIterable<Publication<T>> {
    readonly name: string;
    readonly state: Observable<ChannelState>;
    /** Where this client stands; `undefined` before the first answer. */
    readonly cursor: Cursor | undefined;
    /** Listens; returns what ends it. */
    on<E extends keyof ChannelEvents<T>>(event: E, listener: (value: ChannelEvents<T>[E]) => void): () => void;
    /**
     * Queues a publication and sends it as soon as it can be, after all queued before it for this channel.
     * Works offline, and while the connection is `closed` by the gateway: it then waits for {@link Client.reconnect}.
     * Resolves when it is committed. Rejects with a {@link SeawallError} when it never will be
     * by itself; it is then `failed` in {@link Client.outbox}, save for `invalid`, `too_large` found at once, `outbox_full`
     * and `closed`, where nothing was queued. A rejection nobody handles is not reported: the outbox shows it.
     */
    publish(data: T, options?: PublishOptions): Promise<Published>;
    /** A page of the log. Waits for a connection for at most {@link REQUEST_MS}; rejects with a {@link SeawallError}. */
    history(options?: HistoryOptions): Promise<Page<T>>;
    /**
     * Sends what is not worth keeping. `false` if it could not be sent now: without a connection, over 80 a second, or
     * just after the gateway refused one. It is not queued. Throws a {@link SeawallError}: `invalid`, `too_large`.
     */
    signal(data: T): boolean;
    /** Ends this handle: its listeners and iterations hear no more. What is queued is still sent. */
    leave(): void;
}
/** A publication that is not answered yet, or failed. */
export interface OutboxEntry {
    readonly key: string;
    readonly channel: string;
    readonly data: Json;
    readonly edits?: number;
    readonly deletes?: number;
    /** When it was queued. */
    readonly at: number;
    /**
     * `queued`: waits for its turn or the connection. `sending`: no answer yet.
     * `sent`: committed, its publication is on its way to this client. `failed`: see `error`; {@link Outbox.retry} or {@link Outbox.discard}.
     */
    readonly state: 'queued' | 'sending' | 'sent' | 'failed';
    /** Why it failed; while `queued`, why it has to be sent again. */
    readonly error?: Failure;
    /** Once `sent`. */
    readonly offset?: number;
}
/** What this client has to send, oldest first: at most {@link OUTBOX_ENTRIES_MAX}, at most {@link OUTBOX_AGE_MAX_MS} old. */
export interface Outbox extends Observable<readonly OutboxEntry[]> {
    /**
     * Where entries are kept. `opening` at first. `durable`: they survive a reload and a crash. `memory`: they do not,
     * since {@link Options.outbox} was not given, there is no IndexedDB here, or it failed.
     */
    readonly storage: Observable<'opening' | 'durable' | 'memory'>;
    /** Sends a failed entry again, under a new key where the old one can be of no use. */
    retry(key: string): void;
    /**
     * Drops a `queued` or `failed` entry; a promise that waits for it rejects with `discarded`. `false` if there is none:
     * what is `sending` cannot be called back, and one that is queued again may have arrived before.
     */
    discard(key: string): boolean;
}
/** A connection to a gateway that is kept up. */
export interface Client {
    readonly state: Observable<State>;
    readonly status: Observable<Status>;
    readonly outbox: Outbox;
    /** Subscribes, or joins the subscription there is. @throws {@link SeawallError} `invalid` */
    channel<T = Json>(name: string, options?: ChannelOptions): Channel<T>;
    /** Tries at once instead of waiting, and begins anew after `closed`. For a button: it does not heed the gateway's `retryMs`. */
    reconnect(): void;
    /** Ends everything. What is queued stays in durable storage for another tab or the next visit. */
    close(): void;
}
/** An entry as it is stored. Treat it as opaque, save `outbox`, `owner` and `key`. */
export interface StoredEntry {
    /** Which outbox. */
    readonly outbox: string;
    /** Which client (tab) looks after it. */
    readonly owner: string;
    readonly key: string;
    /** Ascending order of one owner. */
    readonly order: number;
    readonly channel: string;
    readonly json: string;
    readonly edits?: number;
    readonly deletes?: number;
    readonly at: number;
    readonly user?: string;
    /** Why it failed: it is not sent again by itself. */
    readonly error?: Failure;
}
/** An entry as it is handed to what keeps it. */
export type KeptEntry = Omit<StoredEntry, 'outbox' | 'owner'>;
/** What an {@link OutboxMaker} is told of its client, and how it answers. */
export interface OutboxOwner {
    readonly url: string;
    readonly clock: Clock;
    /** How many entries it may be handed at most: any number while it has none, none while it is `closed`. */
    room(): number;
    /** Hands over what was left by an earlier life, or by others. */
    restore(entries: readonly KeptEntry[]): void;
    /** What is saved from now on is kept, or, because storage does not work, is not. */
    opened(durable: boolean): void;
}
/** Keeps an outbox for one client. */
export interface OutboxKeeper {
    /** Resolves, and never rejects, once the entry is kept or cannot be: it is sent then. */
    save(entry: KeptEntry): Promise<void>;
    forget(key: string): void;
    /** Looks for what others have left. */
    look(): void;
    /** The client is over. */
    close(): void;
}
/** Makes what keeps an outbox. `durable` of `seawall-client/outbox` returns one; programs need not write their own. */
export type OutboxMaker = (owner: OutboxOwner) => OutboxKeeper;
/** A place for the outbox. What it was given must survive once the promise has resolved. */
export interface OutboxStorage {
    /** All entries of an outbox, in any order. */
    load(outbox: string): Promise<StoredEntry[]>;
    /** Writes one; the pair `outbox`, `key` names it. */
    put(entry: StoredEntry): Promise<void>;
    /** Removes one, if it is there. */
    remove(outbox: string, key: string): Promise<void>;
}
/** The part of the DOM's `WebSocket` that is used. */
export interface Socket {
    readonly bufferedAmount: number;
    onopen: ((event: never) => void) | null;
    onmessage: ((event: never) => void) | null;
    onclose: ((event: never) => void) | null;
    onerror: ((event: never) => void) | null;
    send(text: string): void;
    close(code?: number): void;
}
/** A `WebSocket` class: the browser's, Node's (22 and later), or that of the package `ws`. */
export type SocketClass = new (url: string, protocols: string[]) => Socket;
/** The time, for tests. */
export interface Clock {
    /** Unix milliseconds. */
    now(): number;
    setTimeout(run: () => void, ms: number): unknown;
    clearTimeout(timer: never): void;
}
/** How to connect. Everything is optional. */
export interface Options {
    /**
     * A token, or what fetches one: called before the first connection, before the token ends and after it was refused.
     * In between the last one is used again. It has 15 s.
     */
    readonly token?: string | (() => string | Promise<string>);
    /** What the gateway's log calls this client; 64 bytes are kept. */
    readonly client?: string;
    /** Default: `globalThis.WebSocket`. */
    readonly WebSocket?: SocketClass;
    /** What keeps the outbox over a reload and a crash: `durable()` of `seawall-client/outbox`. Default: memory alone. */
    readonly outbox?: OutboxMaker;
    /** From [0, 1). Default: `Math.random`. */
    readonly random?: () => number;
    readonly clock?: Clock;
}
