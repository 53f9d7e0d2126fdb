/** The one error that this package throws and rejects with. */
import type { ErrorCode, Failure } from './api.js';
/** A failure: `code` for programs, `message` for people. */
export declare class SeawallError extends Error implements Failure {
    readonly name = "SeawallError";
    readonly code: ErrorCode;
    readonly retryMs?: number;
    readonly dependency?: string;
    constructor({ message, ...more }: Failure);
}
/** An argument that cannot be meant. */
export declare const invalid: (message: string) => SeawallError;
