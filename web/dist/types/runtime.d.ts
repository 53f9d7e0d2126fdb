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
/** The part of the DOM's `Storage` that this package uses. */
export interface FlagStorage {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
}
/** A clock and timers. Replace them in tests. */
export interface Clock {
    /** Unix milliseconds. */
    now(): number;
    setTimeout(run: () => void, ms: number): unknown;
    clearTimeout(timer: never): void;
}
