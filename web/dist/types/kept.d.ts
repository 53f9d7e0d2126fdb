/** Outbox entries in storage, and the keeper that stores them. */
import type { Failure } from './failure.js';
import type { Clock } from './runtime.js';
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
/** Storage for outboxes. A write must be durable once its promise resolves. */
export interface OutboxStorage {
    /** Returns all entries of an outbox, in any order. */
    load(outbox: string): Promise<StoredEntry[]>;
    /** Inserts or replaces the entry with this `outbox` and `key`. */
    put(entry: StoredEntry): Promise<void>;
    /** Removes an entry if it exists. */
    remove(outbox: string, key: string): Promise<void>;
}
