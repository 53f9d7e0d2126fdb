/** The one error that this package throws and rejects with. */

import type { ErrorCode, Failure } from './api.js';

/** A failure: `code` for programs, `message` for people. */
export class SeawallError extends Error implements Failure {
  override readonly name = 'SeawallError';
  readonly code: ErrorCode;
  readonly retryMs?: number;
  readonly dependency?: string;

  constructor({ code, message, retryMs, dependency }: Failure) {
    super(message);
    this.code = code;
    this.retryMs = retryMs;
    this.dependency = dependency;
  }
}

/** An argument that cannot be meant. */
export const invalid = (message: string): SeawallError => new SeawallError({ code: 'invalid', message });
