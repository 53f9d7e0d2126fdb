// The open channel: its log, or a card in its place, and the composer.

import { useEffect, useMemo, useRef, useState, useSyncExternalStore, type KeyboardEvent, type ReactNode } from 'react';
import { newKey } from 'seawall-client';
import type { Stream } from 'seawall-client/streams';
import { ChatBoundary, MessageBoundary, plainText, ThreadBoundary, useAnnounce, useConnection, useOutbox, useSeawall } from 'seawall-react';
import { useChannel, usePublish, type UsedChannel } from '../../react/src/channel.ts';
import { MessageList } from '../../react/src/list.tsx';
import { Composer, type Editing } from './composer.tsx';
import type { Deletions } from './deletions.ts';
import { useLater } from './load.ts';
import type { OwnKeys } from './memory.ts';
import { isOpen, Line, Streams, type MessageActions } from './message.tsx';
import { OPENED } from './opened.ts';
import { Countdown, clockTime } from './parts.tsx';
import { firstUnread, isolated, Rows, textOf, type MessageRow, type Row } from './rows.ts';
import { beginning, failure, outage, progress, refusal, typing as typingText, unsent } from './words.ts';

/** A page of earlier messages. */
const PAGE = 50;
const NONE: ReadonlySet<number> = new Set();

export interface RoomProps {
  readonly channel: string;
  /** The name that is sent with messages: none if the user has a name of their own. */
  readonly name: string | undefined;
  readonly token: string;
  /** True if the page cannot connect without a valid token. */
  readonly needsToken: boolean;
  readonly keys: OwnKeys;
  /** Shown in place of the log. */
  readonly instead: ReactNode;
  /** A fault of what a person did elsewhere. */
  readonly notice: string;
}

export function Room(props: RoomProps): ReactNode {
  return <ChatBoundary name={props.channel}><Chat {...props} /></ChatBoundary>;
}

function Chat({ channel, name, token, needsToken, keys, instead, notice }: RoomProps): ReactNode {
  const view = useChannel(channel, OPENED);
  const later = useLater();
  const [streams, setStreams] = useState<readonly Stream[]>([]);
  const { client } = useSeawall();
  const { online } = useConnection();
  const publish = usePublish<unknown>(channel);
  const { waiting, failed, retry, retryAll, discard } = useOutbox(channel);
  const storage = useSyncExternalStore(client.outbox.storage.subscribe, () => client.outbox.storage.value);
  useSyncExternalStore(keys.subscribe, () => keys.version);
  const announce = useAnnounce();
  const [editing, setEditing] = useState<Editing>();
  const [fault, setFault] = useState('');
  const [restored, setRestored] = useState<{ readonly text: string }>();
  const firstNew = useFirstNew(view);
  const [going, setGoing] = useState(NONE);
  const deletions = useRef<Deletions>(undefined);
  useEffect(() => () => deletions.current?.end(), []);
  const made = useRef<Rows>(undefined);
  const isSynced = view.state.phase === 'live' || view.messages.length > 0;
  const rows = (made.current ??= new Rows()).list(view.messages, {
    isOwn: keys.has, progress: (entry) => progress(entry, online, storage), going, firstNew: firstNew.id,
    beginning: isSynced && !view.hasOlder ? beginning(view.state.floor ?? 1) : undefined,
  });

  function report(error: unknown): void {
    const { code = '', message = String(error) } = error as { code?: string; message?: string };
    if (isNeverQueued(code)) say(failure({ code, message }));
  }
  function say(text: string): void {
    setFault(text);
    if (text !== '') announce(text, true);
  }
  const send = (text: string, edit: Editing | undefined) => {
    setFault('');
    // Without a token the message would have no author, so its text stays in the draft.
    if (needsToken && token === '') {
      setRestored({ text });
      return say('Enter a token first.');
    }
    setEditing(undefined);
    firstNew.forget();
    const key = newKey();
    publish({ ...(name !== undefined && { name }), text }, { key, ...(edit && { edits: edit.offset }) }).catch((error: unknown) => {
      // A message that was queued shows its own result in the log.
      if (client.outbox.value.some((one) => one.key === key)) return;
      report(error);
      const { code = '' } = error as { code?: string };
      if (!isNeverQueued(code)) return;
      if (edit) setEditing({ ...edit, text });
      else setRestored({ text });
    });
  };
  const edit = (row: MessageRow) => setEditing({ offset: row.offset!, text: textOf(row.source.data) });
  const actions = useStable<MessageActions>({
    edit,
    remove(row) {
      if (!later) return say('Not loaded yet: try again.');
      deletions.current ??= new later.Deletions((offset) => actions.erase(offset), setGoing);
      deletions.current.add(row.offset!);
    },
    erase: (offset) => void publish(null, { deletes: offset }).catch(report),
    undo: (row) => deletions.current?.undo(row.offset!),
    retry: ({ key }) => retry(key),
    discard: ({ key }) => void discard(key),
    askAgain(offset) {
      const asked = view.messages.find((one) => one.kind === 'message' && one.offset === offset);
      if (asked?.kind === 'message' && !asked.deleted) publish(asked.data).catch(report);
    },
    editFailed({ key }) {
      const entry = client.outbox.value.find((one) => one.key === key);
      if (!entry || !discard(key)) return;
      if (entry.edits === undefined) setRestored({ text: textOf(entry.data) });
      else setEditing({ offset: entry.edits, text: textOf(entry.data) });
    },
  });
  const granted = view.state.rights?.includes('publish') ?? !(online && failed.some(({ error }) => error?.code === 'forbidden'));
  const refused = refusal(view.state);
  const hint = fault || notice || typingText(view.typing.map(isolated));
  const count = unsent(online ? 0 : waiting.length, failed.length);
  return (
    <>
      {later && <later.Followed channel={channel} onChange={setStreams} />}
      {instead ?? (
        <Streams.Provider value={streams}>
          <Log rows={rows} view={view} actions={actions} onFault={say} label={`Messages in ${channel}`}
            empty={refused !== undefined ? <p className="empty">{refused}</p> : isSynced ? <Empty channel={channel} /> : null} />
        </Streams.Provider>
      )}
      <Composer
        key={channel} channel={channel} editing={editing} readOnly={!granted} hint={hint} isFault={hint !== '' && hint === (fault || notice)} restored={restored}
        onSend={send} onTyped={() => { setFault(''); view.typed(name); }} onCancel={() => { setEditing(undefined); setFault(''); }}
        onEditLast={() => { const last = rows.filter(isOpen).at(-1); if (last) edit(last); }}
      >
        {count !== '' && (
          <span id="unsent">
            {count}
            {failed.length > 0 && <button type="button" className="plain" onClick={retryAll}>Retry all</button>}
            <button type="button" className="plain" onClick={review}>Review</button>
          </span>
        )}
      </Composer>
    </>
  );
}

/** True for the failures of a publication that the outbox did not take. */
const isNeverQueued = (code: string): code is 'invalid' | 'too_large' | 'outbox_full' => ['invalid', 'too_large', 'outbox_full'].includes(code);

/** Moves the focus to the first message that is not sent. */
function review(): void {
  const row = document.querySelector('#log .failed, #log .waiting')?.closest<HTMLElement>('li');
  row?.scrollIntoView({ block: 'center' });
  row?.focus();
}

interface LogProps {
  readonly rows: readonly Row[];
  readonly view: UsedChannel<unknown>;
  readonly actions: MessageActions;
  readonly label: string;
  readonly empty: ReactNode;
  readonly onFault: (text: string) => void;
}

function Log({ rows, view, actions, label, empty, onFault }: LogProps): ReactNode {
  const older = () => view.older(PAGE).catch((error: Error) => onFault(`Could not load earlier messages: ${error.message}`));
  const onKeyDown = (event: KeyboardEvent) => {
    const id = (event.target as HTMLElement).dataset['id'];
    const row = id !== undefined && rows.find((one) => one.id === id);
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') {
      event.preventDefault();
      document.getElementById('draft')?.focus();
    }
    if (!isOpen(row) || !/^(e|E|Delete)$/.test(event.key)) return;
    event.preventDefault();
    if (event.key === 'Delete') actions.remove(row);
    else actions.edit(row);
  };
  return (
    <div id="log" onKeyDown={onKeyDown}>
      <ThreadBoundary name={label} plain={rows}>
        <MessageList items={rows} label={label} hasOlder={view.hasOlder} loading={view.loading} onOlder={older} onEnd={view.newest} empty={empty}>
          {(row, { active }) => <MessageBoundary text={plainText(row)}><Line row={row} active={active} actions={actions} /></MessageBoundary>}
        </MessageList>
      </ThreadBoundary>
    </div>
  );
}

function Empty({ channel }: { readonly channel: string }): ReactNode {
  return (
    <div className="empty">
      <p><strong>{`This is the beginning of #${channel}`}</strong></p>
      <p>No messages yet. Open this page in a second tab and write something in one of them.</p>
    </div>
  );
}

/** Shown to a newcomer in an outage, in place of the log. */
export function OutageCard(): ReactNode {
  const { because, retryAt, reconnect } = useConnection();
  const [since] = useState(Date.now);
  const announce = useAnnounce();
  useEffect(() => { if (because) announce(outage(because), true); }, [because?.reason]);
  if (!because) return null;
  return (
    <div id="outage" className="card" role="group" aria-label="No connection">
      <p className="lead">{outage(because)}</p>
      <p>{`Since ${clockTime(since)}, as far as this page knows. What you write now is sent when the chat is back.`}</p>
      <p className="row">{retryAt === undefined ? <span>Trying to connect…</span> : <Countdown until={retryAt} />}<button type="button" id="now" onClick={reconnect}>Connect now</button></p>
      {because.reference !== undefined && <p className="quiet">{`Reference: ${because.reference}`}</p>}
    </div>
  );
}

/**
 * Marks what is seen as read, and finds the first message that was not: of a channel that is opened, or of a page that was in the background.
 */
function useFirstNew(view: UsedChannel<unknown>): { readonly id: string | undefined; readonly forget: () => void } {
  const [id, setId] = useState<string>();
  const latest = useRef(view);
  latest.current = view;
  /** True once the messages that the channel had were seen. After that, each is read when it arrives while the page is in front. */
  const begun = useRef(false);
  const last = view.messages.filter((one) => one.kind === 'message' && one.offset !== undefined).at(-1);
  const isLive = view.state.phase === 'live';
  useEffect(() => {
    if (view.unread > 0 && (document.hidden || !begun.current)) setId((known) => known ?? firstUnread(view.messages, view.unread));
    begun.current ||= last !== undefined || isLive;
    if (!document.hidden) view.read();
  }, [last?.id, isLive]);
  useEffect(() => {
    const change = () => {
      if (document.hidden) setId(undefined);
      else latest.current.read();
    };
    document.addEventListener('visibilitychange', change);
    return () => document.removeEventListener('visibilitychange', change);
  }, []);
  return { id, forget: () => setId(undefined) };
}

/** Returns one object for all renders, whose methods are the newest. */
function useStable<T extends object>(methods: T): T {
  const latest = useRef(methods);
  latest.current = methods;
  return useMemo(() => Object.fromEntries(Object.keys(methods).map((name) => [name, (...args: unknown[]) => (latest.current as Record<string, (...args: unknown[]) => unknown>)[name]!(...args)])) as T, []);
}
