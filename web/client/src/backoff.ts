/** How long to wait before the next attempt. */

import type { Advice } from './close.js';

/** Advice of a server is obeyed up to an hour, which no timer overflows on. */
const ADVICE_MAX_MS = 3_600_000;

/** Milliseconds to wait before attempt `attempt`, counted from 0; `random` is from [0, 1). */
export function delay(attempt: number, random: number, advisedMs?: number): number {
  if (advisedMs !== undefined) return Math.min(advisedMs, ADVICE_MAX_MS);
  return Math.max(100, Math.floor(random * Math.min(15_000, 500 * 2 ** Math.min(attempt, 10))));
}

/** Which attempt comes next after a connection failed or was lost. Only time online sets it back. */
export const nextAttempt = (attempt: number, advice: Advice): number => attempt + (advice === 'patient' ? 2 : 1);
