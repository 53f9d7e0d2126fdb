import { Boundary } from './boundaries.js';
import type { Kit, OwnKit } from './kit.js';
import type { Level } from './ladder.js';

interface Info {
  readonly componentStack?: string | null | undefined;
  readonly errorBoundary?: unknown;
}

/** Options for `createRoot` and `hydrateRoot`. React 18 knows the last one only. */
export interface RootOptions {
  onCaughtError(error: unknown, info: Info): void;
  onUncaughtError(error: unknown, info: Info): void;
  onRecoverableError(error: unknown, info: Info): void;
}

/** Has React count all errors of a root in the kit, and still write them to the console, which React does not do once an option is set. */
export function rootOptions(kit: Kit): RootOptions {
  const { log = true } = (kit as OwnKit).options;
  const take = (level: Level) => (error: unknown, info: Info) => {
    if (log) console.error(error, info.componentStack ?? '');
    // The kit's boundaries count what they catch.
    if (!(info.errorBoundary instanceof Boundary)) kit.report(error, level, { component: info.componentStack });
  };
  return { onCaughtError: take('message'), onUncaughtError: take('app'), onRecoverableError: take('message') };
}
