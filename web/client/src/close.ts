/** Close codes and reasons, and what a client does after them. */

import type { Ending } from './api.js';

/** The client's action after a close. */
export type Advice = 'stop' | 'return' | 'patient' | 'fresh_token';

/** The push `bye`. */
export interface Bye extends Omit<Ending, 'retryMs' | 'message'> {
  readonly message?: string;
  readonly retry_ms?: number;
}

/** Reads the advice from the code's range: 1000, 1002, 1007, 1009 and 4500–4999 are final; after all others the client returns. */
export function advice(code: number): Advice {
  if (code === 4501) return 'fresh_token';
  if (code === 1013) return 'patient';
  return [1000, 1002, 1007, 1009].includes(code) || (code >= 4500 && code < 5000) ? 'stop' : 'return';
}

/** Returns a wait from the server, or `undefined` if it is not a valid one. */
export const advised = (ms: unknown): number | undefined =>
  typeof ms === 'number' && ms >= 0 ? ms : undefined;

/** Explains an end for which there is no message. A browser gives no cause for a failed connection, so the usual ones are named. */
function explain(code: number, reason: string, wasOpen: boolean): string {
  if (reason !== 'lost') return `The gateway ended the connection: ${reason.replaceAll('_', ' ')} (${code}).`;
  return wasOpen ? 'The connection was lost.' : 'No connection: wrong address, a gateway that does not run, or a certificate that is not trusted.';
}

/** Reads how a connection ended from the `bye` push or, if that was missed, from the close frame. */
export function ending(code: number, text: string, bye?: Bye, wasOpen = true): Ending {
  if (bye) {
    const { code, reason, message, dependency, reference, retry_ms } = bye;
    return { code, reason, message: message || explain(code, reason, true), dependency, reference, retryMs: advised(retry_ms) };
  }
  const found = (pattern: RegExp) => pattern.exec(text)?.[1];
  const retry = found(/; retry_ms=(\d+)/);
  const reason = found(/^([a-z_]+)/) ?? 'lost';
  return {
    code,
    reason,
    message: found(/^[a-z_]+: ([^;]+)/) ?? explain(code, reason, wasOpen),
    dependency: found(/; dependency=([^;]*)/),
    reference: found(/; ref=([^;]*)/),
    retryMs: retry === undefined ? undefined : Number(retry),
  };
}
