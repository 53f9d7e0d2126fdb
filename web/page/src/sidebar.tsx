// The channels, the people and, in an outage, what works.

import { useEffect, type ReactNode } from 'react';
import { useStatus } from 'seawall-react';
import { useChannel, usePresence } from 'seawall-react/chat';
import { useStreams } from 'seawall-react/streams';
import { Face } from './parts.tsx';
import { OPENED } from './room.tsx';
import { works } from './words.ts';

/** Members that are listed. */
const PEOPLE_MAX = 30;

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

/** This user is shown to others in the channels of the list. */
const PRESENT = { ...OPENED, present: {} };

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
  const { unread, state } = useChannel(name, OPENED);
  // From the begin, so that none is missing when the person opens the channel.
  useStreams(name, OPENED);
  const isRefused = state.phase === 'refused' && state.error?.code === 'forbidden';
  useEffect(() => { if (isRefused && isRosterShown) onNoRoster(); }, [isRefused]);
  // The open channel counts what arrives while the page is in the background.
  useEffect(() => onUnread(name, unread), [name, unread]);
  useEffect(() => () => onUnread(name, 0), [name]);
  const count = isOpen ? 0 : unread;
  return (
    <li>
      {isRosterShown && <Presence name={name} />}
      <button type="button" className={count > 0 ? 'item unread' : 'item'} aria-current={isOpen ? 'page' : undefined} onClick={() => onOpen(name)}>
        <span className="hash" aria-hidden="true">#</span><bdi>{name}</bdi>{count > 0 && <span className="count" aria-label={`${count} unread`}>{count > 99 ? '99+' : count}</span>}
      </button>
      {!isOpen && <button type="button" className="icon leave" aria-label={`Leave ${name}`} onClick={() => onLeave(name)}>✕</button>}
    </li>
  );
}

/** Follows the users of a channel, and shows this one there. */
function Presence({ name }: { readonly name: string }): ReactNode {
  usePresence(name, PRESENT);
  return null;
}

/** The users in a channel; with auth off there is one, and how many pages they have open. */
export function People({ channel }: { readonly channel: string }): ReactNode {
  const { users, members, connections, complete } = usePresence(channel, PRESENT);
  if (users === 0 && connections === 0) return null;
  const isAnonymous = members.size === 1 && members.has('anonymous');
  const names = isAnonymous ? [] : [...members.keys()];
  return (
    <section aria-label="People">
      <h2>{isAnonymous ? `${connections} ${connections === 1 ? 'guest' : 'guests'} here` : `${users} here${complete ? '' : ', perhaps others'}`}</h2>
      {names.length > 0 && <ul className="people">{names.slice(0, PEOPLE_MAX).map((name) => <li key={name}><Face name={name} /><bdi>{name}</bdi></li>)}</ul>}
      {names.length > PEOPLE_MAX && <p className="quiet">{`and ${names.length - PEOPLE_MAX} more`}</p>}
    </section>
  );
}

/** The list of what works, while something does not. */
export function Works(): ReactNode {
  const { lost } = useStatus();
  const all = works(lost);
  if (all.length === 0) return null;
  return (
    <section id="works" aria-label="What works now">
      <h2>What works now</h2>
      <ul>{all.map(({ name, works: isThere }) => <li key={name} className={isThere ? 'good' : 'bad'}><span aria-hidden="true">{isThere ? '✓' : '✗'}</span>{name}<span className="visually-hidden">{isThere ? ': works' : ': not now'}</span></li>)}</ul>
    </section>
  );
}
