// The composer: the draft of the channel, or the text of a message that is edited.

import { useEffect, useRef, useState, type KeyboardEvent, type ReactNode } from 'react';
import { useDraft } from '../../react/src/channel.ts';

/** A stored message that is edited. */
export interface Editing {
  readonly offset: number;
  readonly text: string;
}

interface ComposerProps {
  readonly channel: string;
  readonly editing: Editing | undefined;
  /** True if the user may read here and not write. */
  readonly readOnly: boolean;
  /** The line above it: a fault, or the users that are typing. */
  readonly hint: string;
  /** A text that could not be sent. It becomes the draft, before the one that there is. */
  readonly restored: { readonly text: string } | undefined;
  readonly isFault: boolean;
  readonly onSend: (text: string, editing: Editing | undefined) => void;
  readonly onTyped: () => void;
  readonly onCancel: () => void;
  /** Asked to edit the user's last message. */
  readonly onEditLast: () => void;
  /** The number of messages that wait to be sent. */
  readonly children: ReactNode;
}

const growsByItself = globalThis.CSS?.supports('field-sizing', 'content') ?? false;

export function Composer({ channel, editing, readOnly, hint, isFault, restored, onSend, onTyped, onCancel, onEditLast, children }: ComposerProps): ReactNode {
  const [draft, setDraft] = useDraft(channel);
  const [edited, setEdited] = useState({ editing, text: '' });
  const area = useRef<HTMLTextAreaElement>(null);
  const text = editing ? (edited.editing === editing ? edited.text : editing.text) : draft;
  useEffect(() => {
    if (!restored) return;
    setDraft(draft === '' ? restored.text : `${restored.text}\n\n${draft}`);
    area.current!.focus();
  }, [restored]);
  useEffect(() => { if (editing) area.current!.focus(); }, [editing]);
  useEffect(() => {
    if (growsByItself) return;
    area.current!.style.height = 'auto';
    area.current!.style.height = `${area.current!.scrollHeight + 2}px`;
  }, [text]);
  const write = (next: string) => {
    if (editing) setEdited({ editing, text: next });
    else setDraft(next);
    if (next !== '') onTyped();
  };
  const send = () => {
    const whole = text.trim();
    if (whole === '' || readOnly) return;
    if (!editing) setDraft('');
    onSend(whole, editing);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Escape') {
      // Without an edit to cancel, the key stops an answer.
      if (editing) event.preventDefault();
      onCancel();
    }
    if (event.key === 'ArrowUp' && text === '' && !editing) {
      event.preventDefault();
      onEditLast();
    }
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };
  return (
    <footer>
      <div id="hint" className={isFault ? 'bad' : ''}>
        <span id="hint-text">{readOnly && !isFault ? 'You can read here, but not write.' : editing && !isFault ? 'Editing a message. Escape cancels.' : hint}</span>
        {editing && <button type="button" className="plain" id="leave-edit" onClick={onCancel}>Cancel</button>}
        {children}
      </div>
      <form id="composer" onSubmit={(event) => { event.preventDefault(); send(); }}>
        <textarea
          id="draft" ref={area} dir="auto" rows={1} enterKeyHint="send" aria-label={`Message in ${channel}`} aria-describedby="hint-text" placeholder={`Message #${channel}`}
          value={text} readOnly={readOnly} onChange={(event) => write(event.target.value)} onKeyDown={onKeyDown}
        />
        <button type="submit" className="strong" id="send" disabled={readOnly}>{editing ? 'Save' : 'Send'}</button>
      </form>
    </footer>
  );
}
