import { useContext, useEffect, useRef, useState, type ReactNode } from 'react';
import type { Client } from 'seawall-client';
import { isEnd, type Stream, type StreamState } from 'seawall-client/streams';
import { hide } from './announcer.js';
import { PACE_MS } from './announcements.js';
import { TEXT_MS } from './banner.js';
import { Cell } from './cell.js';
import { Context } from './context.js';
import { sentenceEnd } from './sentences.js';
import { useStream } from './stream.js';
import { textOf } from './text.js';
import { useKit } from './use-kit.js';
import { useValue } from './value.js';
import type { AnswerWords } from './words.js';

const WORDS: AnswerWords = {
  accepted: 'Sent. Waiting…',
  late: 'Sent. Waiting: answers are late…',
  processing: 'Received. Waiting…',
  streaming: 'Writing…',
  paused: 'The connection to the author is lost. Waiting for it…',
  cancelling: 'Stopping…',
  failed: 'This answer failed.',
  undelivered: 'This question was not answered.',
  cancelled: 'Stopped.',
  interrupted: 'This answer was interrupted.',
  event: (type) => `${type.charAt(0).toUpperCase()}${type.slice(1).replaceAll('_', ' ')}…`,
  stop: 'Stop',
  tryAgain: 'Try again',
};

export interface AnswerProps {
  /** The message: an item of `useChannel` whose `stream` is set. */
  readonly item: { readonly data: unknown; readonly stream?: 'begun' | StreamState | undefined };
  /** Its stream while it is open: the one of `useStreams` with the offset of the message. */
  readonly stream?: Stream | undefined;
  /** Asks again, after the answer failed or was interrupted. Without it there is no button. */
  readonly onRetry?: (() => unknown) | undefined;
  /** The `tabIndex` of the buttons: -1 in a row of a list that is not active. */
  readonly tabIndex?: number | undefined;
  /** Draws the text. Default: as it is. */
  readonly children?: (text: string, isOpen: boolean) => ReactNode;
}

/** The answers that can be stopped, in the order in which they were shown. Escape stops the last one. */
const stops: (() => void)[] = [];

/** A text that is being written, or was: with a caret, its state in words, and buttons to stop it and to ask again. */
export function Answer({ item, stream, onRetry, tabIndex, children = (text) => text }: AnswerProps): ReactNode {
  const kit = useKit();
  const { client } = useContext(Context);
  const words = { ...WORDS, ...kit.words.answers };
  const [fault, setFault] = useState('');
  // A stream leaves the list before its message has the text of the end.
  const last = useRef(stream);
  last.current = stream ?? last.current;
  const isBegun = item.stream === 'begun';
  const used = useStream(isBegun || stream ? last.current : undefined);
  const known: StreamState = last.current && isBegun ? used.state : isBegun ? 'streaming' : item.stream ?? 'completed';
  // While the reader is away, the state of the author is not known.
  const isOpen = !isEnd(known);
  const isAway = useAway(client) && isOpen;
  const state = isAway ? 'paused' : known;
  const text = isBegun ? used.text : textOf(item);
  const canStop = isOpen && !isAway && stream !== undefined && state !== 'cancelling' && fault === '';
  const stop = () => { stream?.cancel().catch((error: Error) => setFault(error.message)); };
  useEscape(canStop ? stop : undefined);
  const { lost } = useValue<{ readonly lost?: readonly string[] }>(client?.status ?? NO_CLIENT, NO_CLIENT.value);
  const isLate = state === 'accepted' && lost?.includes('replies');
  // The gateway ended it, because no backend took the question.
  const isUndelivered = state === 'failed' && /^(not_delivered|refused)$/.test((item.data as { cause?: string } | null)?.cause!);
  const said = isAway ? kit.words.reconnecting : isLate ? words.late : isUndelivered ? words.undelivered : state in words ? words[state as 'failed'] : '';
  const spoken = useSentences(text, isOpen, said);
  const event = useRef({ count: 0, after: '' });
  if (used.events.length !== event.current.count) event.current = { count: used.events.length, after: text };
  // The last event goes on until text follows it.
  const doing = state === 'streaming' && event.current.after === text ? used.events.at(-1) : undefined;
  const note = fault || (doing ? words.event(doing.type) : said);
  const isRetried = onRetry && (state === 'failed' || state === 'interrupted');
  return (
    <div className="sw-answer" data-state={state} data-open={isOpen || undefined}>
      {(text !== '' || isOpen) && <div className="sw-answer-text" dir="auto">{children(text, isOpen)}</div>}
      {(note !== '' || isRetried) && (
        <div className="sw-note">
          <span>{note}</span>
          {canStop && <button type="button" tabIndex={tabIndex} onClick={stop} aria-keyshortcuts="Escape">{words.stop}</button>}
          {isRetried && <button type="button" tabIndex={tabIndex} onClick={() => void onRetry()}>{words.tryAgain}</button>}
        </div>
      )}
      <div ref={hide} role="status">{spoken}</div>
    </div>
  );
}

/** The state, and the status, where there is no client. */
const NO_CLIENT = new Cell<object>({ session: true });

/** Returns true while there is no connection, after the time for which nothing is said about that. */
function useAway(client: Client | undefined): boolean {
  const isAway = !('session' in useValue<object>(client?.state ?? NO_CLIENT, NO_CLIENT.value));
  const [isLong, setLong] = useState(false);
  useEffect(() => {
    const timer = setTimeout(setLong, isAway ? TEXT_MS : 0, isAway);
    return () => clearTimeout(timer);
  }, [isAway]);
  return isAway && isLong;
}

/** Stops the answer at Escape, unless a dialog or another part of the page took the key. */
function useEscape(stop: (() => void) | undefined): void {
  const latest = useRef(stop);
  latest.current = stop;
  const can = stop !== undefined;
  useEffect(() => {
    if (!can) return undefined;
    const own = () => latest.current?.();
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== 'Escape' || event.defaultPrevented || event.isComposing || stops.at(-1) !== own || document.querySelector('dialog[open]')) return;
      event.preventDefault();
      own();
    };
    stops.push(own);
    document.addEventListener('keydown', onKeyDown);
    return () => {
      stops.splice(stops.indexOf(own), 1);
      document.removeEventListener('keydown', onKeyDown);
    };
  }, [can]);
}

/** Returns the text that a screen reader reads now: whole sentences, at a pace at which it can follow, and at the end the rest. */
function useSentences(text: string, isOpen: boolean, ending: string): string {
  const [said, setSaid] = useState('');
  /** Up to where the text is read. What is there at first is not read: the reader may have read it before. */
  const at = useRef(isOpen ? text.length : Infinity);
  const latest = useRef({ text, isOpen, ending });
  latest.current = { text, isOpen, ending };
  useEffect(() => {
    if (at.current === Infinity) return undefined;
    const say = () => {
      const now = latest.current;
      // The text may have started over.
      at.current = Math.min(at.current, now.text.length);
      const end = now.isOpen ? sentenceEnd(now.text, at.current) : now.text.length;
      const next = now.text.slice(at.current, end).trim();
      at.current = now.isOpen ? end : Infinity;
      const whole = now.isOpen ? next : `${next} ${now.ending}`.trim();
      if (whole !== '') setSaid(whole);
    };
    if (!isOpen) return say();
    const timer = setInterval(say, PACE_MS);
    return () => clearInterval(timer);
  }, [isOpen]);
  return said;
}
