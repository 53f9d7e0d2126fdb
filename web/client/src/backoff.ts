/** Reconnect delays. */

import type { Advice } from './close.js';

/** The shortest delay, whatever the random draw and the server say, so that a faulty server cannot cause a busy loop. */
const LEAST_MS = 100;
/** The longest delay that a server can request: one hour, which fits every timer. */
const ADVICE_MAX_MS = 3_600_000;

/** Returns the milliseconds to wait before attempt `attempt`, counted from 0; `random` is from [0, 1). */
export function delay(attempt: number, random: number, advisedMs?: number): number {
  const wait = advisedMs ?? Math.floor(random * Math.min(15_000, 500 * 2 ** Math.min(attempt, 10)));
  return Math.max(LEAST_MS, Math.min(wait, ADVICE_MAX_MS));
}

/** Returns the attempt number after a connection failed or was lost. Only time online resets it. */
export const nextAttempt = (attempt: number, advice: Advice): number => attempt + (advice === 'patient' ? 2 : 1);
