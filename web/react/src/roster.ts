/** The users in a channel. */

import { useEffect } from 'react';
import type { Channel } from 'seawall-client';
import { presence, type PresenceState } from 'seawall-client/presence';
import { useSeawall } from './hooks.js';
import { NO_ROSTER, roomOf, type RoomOptions } from './rooms.js';
import { useValue } from './value.js';

/** Follows the roster of a channel, and the channel itself. */
export function usePresence(name: string, options: RoomOptions = {}): PresenceState {
  const { client } = useSeawall();
  const room = roomOf(client, name).want(options, presence as (channel: Channel) => ReturnType<typeof presence>);
  useEffect(room.use, [room]);
  return useValue(room.roster, NO_ROSTER);
}
