// The streams of a channel, for the log.

import { useEffect, type ReactNode } from 'react';
import type { Stream } from 'seawall-client/streams';
import { useStreams } from '../../react/src/followed.ts';
import { OPENED } from './opened.ts';

/** Follows the open streams of a channel while it is open here. */
export function Followed({ channel, onChange }: { readonly channel: string; readonly onChange: (streams: readonly Stream[]) => void }): ReactNode {
  const streams = useStreams(channel, OPENED);
  useEffect(() => onChange(streams), [streams]);
  return null;
}
