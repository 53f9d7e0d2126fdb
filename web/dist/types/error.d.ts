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
/** Throws the error for an invalid argument, unless it is valid. */
export declare function need(isValid: unknown, message: string): asserts isValid;
