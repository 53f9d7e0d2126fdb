/** The module `seawall-client/flags`: keeps the last flags of each account. Separate, so that only its users load it. */
import type { FlagKeeper } from './api.js';
/** The part of the DOM's `Storage` that this module uses. */
export interface FlagStorage {
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
}
/** Keeps flags in a storage. Pass the result as `flags` to `connect`. Default: `localStorage`. A storage that fails is as an empty one. */
export declare function keptFlags(storage?: FlagStorage): FlagKeeper;
