/** Decides what the banner says about the connection and the gateway's health, and when it says the next thing. Values in, values out. */

export interface BannerInput {
  /** True while there is a connection. */
  readonly online: boolean;
  /** True once an attempt has failed: nothing is said about a first attempt that is in progress. */
  readonly hasFailed: boolean;
  /** True if no attempt follows. */
  readonly closed: boolean;
  /** True if the gateway reports an outage. */
  readonly unwell: boolean;
}

export interface BannerMemory {
  /** When the connection was lost. */
  readonly since?: number;
  /** True if people were shown a fault that has not been taken back. */
  readonly shown: boolean;
  /** Until when the end of the fault is shown. */
  readonly backUntil?: number;
}

export type BannerView = 'nothing' | 'text' | 'card' | 'status' | 'back';

/** Nothing is said about an interruption that is shorter than this. */
export const TEXT_MS = 2_000;
/** After this time the cause is shown. */
export const CARD_MS = 5_000;
/** How long the end of a fault is shown. */
export const BACK_MS = 4_000;

export const CALM: BannerMemory = { shown: false };

/** Returns the memory, the view, and when to ask again. */
export function banner(memory: BannerMemory, { online, hasFailed, closed, unwell }: BannerInput, now: number): [BannerMemory, BannerView, number?] {
  if (!online && (hasFailed || closed)) {
    const since = memory.since ?? now;
    const view = closed || now - since >= CARD_MS ? 'card' : now - since >= TEXT_MS ? 'text' : memory.shown ? 'text' : 'nothing';
    const next = view === 'card' ? undefined : since + (now - since >= TEXT_MS ? CARD_MS : TEXT_MS);
    return [{ since, shown: memory.shown || view !== 'nothing' }, view, next];
  }
  if (!online) return [memory, memory.shown ? 'text' : 'nothing'];
  if (unwell) return [{ shown: true }, 'status'];
  if (memory.shown) return [{ shown: false, backUntil: now + BACK_MS }, 'back', now + BACK_MS];
  const { backUntil } = memory;
  return backUntil !== undefined && now < backUntil ? [{ shown: false, backUntil }, 'back', backUntil] : [CALM, 'nothing'];
}
