/** The open streams of a channel. */

import { useEffect } from 'react';
import { streams, type Stream } from 'seawall-client/streams';
import { Cell } from './cell.js';
import { useSeawall } from './hooks.js';
import { made } from './made.js';
import { roomOf, type Room, type RoomOptions } from './rooms.js';
import { useValue } from './value.js';

const NONE: readonly Stream[] = [];

/** The open streams, by room, and the channel that they are of. */
class Open extends Cell<readonly Stream[]> {
  channel: object | undefined;
}
const all = new WeakMap<Room, Open>();

const openOf = (room: Room): Open => made(all, room, () => new Open(NONE));

/** Uses a room, and follows its streams, earlier ones included. */
function follow(room: Room): () => void {
  const end = room.use();
  const { channel, timeline } = room.opened!;
  const open = openOf(room);
  if (open.channel !== channel) {
    open.channel = channel;
    const begun = timeline.value.items.flatMap((one) => (one.kind === 'message' && one.stream === 'begun' && !one.deleted ? [one.offset!] : []));
    streams(channel, begun).subscribe((value) => open.set(value));
  }
  return end;
}

/** Follows the open streams of a channel, and the channel itself. Draw them where their messages are: `offset` is that of the message. */
export function useStreams(name: string, options: RoomOptions = {}): readonly Stream[] {
  const { client } = useSeawall();
  const room = roomOf(client, name).want(options);
  useEffect(() => follow(room), [room]);
  return useValue(openOf(room), NONE);
}
