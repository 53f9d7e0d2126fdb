/** The parts of the runtime that the package uses: sockets, timers, locks, storage. */
/** The part of the DOM's `LockManager` that this package uses. */
export interface Locks {
    /** `run` gets `null` if the lock is not available. */
    request(name: string, options: object, run: (lock: unknown) => unknown): Promise<unknown>;
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
/** Keeps the last flags of each account of a gateway. Neither function throws. */
export interface FlagKeeper {
    /** Returns what was saved last; `undefined` if nothing was, or the gateway had no flags. `user` is `undefined` while it is unknown. */
    load(url: string, user: string | undefined): readonly string[] | undefined;
    save(url: string, user: string | undefined, flags: readonly string[] | undefined): void;
}
/** The value `telemetry` of `seawall-client/telemetry`. Treat it as opaque. */
export interface Telemetry {
    readonly telemetry: never;
}
/** A clock and timers. Replace them in tests. */
export interface Clock {
    /** Unix milliseconds. */
    now(): number;
    setTimeout(run: () => void, ms: number): unknown;
    clearTimeout(timer: never): void;
}
