/** The one error that this package throws and rejects with. */

import type { ErrorCode, Failure } from './api.js';

/** A failure: `code` for programs, `message` for people. */
export class SeawallError extends Error implements Failure {
  override readonly name = 'SeawallError';
  declare readonly code: ErrorCode;
  declare readonly retryMs?: number;
  declare readonly dependency?: string;

  constructor({ message, ...more }: Failure) {
    super(message);
    Object.assign(this, more);
  }
}

/** An argument that cannot be meant. */
export const invalid = (message: string): SeawallError => new SeawallError({ code: 'invalid', message });
