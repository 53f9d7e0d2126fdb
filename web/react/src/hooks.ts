/** The hooks. */

import { useCallback, useContext, useEffect, useMemo, useSyncExternalStore } from 'react';
import type { Channel, Client, Cursor, DeleteOptions, Dependency, Ending, Outbox, OutboxEntry, Published, PublishOptions, State, Status } from 'seawall-client';
import { presence, type PresenceState } from 'seawall-client/presence';
import { Context } from './context.js';
import type { Errors } from './errors.js';
import { NO_ERRORS } from './errors.js';
import type { Kit, OwnKit } from './kit.js';
import { EMPTY, NO_ROSTER, roomOf, type ChannelView, type RoomOptions } from './rooms.js';
import { useValue } from './value.js';

const CONNECTING: State = { phase: 'connecting', attempt: 0 };
const UNKNOWN: Status = { level: 'unknown', revision: 0, dependencies: [], lost: [] };
const NO_FLAGS: readonly string[] = [];
const NOTHING: readonly OutboxEntry[] = [];

/** Returns the client and the kit. */
export function useSeawall(): { readonly client: Client; readonly kit: Kit } {
  const { client, kit } = useContext(Context);
  if (!client || !kit) throw new Error('There is no SeawallProvider around this component: put one around the app.');
  return { client, kit };
}

export interface Connection {
  readonly phase: State['phase'];
  /** True if messages are sent and received now. */
  readonly online: boolean;
  readonly user?: string;
  /** When the next attempt is made, while there is no connection. */
  readonly retryAt?: number;
  /** How the last connection ended. */
  readonly because?: Ending;
  /** Connects now. For a button. */
  readonly reconnect: () => void;
}

export function useConnection(): Connection {
  const { client } = useSeawall();
  const state = useValue(client.state, CONNECTING);
  return useMemo(() => ({
    phase: state.phase,
    online: 'session' in state,
    ...('session' in state && { user: state.session.user }),
    ...('until' in state && { retryAt: state.until }),
    ...('because' in state && state.because && { because: state.because }),
    reconnect: () => client.reconnect(),
  }), [client, state]);
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

export interface UsedChannel<T> extends ChannelView<T> {
  /** Loads a page of earlier messages. */
  readonly older: (limit?: number) => Promise<void>;
  /** Drops earlier messages over the window, when the reader is back at the end. */
  readonly newest: () => void;
  /** Marks everything as read. */
  readonly read: () => Cursor | undefined;
  /** Signals that the user is writing. Call it at each key. */
  readonly typed: () => void;
}

/** Follows a channel while the component is mounted. Components of one channel share it; the options of the ones mounted first count. */
export function useChannel<T = unknown>(name: string, options: RoomOptions = {}): UsedChannel<T> {
  const { client } = useSeawall();
  const room = roomOf(client, name).want(options);
  useEffect(room.use, [room]);
  const view = useValue(room.view, EMPTY) as ChannelView<T>;
  return useMemo(() => ({ ...view, older: room.older, newest: room.newest, read: room.read, typed: room.typed }), [room, view]);
}

export type Publish<T> = {
  (data: T, options?: PublishOptions): Promise<Published>;
  (data: T | null, options: DeleteOptions): Promise<Published>;
};

/** Returns a function that publishes: always the same one for a channel. What it could not send is in the outbox. */
export function usePublish<T = unknown>(name: string): Publish<T> {
  const { client } = useSeawall();
  return useCallback((data: T | null, options?: PublishOptions) => {
    const room = roomOf(client, name);
    const open = room.opened?.channel;
    const channel = open ?? client.channel(name);
    const published = channel.publish(data, options);
    room.sent();
    // The queue is sent although the channel was left.
    if (!open) channel.leave();
    return published;
  }, [client, name]) as Publish<T>;
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

/** Follows the roster of a channel, and the channel itself. */
export function usePresence(name: string, options: RoomOptions = {}): PresenceState {
  const { client } = useSeawall();
  const room = roomOf(client, name).want(options, presence as (channel: Channel) => ReturnType<typeof presence>);
  useEffect(room.use, [room]);
  return useValue(room.roster, NO_ROSTER);
}

/** Returns the errors so far, and `report` for errors of event handlers and promises, which no boundary sees. */
export function useErrors(): Errors & Pick<Kit, 'report'> {
  const { kit } = useSeawall();
  const errors = useValue(kit.errors, NO_ERRORS);
  return useMemo(() => ({ ...errors, report: (error, level, context) => kit.report(error, level, context) }), [kit, errors]);
}

/** Keeps the draft of a channel in `sessionStorage`, so that it survives boundaries and a reload. Returns it, and a function that sets it. */
export function useDraft(name: string): [string, (text: string) => void] {
  const { drafts } = useSeawall().kit as OwnKit;
  const text = useSyncExternalStore(drafts.subscribe, () => drafts.get(name), () => '');
  return [text, useCallback((next: string) => drafts.set(name, next), [drafts, name])];
}
