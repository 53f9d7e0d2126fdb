// The page around the open channel: the bar, the sidebar and the dialogs.

import { useEffect, useRef, useState, type ReactNode } from 'react';
import type { Client } from 'seawall-client';
import { ChatBoundary, SeawallProvider, useConnection, useSeawall, type Kit } from 'seawall-react';
import { clearDrafts, useChannel } from '../../react/src/channel.ts';
import { isWatching } from '../../react/src/rooms.ts';
import { Deferred } from './deferred.tsx';
import { readLink, writeLink } from './link.ts';
import { load, useLater } from './load.ts';
import * as memory from './memory.ts';
import { Dialog, Face } from './parts.tsx';
import { OPENED } from './opened.ts';
import { OutageCard, Room } from './room.tsx';
import { outbox } from './outbox.ts';
import { Channels } from './sidebar.tsx';
import { accountOf, connection, type ShownConnection } from './words.ts';

const LOBBY = 'lobby';
/** Between two looks whether all channels are closed: that comes after the frame in which their last components went. */
const CLOSED_MS = 50;

const DIALOGS = { profile: { id: 'profile', title: 'You' }, find: { id: 'channels', title: 'Open a channel' }, keys: { id: 'keys', title: 'Keys' } };

type Panel = keyof typeof DIALOGS | 'menu';

export function App({ kit }: { readonly kit: Kit }): ReactNode {
  const [link] = useState(readLink);
  const [token, setToken] = useState(() => memory.token.read() || link.token);
  const use = (next: string) => {
    // The drafts of a guest who signs in stay: they are the same person's.
    if (token !== '' && accountOf(next) !== accountOf(token)) clearDrafts(kit);
    memory.token.write(next);
    setToken(next);
  };
  useEffect(() => memory.token.write(token), []);
  return (
    <SeawallProvider kit={kit} url="/ws" clientName="seawall-page/1" outbox={outbox} {...(token !== '' && { token })}>
      <Page token={token} onToken={use} first={link.channel || LOBBY} offered={link.token !== token ? link.token : ''} notice={link.notice} isDemo={link.isDemo} />
    </SeawallProvider>
  );
}

interface PageProps {
  readonly token: string;
  readonly onToken: (token: string) => void;
  readonly first: string;
  /** The token of a link, if this tab has another: a link does not replace the session of this tab unless the person wants that. */
  readonly offered: string;
  readonly notice: string;
  readonly isDemo: boolean;
}

function Page(props: PageProps): ReactNode {
  const { token, onToken, isDemo } = props;
  const [channel, setChannel] = useState(props.first);
  const [names, setNames] = useState(() => memory.withChannel(memory.channels.read(), props.first));
  const [panel, setPanel] = useState<Panel>();
  const [offered, setOffered] = useState(props.offered);
  const [notice, setNotice] = useState(props.notice);
  const [name, setName] = useState(memory.name.read);
  const [guest] = useState(() => memory.guest(() => `guest-${Math.random().toString(36).slice(2, 6)}`));
  const { client } = useSeawall();
  const own = useConnection();
  // The gateway may know the same token now: another attempt is what the person asks for.
  const signIn = (next: string) => { if (next === token) client.reconnect(); else onToken(next); };
  const shown = connection(own, token !== '');
  const later = useLater();
  // A first view does not wait for them. Once they are here, they work without a connection too.
  useEffect(() => { if (own.online || own.because) void load(); }, [own.online, own.because]);
  const keys = useOwnKeys();
  const [roster, hideRoster] = useRoster();
  const setUnread = useTitle(channel);
  // Without a connection the user stays who they were.
  const user = useLast(own.user, token);
  const isNamed = token !== '' || (user !== undefined && user !== 'anonymous');
  const author = name || (isNamed ? undefined : guest);
  const face = (isNamed ? user : author) ?? 'You';

  const open = (next: string) => {
    setChannel(next);
    setPanel(undefined);
    setNotice('');
    setNames((known) => memory.withChannel(known, next));
    document.getElementById('draft')?.focus();
  };
  const leave = (gone: string) => setNames((known) => known.filter((one) => one !== gone));
  const close = () => setPanel(undefined);
  useEffect(() => memory.channels.write(names), [names]);
  // This also removes a token from the address, so that it does not stay in the browser's history.
  useEffect(() => writeLink(channel, isDemo), [channel]);
  const opened = useRef(channel);
  useEffect(() => {
    if (opened.current === channel) return;
    opened.current = channel;
    document.getElementById('draft')?.focus();
  }, [channel]);
  useEvent('hashchange', () => {
    const link = readLink();
    open(link.channel || channel);
    writeLink(link.channel || channel, isDemo);
    setNotice(link.notice);
    // The person may not have followed this link: another window can change the address as well.
    if (link.token !== '' && link.token !== token) setOffered(link.token);
  });
  useEvent('keydown', (event) => {
    const next = keyOf(event);
    if (event.key === 'Escape' && panel === 'menu') {
      event.preventDefault();
      close();
    }
    if (next === undefined || (panel !== undefined && panel !== 'menu')) return;
    event.preventDefault();
    if (next === 'find' || next === 'keys') setPanel(next);
    else open(names[(names.indexOf(channel) + next + names.length) % names.length]!);
  });

  const profile = <button type="button" id="me" className="item" onClick={() => setPanel('profile')}><Face name={face} /><span><bdi>{face}</bdi><small>{isNamed ? 'Your account' : 'Guest'}</small></span></button>;
  const instead = shown.needsToken ? <Deferred name="signin">{({ SignIn }) => <SignIn key={token} text={shown.text} onToken={signIn} />}</Deferred> : undefined;
  return (
    <div id="page" data-menu={panel === 'menu'}>
      <aside id="sidebar" aria-label="Seawall">
        <p id="brand"><span className="mark" aria-hidden="true" />Seawall</p>
        {profile}
        <ChatBoundary name="sidebar">
          {roster !== 'changing' && <Channels names={names} open={channel} onOpen={open} onLeave={leave} onFind={() => setPanel('find')} onUnread={setUnread} isRosterShown={roster === 'shown'} onNoRoster={hideRoster} />}
          {roster === 'shown' && later && <later.People key={channel} channel={channel} />}
          {later && <later.Works />}
          {isDemo && later && <later.Plugs />}
        </ChatBoundary>
      </aside>
      {panel === 'menu' && <div id="shade" onClick={close} />}
      <div id="main">
        {later && <later.HidingBar key={channel} />}
        <header id="bar">
          <button type="button" id="menu" className="icon" aria-label="Channels and people" aria-expanded={panel === 'menu'} onClick={() => setPanel(panel === 'menu' ? undefined : 'menu')}>☰</button>
          <h1><span className="hash" aria-hidden="true">#</span><bdi>{channel}</bdi></h1>
          <State shown={shown} />
          <button type="button" id="more" className="icon" aria-label="Your name and token" onClick={() => setPanel('profile')}>⋯</button>
        </header>
        {offered !== '' && <Deferred name="offer">{({ Offer }) => <Offer onAnswer={(isTaken) => {
          if (isTaken) onToken(offered);
          setOffered('');
        }} />}</Deferred>}
        {roster !== 'changing' && <Open channel={channel} instead={instead} room={(inner) => (
          <Room key={`${channel} ${accountOf(token)}`} channel={channel} name={author} token={token} needsToken={shown.needsToken} keys={keys} instead={inner} notice={notice} />
        )} />}
      </div>
      {panel !== undefined && panel !== 'menu' && <Dialog key={panel} {...DIALOGS[panel]} onClose={close}>{(end) => <Deferred name={panel}>{({ FindDialog, KeysDialog, ProfileDialog }) => (
        panel === 'find' ? <FindDialog names={names} onOpen={(next) => { open(next); end(); }} /> : panel === 'keys' ? <KeysDialog /> : (
          <ProfileDialog name={name} user={user} token={token} onSave={(newName, newToken) => {
            setName(newName);
            memory.name.write(newName);
            end();
            if (newToken !== token || own.phase === 'closed') signIn(newToken);
          }} />
        ))}</Deferred>}</Dialog>}
    </div>
  );
}

/** The open channel and, above it, what is wrong. A newcomer in an outage has no messages yet: then a card says it in their place. */
function Open({ channel, instead, room }: { readonly channel: string; readonly instead: ReactNode; readonly room: (instead: ReactNode) => ReactNode }): ReactNode {
  const { messages } = useChannel(channel, OPENED);
  const { online, because } = useConnection();
  const later = useLater();
  const isNewcomer = !online && because !== undefined && messages.length === 0;
  const card = instead ?? (isNewcomer ? <OutageCard /> : undefined);
  // A gateway that is gone cannot serve the banner: until that is here, the card says it above the messages.
  const banner = later ? <Deferred name="banner">{({ StatusBanner }) => <StatusBanner />}</Deferred> : !online && <OutageCard />;
  return <>{card === undefined && <div id="banner">{banner}</div>}{room(card)}</>;
}

function State({ shown }: { readonly shown: ShownConnection }): ReactNode {
  return <div id="state" data-state={shown.state} title={shown.text}><span className="visually-hidden">{shown.text}</span></div>;
}

/** The meaning of a key anywhere on the page: a dialog, or a step in the list of channels. */
function keyOf({ key, ctrlKey, metaKey, altKey, target }: KeyboardEvent): 'find' | 'keys' | 1 | -1 | undefined {
  if ((ctrlKey || metaKey) && key.toLowerCase() === 'k') return 'find';
  if (altKey && key === 'ArrowDown') return 1;
  if (altKey && key === 'ArrowUp') return -1;
  return key === '?' && !(target as Element).closest?.('input, textarea') ? 'keys' : undefined;
}

function useEvent<K extends keyof WindowEventMap>(type: K, listener: (event: WindowEventMap[K]) => void): void {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    const own = (event: WindowEventMap[K]) => latest.current(event);
    // Before the parts of the page, so that one that takes a key can say so.
    addEventListener(type, own, true);
    return () => removeEventListener(type, own, true);
  }, [type]);
}

/** Returns the last value that there was, since `key` changed. */
function useLast<T>(value: T | undefined, key: string): T | undefined {
  const last = useRef<{ readonly key: string; readonly value: T }>(undefined);
  if (value !== undefined) last.current = { key, value };
  return last.current?.key === key ? last.current.value : undefined;
}

/** Follows which messages this browser sent. With auth off every user is `anonymous`. */
function useOwnKeys(): memory.OwnKeys {
  const { client } = useSeawall();
  const [keys] = useState(() => new memory.OwnKeys());
  useEffect(() => client.outbox.subscribe((entries) => entries.forEach((entry) => keys.add(entry.key))), [client]);
  return keys;
}

/** Shows the roster unless the token does not grant that: the gateway then refuses the channel as a whole, so it is opened again without. */
function useRoster(): ['shown' | 'changing' | 'hidden', () => void] {
  const { client } = useSeawall();
  const [refused, setRefused] = useState<{ readonly by?: Client; readonly isOver?: boolean }>({});
  useEffect(() => {
    if (!refused.by || refused.isOver) return undefined;
    const timer = setInterval(() => { if (!isWatching(refused.by!)) setRefused({ ...refused, isOver: true }); }, CLOSED_MS);
    return () => clearInterval(timer);
  }, [refused]);
  return [refused.by !== client ? 'shown' : refused.isOver ? 'hidden' : 'changing', () => setRefused({ by: client })];
}

/** Puts the name of the channel and the number of unread messages into the title of the page. Returns what takes the number of a channel. */
function useTitle(channel: string): (name: string, count: number) => void {
  const [counts, setCounts] = useState<Readonly<Record<string, number>>>({});
  const sum = Object.values(counts).reduce((all, one) => all + one, 0);
  useEffect(() => { document.title = `${sum > 0 ? `(${sum}) ` : ''}${channel} · Seawall`; }, [channel, sum]);
  const [set] = useState(() => (name: string, count: number) => setCounts((known) => ((known[name] ?? 0) === count ? known : { ...known, [name]: count })));
  return set;
}
