/** How long to wait before the next attempt. */

import type { Advice } from './close.js';

/** Nothing is done again sooner, whatever the draw and the server say: a bad server must not make a busy loop. */
const LEAST_MS = 100;
/** Advice of a server is obeyed up to an hour, which no timer overflows on. */
const ADVICE_MAX_MS = 3_600_000;

/** Milliseconds to wait before attempt `attempt`, counted from 0; `random` is from [0, 1). */
export function delay(attempt: number, random: number, advisedMs?: number): number {
  const wait = advisedMs ?? Math.floor(random * Math.min(15_000, 500 * 2 ** Math.min(attempt, 10)));
  return Math.max(LEAST_MS, Math.min(wait, ADVICE_MAX_MS));
}

/** Which attempt comes next after a connection failed or was lost. Only time online sets it back. */
export const nextAttempt = (attempt: number, advice: Advice): number => attempt + (advice === 'patient' ? 2 : 1);
