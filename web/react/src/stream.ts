/** The content of one stream. */

import { useMemo } from 'react';
import type { Stream, StreamEvent, StreamState } from 'seawall-client/streams';
import { Cell } from './cell.js';
import { useValue } from './value.js';

const NONE = { text: new Cell(''), events: new Cell<readonly StreamEvent[]>([]), state: new Cell<StreamState>('completed') };

/** The content of a stream. */
export interface UsedStream {
  readonly text: string;
  readonly events: readonly StreamEvent[];
  readonly state: StreamState;
}

/** Follows one stream; without one, it is empty and completed. */
export function useStream(stream: Stream | undefined): UsedStream {
  const of: Pick<Stream, keyof UsedStream> = stream ?? NONE;
  const text = useValue(of.text);
  const events = useValue(of.events);
  const state = useValue(of.state);
  return useMemo(() => ({ text, events, state }), [text, events, state]);
}
