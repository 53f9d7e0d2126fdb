/** The hooks of streams. */

import { useEffect, useMemo } from 'react';
import { streams, type Stream, type StreamEvent, type StreamState } from 'seawall-client/streams';
import { Cell } from './cell.js';
import { useSeawall } from './hooks.js';
import { roomOf, type Room, type RoomOptions } from './rooms.js';
import { useValue } from './value.js';

const NONE: readonly Stream[] = [];
const NO_TEXT = new Cell('');
const NO_EVENTS = new Cell<readonly StreamEvent[]>([]);
const NO_STATE = new Cell<StreamState>('completed');

/** The open streams, by room. */
const open = new WeakMap<Room, Cell<readonly Stream[]>>();
/** The channels that are followed. */
const followed = new WeakSet<object>();

function openOf(room: Room): Cell<readonly Stream[]> {
  let cell = open.get(room);
  if (!cell) open.set(room, (cell = new Cell(NONE)));
  return cell;
}

/** Uses a room, and follows its streams. If its channel was opened before, the next piece of a stream brings the whole. */
function follow(room: Room): () => void {
  const end = room.use();
  const { channel } = room.opened!;
  if (!followed.has(channel)) {
    followed.add(channel);
    const cell = openOf(room);
    streams(channel).subscribe((value) => cell.set(value));
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

/** The content of a stream. */
export interface UsedStream {
  readonly text: string;
  readonly events: readonly StreamEvent[];
  readonly state: StreamState;
}

/** Follows one stream; without one, it is empty and completed. */
export function useStream(stream: Stream | undefined): UsedStream {
  const text = useValue(stream?.text ?? NO_TEXT);
  const events = useValue(stream?.events ?? NO_EVENTS);
  const state = useValue(stream?.state ?? NO_STATE);
  return useMemo(() => ({ text, events, state }), [text, events, state]);
}
