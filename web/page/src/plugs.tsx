// The plugs of `seawall demo`: what it can unplug, each with a button.

import { useEffect, useRef, type ReactNode } from 'react';
import type { Channel } from 'seawall-client';
import { useConnection, useSeawall } from 'seawall-react';
import { useChannel } from '../../react/src/channel.ts';
import { plugsOf } from './plug.ts';

/** The channel on which the demo says what is unplugged, and takes signals. */
const CHANNEL = 'demo';

export function Plugs(): ReactNode {
  const { client } = useSeawall();
  const { online } = useConnection();
  const { messages } = useChannel(CHANNEL, { last: 20 });
  const channel = useRef<Channel>(undefined);
  useEffect(() => {
    channel.current = client.channel(CHANNEL);
    return () => channel.current!.leave();
  }, [client]);
  const plugs = plugsOf(messages);
  if (plugs.length === 0) return null;
  return (
    <section id="plugs" aria-label="Demo">
      <h2>Pull the plug</h2>
      {plugs.map(({ name, out }) => (
        <button key={name} type="button" aria-pressed={out} disabled={!online} onClick={() => channel.current?.signal({ plug: name, out: !out })}>
          {out ? `Plug ${name} in` : `Unplug ${name}`}
        </button>
      ))}
    </section>
  );
}
