// Small parts of the page.

import { useEffect, useLayoutEffect, useRef, useState, type ReactNode } from 'react';
import { markup } from './markup.ts';
import { faceOf } from './rows.ts';

/** A user's initials on a disc in the user's colour. Screen readers read the name next to it. */
export function Face({ name }: { readonly name: string }): ReactNode {
  const { initials, colour } = faceOf(name);
  return <span className={`face face-${colour}`} aria-hidden="true">{initials}</span>;
}

/** A text with its markup as elements. Text is only ever inserted as text. */
export function Marked({ text }: { readonly text: string }): ReactNode {
  return markup(text).map((piece, index) => {
    switch (piece.kind) {
      case 'text': return piece.text;
      case 'code': return <code key={index}>{piece.text}</code>;
      case 'block': return <pre key={index} dir="ltr"><code>{piece.text}</code></pre>;
      case 'bold': return <strong key={index}>{piece.text}</strong>;
      case 'italic': return <em key={index}>{piece.text}</em>;
      case 'link': return <a key={index} href={piece.href} target="_blank" rel="noopener noreferrer nofollow">{piece.text}</a>;
    }
  });
}

/** The seconds until a time. A screen reader would read them without end, so they are hidden from it. */
export function Countdown({ until }: { readonly until: number }): ReactNode {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return <span id="countdown" aria-hidden="true">{`Next try in ${Math.max(0, Math.ceil((until - now) / 1_000))} s`}</span>;
}

interface DialogProps {
  readonly id: string;
  readonly title: string;
  readonly onClose: () => void;
  readonly children: (close: () => void) => ReactNode;
}

/** A dialog over the page. The browser keeps the focus in it, closes it at Escape, and gives the focus back. */
export function Dialog({ id, title, onClose, children }: DialogProps): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const close = () => dialog.current?.close();
  // Before the effects of the content, which may move the focus.
  useLayoutEffect(() => { dialog.current!.showModal(); }, []);
  // The event comes a task after the dialog was closed. By then it may be gone, and another one open.
  const closed = () => { if (dialog.current) onClose(); };
  return (
    <dialog id={id} ref={dialog} aria-labelledby={`${id}-title`} onClose={closed} onClick={(event) => { if (event.target === dialog.current) close(); }}>
      <div className="dialog">
        <header><h2 id={`${id}-title`}>{title}</h2><button type="button" className="icon" aria-label="Close" onClick={close}>✕</button></header>
        {children(close)}
      </div>
    </dialog>
  );
}

export const clockTime = (at: number): string => new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
