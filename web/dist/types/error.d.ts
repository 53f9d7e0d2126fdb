/** The error class of this package. */
import type { ErrorCode, Failure } from './api.js';
import type { StreamEnd } from './stream.js';
/** The only error that this package throws or rejects with. `code` is for programs, `message` for people. */
export declare class SeawallError extends Error implements Failure {
    readonly name = "SeawallError";
    readonly code: ErrorCode;
    readonly retryMs?: number;
    readonly dependency?: string;
    readonly gen?: number;
    readonly next?: number;
    readonly state?: StreamEnd;
    readonly edit?: number;
    constructor({ message, ...more }: Failure);
}
/** Creates the error for an invalid argument. */
export declare const invalid: (message: string) => SeawallError;
