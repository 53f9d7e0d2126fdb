/** The default fallbacks. Each needs less than the one before: the last needs nothing but a page. */

import { useEffect, useRef, useState, type ReactNode } from 'react';
import type { Client } from 'seawall-client';
import type { Fallback } from './boundaries.js';
import { useValue } from './value.js';
import { lineOf, stateText, textOf, userOf } from './text.js';
import type { Words } from './words.js';

type Shown = Fallback & { readonly words: Words };

/** The last messages that the plain form of a thread shows. */
const PLAIN_MAX = 100;

/** The line below a fallback: the button, and the reference on demand. */
function note({ reference, retry, words }: Shown, label = words.tryAgain, text?: string): ReactNode {
  return (
    <div className="sw-note">
      {text && <span>{text}</span>}
      {retry && <button type="button" onClick={retry}>{label}</button>}
      <details><summary>{words.details}</summary>{words.reference(reference)}</details>
    </div>
  );
}

export function PlainMessage({ text, ...shown }: Shown & { readonly text: string }): ReactNode {
  const { words } = shown;
  return <div className="sw-plain"><p dir="auto">{text}</p>{note(shown, words.showAgain, words.failed.message)}</div>;
}

export function PlainThread({ items, text, ...shown }: Shown & { readonly items: readonly unknown[]; readonly text: ((item: never) => string) | undefined }): ReactNode {
  const { words } = shown;
  return (
    <div className="sw-thread">
      <div className="sw-card"><p>{words.failed.thread}</p>{note(shown)}</div>
      <div className="sw-scroll" role="log" aria-label={words.messages} aria-live="off" tabIndex={0}>
        <ol>{items.slice(-PLAIN_MAX).map((item, index) => (
          <li key={(item as { id?: string } | null)?.id ?? index}>
            {text ? text(item as never) : <>{userOf(item) && <><bdi>{userOf(item)}</bdi>{': '}</>}<span dir="auto">{lineOf(item, words)}</span></>}
          </li>
        ))}</ol>
      </div>
    </div>
  );
}

/** A text that can be copied, also where the page may not write to the clipboard: then it is selected. */
function Copy({ text, label, words }: { readonly text: string; readonly label: string; readonly words: Words }): ReactNode {
  const area = useRef<HTMLTextAreaElement>(null);
  const [done, setDone] = useState(false);
  const copy = () => {
    area.current?.select();
    navigator.clipboard?.writeText(text).then(() => setDone(true), () => {});
  };
  return (
    <>
      <textarea ref={area} readOnly value={text} aria-label={label} rows={3} dir="auto" />
      <button type="button" onClick={copy}>{done ? words.copied : label}</button>
    </>
  );
}

function Waiting({ client, words }: { readonly client: Client; readonly words: Words }): ReactNode {
  const { phase } = useValue(client.state);
  const entries = useValue(client.outbox).filter(({ state }) => state !== 'sent');
  const text = entries.map(textOf).filter(Boolean).join('\n\n');
  return <><p>{stateText(phase, words)}</p>{text && <><p>{words.unsent(entries.length)}</p><Copy text={text} label={words.copy} words={words} /></>}</>;
}

export function ChatCard({ client, ...shown }: Shown & { readonly client: Client | undefined }): ReactNode {
  const { words } = shown;
  return (
    <div className="sw-card" role="group" aria-label={words.failed.chat}>
      <p><strong>{words.failed.chat}</strong></p>
      {client && <Waiting client={client} words={words} />}
      {note(shown)}
    </div>
  );
}

/** Counts what the outbox of `seawall-client` keeps in IndexedDB, without making a database where there is none. */
function countKept(): Promise<number> {
  return new Promise((resolve) => {
    const opening = indexedDB.open('seawall');
    opening.onupgradeneeded = () => opening.transaction!.abort();
    opening.onerror = () => resolve(0);
    opening.onsuccess = () => {
      const count = opening.result.transaction('entries').objectStore('entries').count();
      count.onsuccess = () => resolve(count.result);
      opening.result.close();
    };
  });
}

export function AppPage({ error, reference, words, release = '' }: Shown & { readonly release: string | undefined }): ReactNode {
  const [kept, setKept] = useState(0);
  useEffect(() => {
    // A browser without IndexedDB throws, or rejects: it keeps nothing.
    Promise.resolve().then(countKept).then(setKept, () => {});
  }, []);
  const details = [words.reference(reference), release, String(error), error.stack].filter(Boolean).join('\n');
  return (
    <div className="sw-card sw-app" role="alert">
      <p><strong>{words.failed.app}</strong></p>
      {kept > 0 && <p>{words.kept(kept)}</p>}
      <p>{words.reference(reference)}</p>
      <Copy text={details} label={words.copyDetails} words={words} />
      <button type="button" onClick={() => location.reload()}>{words.reload}</button>
    </div>
  );
}
