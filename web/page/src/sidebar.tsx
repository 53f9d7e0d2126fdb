// The channels.

import { useEffect, type ReactNode } from 'react';
import { useChannel } from '../../react/src/channel.ts';
import { OPENED, PRESENT } from './opened.ts';

interface ChannelsProps {
  readonly names: readonly string[];
  readonly open: string;
  readonly onOpen: (name: string) => void;
  readonly onLeave: (name: string) => void;
  readonly onFind: () => void;
  readonly onUnread: (name: string, count: number) => void;
  readonly isRosterShown: boolean;
  /** Called if the token does not grant to see the users of a channel. */
  readonly onNoRoster: () => void;
}

export function Channels({ names, open, onFind, ...item }: ChannelsProps): ReactNode {
  return (
    <nav aria-label="Channels">
      <h2>Channels</h2>
      <ul>
        {names.map((name) => <ChannelItem key={name} name={name} isOpen={name === open} {...item} />)}
      </ul>
      <button type="button" id="find" className="item" onClick={onFind}><span>+ Open a channel</span><kbd>Ctrl K</kbd></button>
    </nav>
  );
}

type ItemProps = Omit<ChannelsProps, 'names' | 'open' | 'onFind'> & { readonly name: string; readonly isOpen: boolean };

function ChannelItem({ name, isOpen, onOpen, onLeave, onUnread, isRosterShown, onNoRoster }: ItemProps): ReactNode {
  const { unread, state } = useChannel(name, isRosterShown ? PRESENT : OPENED);
  const isRefused = state.phase === 'refused' && state.error?.code === 'forbidden';
  useEffect(() => { if (isRefused && isRosterShown) onNoRoster(); }, [isRefused]);
  // The open channel counts what arrives while the page is in the background.
  useEffect(() => onUnread(name, unread), [name, unread]);
  useEffect(() => () => onUnread(name, 0), [name]);
  const count = isOpen ? 0 : unread;
  return (
    <li>
      <button type="button" className={count > 0 ? 'item unread' : 'item'} aria-current={isOpen ? 'page' : undefined} onClick={() => onOpen(name)}>
        <span className="hash" aria-hidden="true">#</span><bdi>{name}</bdi>{count > 0 && <span className="count" aria-label={`${count} unread`}>{count > 99 ? '99+' : count}</span>}
      </button>
      {!isOpen && <button type="button" className="icon leave" aria-label={`Leave ${name}`} onClick={() => onLeave(name)}>✕</button>}
    </li>
  );
}
