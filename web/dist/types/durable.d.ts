/** The module `seawall-client/outbox`: an outbox that survives reloads and crashes. Separate, so that only its users load it. */
import type { Locks, OutboxMaker, OutboxStorage } from './api.js';
/** Options of {@link durable}. All are optional. */
export interface DurableOptions {
    /**
     * The outbox's name within the storage. Clients with the same name and the same user take over each other's leftovers. Default: the
     * gateway's URL and the user. What was written before the user was known belongs to the next user of a named outbox, so name it after
     * one account, or leave the name out.
     */
    readonly name?: string;
    /** Default: IndexedDB. Without IndexedDB the outbox is in memory. */
    readonly storage?: OutboxStorage;
    /** Default: `navigator.locks`. With `null`, or where there are none, each client sends the entries it finds at its start. */
    readonly locks?: Locks | null;
}
/** Keeps the outbox in storage. Pass the result as `outbox` to `connect`. */
export declare function durable({ name, storage, locks }?: DurableOptions): OutboxMaker;
