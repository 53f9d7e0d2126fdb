/** The module `seawall-client/reports`: reports errors of the app to the gateway. Separate, so that only its users load it. */
import type { Client, Observable } from './api.js';
import { type ErrorGroup, type ErrorLevel, type Errors } from './errors.js';
import type { Clock, Locks } from './runtime.js';
export { add, describe, fingerprint, hash, NO_ERRORS, raise, scrub, type ErrorGroup, type ErrorLevel, type Errors } from './errors.js';
/** Options of {@link reports}. All are optional. */
export interface ReportOptions {
    /** The app's name and version, in the context of each error. */
    readonly release?: string;
    /** Adds to the context of an error, such as the route: at most 8 short texts, none of them secret. */
    readonly context?: () => Readonly<Record<string, string>>;
    /** Removes more from the texts of an error, after tokens, mail addresses, queries and long numbers were removed. */
    readonly scrub?: (text: string) => string;
    /** False: what is not reported when the page ends is lost. Default: IndexedDB keeps it for 7 days, if there is one. */
    readonly durable?: boolean;
    /** Default: `navigator.locks`. With `null`, or where there are none, each page takes over what it finds. */
    readonly locks?: Locks | null;
    readonly clock?: Clock;
}
/** The details of an error. */
export interface ErrorDetails {
    /** Default: `message`. */
    readonly level?: ErrorLevel;
    readonly context?: Readonly<Record<string, unknown>>;
}
/** Reports the errors of one client's app. */
export interface Reporter {
    /** The groups that are not reported yet, and the number of groups that were dropped because there were too many. */
    readonly waiting: Observable<Errors>;
    /** Queues an error. Returns its reference, which people can quote: the fingerprint of its group. */
    report(error: unknown, details?: ErrorDetails): string;
    /** Queues an error that was described before. */
    add(one: ErrorGroup): void;
    /** Records that a queued error took more than was known. */
    raise(fingerprint: string, level: ErrorLevel): void;
    /** Stops reporting. Storage leaves what waits to the next page; without it, what waits is returned, for another reporter. */
    close(): readonly ErrorGroup[];
}
/** Returns the oldest groups that fit into one report, and the errors to send: none of a group that is too large alone. */
export declare function batch(groups: readonly ErrorGroup[], room: number): {
    sent: ErrorGroup[];
    errors: object[];
};
/**
 * Reports errors of the app: `const errors = reports(client)`, then `errors.report(error)`. The kit for React calls it for its boundaries.
 * They are grouped, scrubbed and kept until the gateway took them: at most 50 groups.
 */
export declare function reports(client: Client, options?: ReportOptions): Reporter;
