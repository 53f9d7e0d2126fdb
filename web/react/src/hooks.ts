/** The hooks. */

import { useContext, useMemo } from 'react';
import type { Client, Dependency, Ending, Outbox, OutboxEntry, Session, State, Status } from 'seawall-client';
import { NO_ERRORS, type Errors } from 'seawall-client/reports';
import { Context } from './context.js';
import type { Kit } from './kit.js';
import { useValue } from './value.js';

const CONNECTING: State = { phase: 'connecting', attempt: 0 };
const UNKNOWN: Status = { level: 'unknown', revision: 0, dependencies: [], lost: [] };
const NO_FLAGS: readonly string[] = [];
const NOTHING: readonly OutboxEntry[] = [];

/** Returns the client and the kit. */
export function useSeawall(): { readonly client: Client; readonly kit: Kit } {
  const { client, kit } = useContext(Context);
  if (!client || !kit) throw new Error('Put a SeawallProvider around this component.');
  return { client, kit };
}

export interface Connection {
  readonly phase: State['phase'];
  /** True if messages are sent and received now. */
  readonly online: boolean;
  readonly user?: string | undefined;
  /** When the next attempt is made, while there is no connection. */
  readonly retryAt?: number | undefined;
  /** How the last connection ended. */
  readonly because?: Ending | undefined;
  /** Connects now. For a button. */
  readonly reconnect: () => void;
}

export function useConnection(): Connection {
  const { client } = useSeawall();
  const state = useValue(client.state, CONNECTING);
  return useMemo(() => {
    const { phase, session, until: retryAt, because } = state as { phase: State['phase']; session?: Session; until?: number; because?: Ending };
    return { phase, online: !!session, user: session?.user, retryAt, because, reconnect: () => client.reconnect() };
  }, [client, state]);
}

/** Returns true while a flag is on. */
export function useFlag(name: string): boolean {
  const { client } = useSeawall();
  useValue(client.flags, NO_FLAGS);
  return client.flag(name);
}

export interface GatewayStatus extends Status {
  /** The earliest time since which a dependency has been down or degraded. */
  readonly since?: number;
}

/** Returns the gateway's report of its health. */
export function useStatus(): GatewayStatus {
  const { client } = useSeawall();
  const status = useValue(client.status, UNKNOWN);
  return useMemo(() => {
    const isUnwell = ({ state }: Dependency) => state === 'down' || state === 'degraded';
    const times = status.dependencies.filter(isUnwell).map(({ since }) => since);
    return times.length > 0 ? { ...status, since: Math.min(...times) } : status;
  }, [status]);
}

/** Returns true while the gateway reports that users do not have this capability. */
export function useLost(capability: string): boolean {
  return useStatus().lost.includes(capability);
}

export interface UsedOutbox {
  readonly waiting: readonly OutboxEntry[];
  readonly failed: readonly OutboxEntry[];
  readonly retry: Outbox['retry'];
  readonly retryAll: () => void;
  readonly discard: Outbox['discard'];
}

/** Returns what is not sent yet: of one channel, or of all. */
export function useOutbox(name?: string): UsedOutbox {
  const { outbox } = useSeawall().client;
  const entries = useValue(outbox, NOTHING);
  return useMemo(() => {
    const own = entries.filter(({ channel }) => name === undefined || channel === name);
    const failed = own.filter(({ state }) => state === 'failed');
    const waiting = own.filter(({ state }) => state === 'queued' || state === 'sending');
    return { waiting, failed, retry: outbox.retry, retryAll: () => failed.forEach(({ key }) => outbox.retry(key)), discard: outbox.discard };
  }, [outbox, entries, name]);
}

/** Returns the errors so far, and `report` for errors of event handlers and promises, which no boundary sees. */
export function useErrors(): Errors & Pick<Kit, 'report'> {
  const { kit } = useSeawall();
  const errors = useValue(kit.errors, NO_ERRORS);
  return useMemo(() => ({ ...errors, report: (error, level, context) => kit.report(error, level, context) }), [kit, errors]);
}
