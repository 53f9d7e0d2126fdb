/** The error class of this package. */

import type { ErrorCode, Failure } from './api.js';
import type { StreamEnd } from './stream.js';

/** The only error that this package throws or rejects with. `code` is for programs, `message` for people. */
export class SeawallError extends Error implements Failure {
  override readonly name = 'SeawallError';
  declare readonly code: ErrorCode;
  declare readonly retryMs?: number;
  declare readonly dependency?: string;
  declare readonly gen?: number;
  declare readonly next?: number;
  declare readonly state?: StreamEnd;
  declare readonly edit?: number;

  constructor({ message, ...more }: Failure) {
    super(message);
    Object.assign(this, more);
  }
}

/** Throws the error for an invalid argument, unless it is valid. */
export function need(isValid: unknown, message: string): asserts isValid {
  if (!isValid) throw new SeawallError({ code: 'invalid', message });
}
