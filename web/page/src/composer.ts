// The message composer: the draft, the message being edited, and the hint line above it.

import { at, setText } from './dom.ts';

const form = at<HTMLFormElement>('composer');
const draft = at<HTMLTextAreaElement>('draft');
const send = at('send');
const hint = at('hint');
const hintText = at('hint-text');
const leave = at('leave-edit');

export interface ComposerEvents {
  /** `editing` is the offset of the message that the text replaces. */
  submit(text: string, editing: number | undefined): void;
  typed(): void;
  /** The draft of the channel changed. The text of an edit is not its draft. */
  drafted(text: string): void;
}

/** The draft of the channel, also while a message is edited. */
let kept = '';
let events: ComposerEvents;
let editing: number | undefined;
let fault = '';
let typing = '';

export function listen(given: ComposerEvents): void {
  events = given;
  const submit = (): void => {
    const text = draft.value.trim();
    if (text === '') return;
    const replaced = editing;
    fault = '';
    editing = undefined;
    if (replaced === undefined) keep('');
    write(kept);
    paint();
    events.submit(text, replaced);
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  draft.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') stopEditing();
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  draft.addEventListener('input', () => {
    fault = '';
    if (editing === undefined) keep(draft.value);
    fit();
    paint();
    if (draft.value !== '') events.typed();
  });
  leave.addEventListener('click', () => {
    stopEditing();
    draft.focus();
  });
}

/** Shows the draft of a channel that was opened. */
export function open(text: string): void {
  kept = text;
  editing = undefined;
  write(text);
  paint();
}

function keep(text: string): void {
  kept = text;
  events.drafted(text);
}

/** Puts a text into the draft: of the stored message at `offset`, or of a message that was never sent. */
export function edit(text: string, offset: number | undefined): void {
  editing = offset;
  fault = '';
  if (offset === undefined) keep(text);
  write(text);
  paint();
  draft.focus();
}

/** Restores a refused text to the draft, unless the next message is being written. The text of an edit is shown in place of the draft. */
export function restore(text: string, offset: number | undefined): void {
  if (draft.value === '' || (offset !== undefined && editing === undefined)) edit(text, offset);
}

export function stopEditing(): void {
  if (editing === undefined) return;
  editing = undefined;
  write(kept);
  paint();
}

/** Shows the text about typing users. A fault of the draft takes precedence. */
export function showTyping(text: string): void {
  typing = text;
  paint();
}

/** Shows a fault until the draft changes. */
export function showFault(text: string): void {
  fault = text;
  paint();
}

function paint(): void {
  hint.className = fault === '' ? '' : 'bad';
  setText(hintText, fault !== '' ? fault : editing !== undefined ? 'Editing a message.' : typing);
  leave.hidden = editing === undefined;
  setText(send, editing === undefined ? 'Send' : 'Save');
}

function write(text: string): void {
  draft.value = text;
  fit();
}

function fit(): void {
  draft.style.height = 'auto';
  draft.style.height = `${draft.scrollHeight + 2}px`;
}
