/** The hooks of one channel. */

import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import type { Cursor, DeleteOptions, Published, PublishOptions } from 'seawall-client';
import { draftsOf } from './drafts.js';
import { useSeawall } from './hooks.js';
import type { Kit } from './kit.js';
import { EMPTY, roomOf, type ChannelView, type RoomOptions } from './rooms.js';
import { useValue } from './value.js';

export interface UsedChannel<T> extends ChannelView<T> {
  /** Loads a page of earlier messages. */
  readonly older: (limit?: number) => Promise<void>;
  /** Drops earlier messages over the window, when the reader is back at the end. */
  readonly newest: () => void;
  /** Marks everything as read. */
  readonly read: () => Cursor | undefined;
  /** Signals that the user is writing. Call it at each key. With auth off, all users are `anonymous`, and `name` is shown to others instead. */
  readonly typed: (name?: string) => void;
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

/** Removes the drafts of all channels. Call it when a user signs out: the next user of the tab would find them. */
export const clearDrafts = (kit: Kit): void => draftsOf(kit).clear();

/** Keeps the draft of a channel in `sessionStorage`, so that it survives boundaries and a reload. Returns it, and a function that sets it. */
export function useDraft(name: string): [string, (text: string) => void] {
  const drafts = draftsOf(useSeawall().kit);
  const text = useSyncExternalStore(drafts.subscribe, () => drafts.get(name), () => '');
  return [text, useCallback((next: string) => drafts.put(name, next), [drafts, name])];
}
