// One row of the log.

import { createContext, useContext, useState, type ReactNode } from 'react';
import type { Stream } from 'seawall-client/streams';
import { useLater } from './load.ts';
import { isLong } from './markup.ts';
import { clockTime, Face, Marked } from './parts.tsx';
import type { MessageRow, Outgoing, Row } from './rows.ts';

/** The open streams of the channel. */
export const Streams = createContext<readonly Stream[]>([]);

/** The actions on a message. */
export interface MessageActions {
  edit(row: MessageRow): void;
  /** Deletes after a while in which it can be undone. */
  remove(row: MessageRow): void;
  undo(row: MessageRow): void;
  /** Deletes the message at this offset now. */
  erase(offset: number): void;
  retry(one: Outgoing): void;
  editFailed(one: Outgoing): void;
  discard(one: Outgoing): void;
  /** Publishes the message at this offset again. */
  askAgain(offset: number): void;
}

interface LineProps {
  readonly row: Row;
  /** True for the row that the Tab key reaches. */
  readonly active: boolean;
  readonly actions: MessageActions;
}

export function Line({ row, ...more }: LineProps): ReactNode {
  if (row.kind === 'notice') return <p className="notice">{row.data}</p>;
  return (
    <>
      {row.isFirstNew && <p className="new-line"><span>New</span></p>}
      <Message row={row} {...more} />
    </>
  );
}

/** True if the user can edit and delete this message now. */
export const isOpen = (row: Row): row is MessageRow => row.kind === 'message' && row.own && row.offset !== undefined && !row.deleted && !row.isGoing && !row.outgoing;

function Message({ row, active, actions }: Omit<LineProps, 'row'> & { readonly row: MessageRow }): ReactNode {
  const { user, own, next, time, data, edited, deleted, isGoing, offset, outgoing, stream, question } = row;
  const streams = useContext(Streams);
  const later = useLater();
  const state = outgoing?.progress.state;
  const isGone = deleted || isGoing || (outgoing?.kind === 'deletes' && state !== 'failed');
  const names = ['message', own && 'own', next && 'next', isGone && 'deleted', state === 'failed' && 'failed', offset === undefined && state !== 'failed' && 'waiting'];
  const tabIndex = active ? 0 : -1;
  const at = new Date(time);
  return (
    <article className={names.filter(Boolean).join(' ')}>
      {!next && <Face name={user} />}
      <div className="about">
        <bdi className="author" dir="auto">{user}</bdi>
        <time dateTime={Number.isNaN(at.getTime()) ? undefined : at.toISOString()} title={at.toLocaleString()}>{clockTime(time)}</time>
        {edited && !isGone && <span className="edited">edited</span>}
      </div>
      {isGone ? <p className="text">Message deleted</p> : stream === undefined ? <Body text={data} tabIndex={tabIndex} /> : !later ? <Unread row={row} tabIndex={tabIndex} /> : (
        <later.Answer item={row.source} stream={streams.find((one) => one.offset === offset)} tabIndex={tabIndex} onRetry={question === undefined ? undefined : () => actions.askAgain(question)}>
          {(text, isOpen) => (isOpen ? <Marked text={text} /> : <Body text={text} tabIndex={tabIndex} />)}
        </later.Answer>
      )}
      {isGoing && <p className="progress"><button type="button" className="plain" tabIndex={tabIndex} onClick={() => actions.undo(row)}>Undo</button></p>}
      {outgoing && <Sending one={outgoing} tabIndex={tabIndex} actions={actions} />}
      {isOpen(row) && (
        <div className="actions">
          <button type="button" tabIndex={tabIndex} onClick={() => actions.edit(row)}>Edit</button>
          <button type="button" tabIndex={tabIndex} onClick={() => actions.remove(row)}>Delete</button>
        </div>
      )}
    </article>
  );
}

/** An answer before the part that follows it is here: in the same place, with a line for what that says. */
function Unread({ row: { data, stream }, tabIndex }: { readonly row: MessageRow; readonly tabIndex: number }): ReactNode {
  return (
    <div className="sw-answer" data-open={stream === 'begun' || undefined}>
      <div className="sw-answer-text" dir="auto"><Body text={data} tabIndex={tabIndex} /></div>
      {stream !== 'completed' && <div className="sw-note" />}
    </div>
  );
}

/** The text. The end of a long one is hidden until it is asked for. */
function Body({ text, tabIndex }: { readonly text: string; readonly tabIndex: number }): ReactNode {
  const [open, setOpen] = useState(false);
  const long = isLong(text);
  return (
    <>
      <div className={long && !open ? 'text long' : 'text'} dir="auto"><Marked text={text} /></div>
      {long && <button type="button" className="plain more" tabIndex={tabIndex} aria-expanded={open} onClick={() => setOpen(!open)}>{open ? 'Show less' : 'Show more'}</button>}
    </>
  );
}

const WORDS = {
  original: { sending: 'sending…', sent: 'sent', failed: 'Not sent' },
  edits: { sending: 'saving…', sent: 'saved', failed: 'Not saved' },
  deletes: { sending: 'deleting…', sent: 'deleted', failed: 'Not deleted' },
};

/** The progress of an outgoing publication, in its message. */
function Sending({ one, tabIndex, actions }: { readonly one: Outgoing; readonly tabIndex: number; readonly actions: MessageActions }): ReactNode {
  const { kind, progress } = one;
  const words = WORDS[kind];
  switch (progress.state) {
    case 'waiting': return <p className="progress">{progress.note === '' ? 'waiting' : `waiting: ${progress.note}`}</p>;
    case 'sending': return <p className="progress soon">{words.sending}</p>;
    case 'sent': return <p className="progress soon">{words.sent}</p>;
    case 'failed': return (
      <p className="progress">
        <span>{`${words.failed}: ${progress.note}`}</span>
        <button type="button" className="plain" tabIndex={tabIndex} onClick={() => actions.retry(one)}>Retry</button>
        {kind !== 'deletes' && <button type="button" className="plain" tabIndex={tabIndex} onClick={() => actions.editFailed(one)}>Edit</button>}
        <button type="button" className="plain" tabIndex={tabIndex} onClick={() => actions.discard(one)}>Discard</button>
      </p>
    );
  }
}
