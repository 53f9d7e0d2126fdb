/** The entry `seawall-client/outbox`: an outbox that survives a reload and a crash, apart so that only its users load it. */
import type { OutboxMaker, OutboxStorage } from './api.js';
/** How an outbox is kept. Everything is optional. */
export interface DurableOptions {
    /** Name of the outbox within the storage, default the gateway's URL. Clients of one name take over what another left. */
    readonly name?: string;
    /** Default: IndexedDB; where there is none, memory. */
    readonly storage?: OutboxStorage;
    /** Default: `navigator.locks`. `null`: none, then each client sends what it finds at its start. */
    readonly locks?: Pick<LockManager, 'request'> | null;
}
/** Keeps the outbox in storage: pass it as `outbox` to `connect`. */
export declare function durable({ name, storage, locks }?: DurableOptions): OutboxMaker;
